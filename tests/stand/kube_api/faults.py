"""What a test can make go wrong: which requests a fault is for, and what it does to them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class Request:
    """A request as it came. ``verb`` as in RBAC, and "apply" for a server-side apply."""

    verb: str
    resource: str
    namespace: str | None
    name: str | None
    subresource: str | None
    method: str
    path: str
    query: dict[str, str]
    body: Any
    user_agent: str
    content_type: str
    authorization: str


@dataclass(slots=True)
class Fault:
    """Answers matching requests with an error, ``times`` times (None: until cleared); None is any resource or verb."""

    resource: str | None = None
    verb: str | None = None
    status: int = 500
    times: int | None = None
    reason: str = ""
    message: str = "made to fail"
    retry_after: int | None = None
    in_stream: bool = False
    """A watch is accepted with 200, and the error is its first event."""
    body: bytes | None = None
    """Answered as it stands instead of a Status object."""
    when: Callable[[Request], bool] = field(default=lambda _: True)
    hits: int = 0

    def matches(self, request: Request) -> bool:
        """Whether it is for this request and not used up."""
        return (
            self.times != 0
            and self.resource in {None, request.resource}
            and self.verb in {None, request.verb}
            and self.when(request)
        )

    def use(self) -> None:
        """Count one answer."""
        self.hits += 1
        if self.times is not None:
            self.times -= 1

    def clear(self) -> None:
        """From now on it is for nothing."""
        self.times = 0

    def status_object(self) -> Json:
        reasons = {
            400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired",
            422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
        }  # fmt: skip
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason or reasons.get(self.status, ""),
            "code": self.status,
        }

    def answer(self) -> bytes:
        return json.dumps(self.status_object()).encode() if self.body is None else self.body


@dataclass(slots=True)
class Shortened:
    """Makes lists of a resource shorter than they are: the first ``keep`` objects, ``times`` times."""

    resource: str
    keep: int
    times: int | None
