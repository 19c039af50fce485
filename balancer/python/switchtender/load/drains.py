"""The drain of a node: since when, until when, why, and how far it is. Pure; absolute times, seconds of the epoch.

A node drains because its configuration says so, an operator ordered it, or it wants to itself; several of these may
stand at once, and are one drain. Its deadline ends no call and stops no in-dialog request: it is what whoever waits
for the node goes by (docs/drain.md). Knows neither groups nor connections.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

OnTimeout = Literal["Hold", "Release"]
"""What a deadline means to whoever waits: go on waiting, or go on without."""

Phase = Literal["draining", "drained", "expired"]
"""Drained: empty. Expired: past its deadline and not known to be empty."""

ORDERED = "Requested"
"""The reason of a drain that an operator ordered: the word that the configuration has for it, too."""


@dataclass(frozen=True, slots=True)
class Drain:
    """One cause of a drain, or what several come to."""

    since: float
    deadline: float
    reason: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What the groups of a node say of its drains: seconds until the deadline, what it means, and whether the node
    itself is to be paused.
    """

    timeout: float = 7200.0
    on_timeout: OnTimeout = "Hold"
    pause: bool = False

    def begun(self, since: float, reason: str) -> Drain:
        """A drain that began then, for which nobody gave a deadline of its own."""
        return Drain(since, since + self.timeout, reason)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A drain that is wanted of the whole node, with what it says of pausing.

    ``pause``: inbound calls are to be paused there. ``paused_by_us``: a balancer is known to have done so.
    """

    drain: Drain
    pause: bool = False
    paused_by_us: bool = False


def together(causes: Iterable[Drain | None]) -> Drain | None:
    """All causes as one drain: it began with the first of them and ends with the strictest; the reason is that of the
    strongest, which stands first. None where there is no cause.
    """
    found = [cause for cause in causes if cause is not None]
    if not found:
        return None
    return Drain(min(cause.since for cause in found), min(cause.deadline for cause in found), found[0].reason)


def remaining(*, fresh: bool, reported: int | None, effective: float, in_setup: int = 0) -> int | None:
    """Sessions that remain; None: not known. 0 is said of a node only that a fresh report says is empty, and where we
    placed nothing since.

    ``fresh``: what is known of the node's load is of now. ``effective``: the reported sessions and what we know to have
    come and gone since. ``in_setup``: our calls there that have no final response yet. Nothing is known of a node that
    does not report: our own count knows neither other replicas' calls nor those of our life before.
    """
    if not fresh or reported is None:
        return None
    return max(reported, in_setup, math.ceil(effective))


def phase(drain: Drain, left: int | None, now: float) -> Phase:
    """How far the drain is at ``now``, with so many sessions left."""
    if left == 0:
        return "drained"
    return "expired" if now >= drain.deadline else "draining"
