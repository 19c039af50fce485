"""What a balancer learns from the difference between what a node reports and what it did there itself: its *share* of
the node's new sessions, and how much *headroom* to keep.

All counts here are sessions (legs). How this was found, and what it does, is in docs/load.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_SHARE_MEMORY = 0.8
"""What is kept of the counts behind *share* in a second: about five seconds."""

_PRIOR = 100.0
"""New sessions in equal parts that stand for those not yet seen; forgotten like those."""

_DECAY = 0.95
"""What is kept of the learned headroom in a second that shows it was enough."""

_RELIEF = 0.6
"""What is kept of the headroom that was only assumed, in a second in which our own counts explained everything."""

_NOISE = 0.4
"""Less than this is not kept free."""

_EXPLAINED = 0.9
"""A share from which on our own counts explain what the node does."""

_LIMIT = 0.1
"""Part of a node's limit that is kept free at most."""

_TURN = 0.6
"""How far replicas take turns at the last slots: 1 = strictly, 0 = whoever comes first. Not every replica has a call
for a slot that all of them see, so strict turns leave slots empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was learned of one node; the default is nothing.

    ``own`` and ``grown``: decayed sums of our own new sessions and of all; ``prior``: what is left of the assumption
    that stood there before. ``unexplained``: decayed maximum of the growth that we knew nothing of, where it mattered;
    ``assumed``: what is left of the two calls that are kept free until that is known, as a part of 1.
    """

    own: float = 0.0
    grown: float = 0.0
    prior: float = _PRIOR
    unexplained: float = 0.0
    assumed: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From one report to the next, ``seconds`` apart, in sessions: what the count grew by, how many were made since
    (None: not told), what our own calls made and ended, how far the count is now above the capacity that we kept to
    (negative: below), and the node's limit.
    """

    seconds: float
    growth: float
    created: float | None
    assigned: float
    ended: float
    excess: float
    limit: float


def learn(learned: Learned, step: Step, *, legs: float) -> Learned:
    """What is known after one more report. ``legs``: sessions of one call."""
    # Where reports are rare, one is worth a second.
    seconds = min(1.0, max(0.0, step.seconds))
    explained = learned.grown >= _NOISE and learned.own >= _EXPLAINED * learned.grown
    tested = explained or step.excess >= -3.0 * legs
    kept = _DECAY**seconds if tested else 1.0
    unexplained = _unexplained(learned.unexplained * kept, step, legs, explained=explained)
    assumed = learned.assumed * (_RELIEF**seconds if explained else kept)
    if step.created is None:
        return replace(learned, unexplained=unexplained, assumed=assumed)
    created = max(step.created, step.assigned)
    memory = _SHARE_MEMORY**seconds
    return Learned(
        own=memory * learned.own + step.assigned,
        grown=memory * learned.grown + created,
        prior=memory * learned.prior,
        unexplained=unexplained,
        assumed=assumed,
    )


def share(learned: Learned, replicas: int) -> float:
    """This balancer's part of the node's new sessions, within [1/(2R), 1]; 1/R until calls were seen.

    It leaves the equal part only as calls tell otherwise: the first few would swing it by chance, and a share raises
    its own budget, hence its own calls, hence itself.
    """
    seen = learned.grown + learned.prior
    if seen < _NOISE:
        return 1.0 / replicas
    return min(1.0, max(1.0 / (2 * replicas), (learned.own + learned.prior / replicas) / seen))


def headroom(learned: Learned, *, limit: float, legs: float) -> float:
    """Sessions to keep free, at most a tenth of the node's limit; two calls' until something is known."""
    wanted = max(learned.unexplained, 2.0 * legs * learned.assumed)
    return min(wanted, _LIMIT * max(0.0, limit)) if wanted >= _NOISE else 0.0


def turn_taking(part: float, *, replicas: int, legs: float, moment: float) -> float:
    """Sessions to keep free until the next report so that the replicas do not all take the same last slots.

    Each sees the same free slots and may take ``share`` of them, but no less than one call where any is free: R of
    them would take up to R − 1 too many. So each rounds its part up or down by lot, drawn anew with every report,
    such that together they take what is free. ``part``: our share; ``moment``: when the report came, which makes the
    lot (each replica's differs).
    """
    among = min(replicas, 1.0 / part)
    return _TURN * legs * max(0.0, (1.0 - _lot(moment)) * among - 1.0)


def _unexplained(kept: float, step: Step, legs: float, *, explained: bool) -> float:
    """The decayed maximum of how far the count went beyond what we knew, as far as that came near the limit: growth
    that ends far below it does no harm, and how other replicas fill free room is no surprise. ``kept``: what is left of
    the former maximum.
    """
    residual = step.growth - step.assigned + step.ended
    if explained:
        # The report and our counts are not of one instant: a call on its way is no growth.
        residual -= legs
    reach = max(2.0 * legs, 0.15 * math.sqrt(max(0.0, step.limit)))
    after = max(min(residual, step.excess + reach), kept)
    return after if after >= _NOISE else 0.0


def _lot(moment: float) -> float:
    """Evenly spread over [0, 1): the microseconds of ``moment``, mixed (Fibonacci hashing)."""
    mixed = (int(moment * 1e6) * 0x9E3779B97F4A7C15) & 0xFFFF_FFFF_FFFF_FFFF
    mixed = ((mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93) & 0xFFFF_FFFF_FFFF_FFFF
    return (mixed >> 11) / (1 << 53)
