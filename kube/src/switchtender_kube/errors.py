"""What can go wrong with a request: an answer that is no success, no answer, or no right to ask.

The texts carry no credentials: neither headers nor bodies of requests nor the parsed kubeconfig ever get into one.
"""

import json
from collections.abc import Mapping
from typing import Any

# A server's message may quote the whole object it refused; a log line needs no more than this of it.
_LONGEST_MESSAGE = 2000


class ApiError(Exception):
    """The API server (or what stands before it) answered, and not with success.

    ``status`` the HTTP status; ``reason`` the machine-readable reason of the Status object ("NotFound",
    "AlreadyExists", "Expired", …), "" if the answer was none; ``message`` for people; ``retry_after`` seconds, if the
    server said so.
    """

    def __init__(self, status: int, reason: str = "", message: str = "", retry_after: float | None = None) -> None:
        super().__init__(status, reason, message, retry_after)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        head = f"{self.status} {self.reason}".strip()
        return f"{head}: {self.message}" if self.message else head

    @property
    def expired(self) -> bool:
        """Whether the resource version or the continue token is too old to go on from (HTTP 410): list again."""
        return self.status == 410 or self.reason in {"Expired", "Gone"}

    @property
    def throttled(self) -> bool:
        """Whether the server asks for patience (429, or 503 with a Retry-After)."""
        return self.status == 429 or (self.status == 503 and self.retry_after is not None)


class Conflict(ApiError):  # noqa: N818 - the name of the reason
    """409 with reason Conflict: the object changed meanwhile, its UID is another, or its fields have other managers.

    ``fields``: for a server-side apply without force, what others own, as ``("manager: .spec.x", …)``; else empty.
    """

    def __init__(self, status: int, reason: str, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(status, reason, message)
        self.fields = fields


class Unreachable(Exception):  # noqa: N818 - named after what is the case, as ConnectionRefused and NotLeader are
    """No answer at all: no connection, a broken one, or none in time. A write may have been done or not."""


class Silence(Unreachable):
    """A stream on which no byte came for too long: half-open, most likely."""


class NotLeader(Exception):  # noqa: N818
    """The fence of a write was closed, so nothing was sent."""

    def __init__(self) -> None:
        super().__init__("not the leader (any more): nothing was written")


def error_of(status: int, body: bytes | Mapping[str, Any], retry_after: str | None = None) -> ApiError:
    """The typed error of an answer: ``body`` is the raw answer or a Status object that was found in a stream."""
    found = _status_object(body)
    reason = str(found.get("reason") or "")
    message = str(found.get("message") or "")[:_LONGEST_MESSAGE]
    details = found.get("details")
    details = details if isinstance(details, Mapping) else {}
    if status == 409 and reason == "Conflict":
        return Conflict(status, reason, message, tuple(_owned_fields(details)))
    seconds = _seconds(retry_after)
    if seconds is None:
        seconds = _seconds(details.get("retryAfterSeconds") or None)
    return ApiError(status, reason, message, seconds)


def _status_object(body: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(body, Mapping):
        return body
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}  # an HTML page of a proxy tells nobody anything
    return parsed if isinstance(parsed, dict) else {}


def _owned_fields(details: Mapping[str, Any]) -> list[str]:
    causes = details.get("causes")
    return [
        f"{cause.get('message', '')}: {cause.get('field', '')}"
        for cause in (causes if isinstance(causes, list) else [])
        if isinstance(cause, Mapping) and cause.get("reason") == "FieldManagerConflict"
    ]


def _seconds(value: Any) -> float | None:
    """Retry-After in seconds; its date form (RFC 9110 §10.2.3) is not used by API servers and would need a true wall
    clock.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < 86_400 else None
