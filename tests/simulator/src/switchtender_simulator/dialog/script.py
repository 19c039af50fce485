"""What becomes of a call is written in the user part of its Request-URI; this module reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Course(Enum):
    """The course a call takes after it was admitted."""

    ANSWER = "answer"
    EARLY_MEDIA = "early183"
    RING = "ring"
    TRYING_ONLY = "100-only"
    SILENT = "silent"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Script:
    """A course, and for REFUSE the status and, where it differs from the usual one, the `Reason` value."""

    course: Course
    status: int = 0
    reason: str | None = None


_ANSWER = Script(Course.ANSWER)
_NAMED = {
    "ring": Script(Course.RING),
    "silent": Script(Course.SILENT),
    "100-only": Script(Course.TRYING_ONLY),
    "early183": Script(Course.EARLY_MEDIA),
    # A far end's refusal as FreeSWITCH relays it: the cause without a text, no Retry-After.
    "503-far": Script(Course.REFUSE, 503, "Q.850;cause=42"),
}


def script_of(user: str) -> Script:
    """Course of a call to `user`; a user of three digits from 300 to 699 is refused with that status."""
    if len(user) == 3 and user.isascii() and user.isdigit() and "300" <= user <= "699":
        return Script(Course.REFUSE, int(user))
    return _NAMED.get(user, _ANSWER)
