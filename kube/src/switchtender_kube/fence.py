"""What stands between a write and the wire: the right to write, asked at the last moment. Knows no Lease."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload


@runtime_checkable
class Fence(Protocol):
    """The right to write: asked (called) for now, and how many seconds it lasts at most.

    A plain ``Callable[[], bool]`` serves as a fence, too; then only the client's own timeout limits a request.
    """

    def __call__(self) -> bool:
        """Whether a write may be sent now."""

    def remaining(self) -> float:
        """Seconds until somebody else may have the right; ≤ 0 when that is now."""


class FencedBody(BytesPayload):
    """A request body that asks the fence at the moment its bytes go to the socket.

    Between the decision to write and the socket lie a name lookup, a connection, a TLS handshake, and, for a process
    that was stopped (SIGSTOP, a frozen cgroup, a suspended machine), any time at all. The headers go out together with
    the body, so a closed fence leaves nothing, or headers without a body, which no server acts on.
    """

    def __init__(self, body: bytes, content_type: str, fence: Callable[[], bool] | None) -> None:
        super().__init__(body, content_type=content_type)
        self._fence = fence
        self.refused = False

    def allowed(self) -> bool:
        """Whether the fence is open now; a body without one may always go."""
        return self._fence is None or self._fence()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body if the fence is open, else raise ``PermissionError`` and remember it in ``refused``."""
        if not self.allowed():
            self.refused = True
            raise PermissionError("the fence is closed")
        await super().write_with_length(writer, content_length)
