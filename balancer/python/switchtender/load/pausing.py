"""Whether inbound calls are to be paused on a node itself, and by whom they were: pure, one check after the other.

A node is paused only after a check said that it is not, and then it was paused from here; only such a node is resumed.
So what a person paused stays paused. Several balancers may do the same at once: pausing what is paused changes nothing.
Knows nothing of how a node is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

Intent = Literal["Pause", "Keep", "Resume"]
"""Keep: the node drains, and nothing says that it is to be paused: as it is now, so it stays."""

FIRST_GAP: Final = 5.0
LONGEST_GAP: Final = 300.0
"""Seconds between two attempts that changed nothing; doubling."""


@dataclass(frozen=True, slots=True)
class Pausing:
    """``ours``: inbound calls are paused there because of a drain, and are to be resumed after it. ``asked``: what the
    node was asked for and has not answered yet, True to pause. ``attempts``: those since it was last as it should be.
    ``here``: it is ours by what was asked on the connection that stands, whose other end is one process.
    """

    ours: bool = False
    asked: bool | None = None
    attempts: int = 0
    not_before: float = -math.inf
    here: bool = False


def seen(known: Pausing, intent: Intent, now: float, *, paused: bool) -> tuple[Pausing, bool | None]:
    """A check told at ``now`` (monotonic seconds) whether inbound calls are ``paused``: what is known after it, and
    what the node is to be asked for, True to pause, False to resume, None for nothing.
    """
    if known.asked is not None:
        return known, None
    wish = _wish(known, intent, paused=paused)
    if wish is None:
        ours = known.ours and paused
        return Pausing(ours=ours, here=ours and known.here), None
    if now < known.not_before:
        return known, None
    gap = min(FIRST_GAP * 2.0 ** min(known.attempts, 30), LONGEST_GAP)
    # Ours from the moment of asking: the answer may be lost, and a node that we paused is not to stay so.
    return Pausing(wish or known.ours, wish, known.attempts + 1, now + gap, here=wish or known.here), wish


def _wish(known: Pausing, intent: Intent, *, paused: bool) -> bool | None:
    if intent == "Pause" and not paused:
        return True
    return False if intent == "Resume" and paused and known.ours else None


def answered(known: Pausing, *, accepted: bool) -> Pausing:
    """The node did what it was asked for, or refused it."""
    ours = accepted if known.asked else known.ours
    return replace(known, ours=ours, asked=None, here=ours and known.here)


def unanswered(known: Pausing) -> Pausing:
    """The connection is gone; what was asked on it may or may not have come to pass."""
    return replace(known, asked=None, here=False)


def told(known: Pausing) -> Pausing:
    """Another balancer, or this one in an earlier life, is known to have paused the node."""
    return replace(known, ours=True)


def restarted(known: Pausing) -> Pausing:
    """The node is another process than before the connection that stands: what that one was is void, and so is what
    kept us from asking again. What was asked since is this one's: its first heartbeat may tell only later which it is.
    """
    return Pausing(ours=known.here, asked=known.asked, here=known.here)
