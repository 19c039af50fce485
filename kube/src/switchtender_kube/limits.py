"""How fast we write: a token bucket that also heeds what the server asks for. Knows no resource.

The client library limits nothing, and priority and fairness on the server answer 429 only when it is late.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from switchtender_kube.clock import boottime
from switchtender_kube.errors import ApiError

T = TypeVar("T")
# A proxy that says "come back tomorrow" does not stop us for longer than this.
_LONGEST_PAUSE = 120.0
_PAUSE_WITHOUT_WORD = 1.0


class WriteLimiter:
    """``qps`` writes a second on average, ``burst`` at once; first come, first served.

    ``clock`` and ``sleep`` are for virtual time.
    """

    def __init__(
        self,
        qps: float,
        burst: int,
        *,
        clock: Callable[[], float] = boottime,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not (qps > 0 and burst >= 1):
            raise ValueError("qps has to be above 0 and burst at least 1")
        self._qps = qps
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._tokens = float(burst)
        self._filled_at = clock()
        self._paused_until = clock()
        self._turn = asyncio.Lock()

    async def acquire(self) -> None:
        """Wait for the right to one write."""
        async with self._turn:
            while (wait := self._wait()) > 0:
                await self._sleep(wait)
            self._tokens -= 1

    def pause(self, seconds: float) -> None:
        """Let no write begin for so long (Retry-After); a shorter pause never shortens a longer one."""
        self._paused_until = max(self._paused_until, self._clock() + min(seconds, _LONGEST_PAUSE))

    async def call(self, write: Callable[[], Awaitable[T]]) -> T:
        """``write()`` in its turn. If the server asks for patience (429, 503), all others wait, and the error is
        raised.

        Nothing is tried again here: who is level-triggered plans anew with what is true by then.
        """
        await self.acquire()
        try:
            return await write()
        except ApiError as error:
            if error.throttled:
                self.pause(_PAUSE_WITHOUT_WORD if error.retry_after is None else error.retry_after)
            raise

    def _wait(self) -> float:
        now = self._clock()
        self._tokens = min(float(self._burst), self._tokens + max(0.0, now - self._filled_at) * self._qps)
        self._filled_at = now
        return max(self._paused_until - now, (1.0 - self._tokens) / self._qps if self._tokens < 1 - 1e-9 else 0.0)
