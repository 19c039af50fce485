"""One decision of autoscaling: what the calls need, then nodes taken back or added, drained or removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from switchtender_api.status import (
    AUTOSCALE_ACTIVE,
    AUTOSCALE_LIMITED,
    AUTOSCALE_ROLLOUT,
    AUTOSCALE_SCALED_TO_ZERO,
    AUTOSCALE_STALE_LOAD,
)
from switchtender_operator.domain.autoscale.fleet import FAILED_AFTER, SETTLED, Fleet, fleet_of
from switchtender_operator.domain.autoscale.grow import Growth, grow
from switchtender_operator.domain.autoscale.history import SAMPLE_EVERY, ScaleHistory
from switchtender_operator.domain.autoscale.need import Need, all_sessions, need_of, per_node
from switchtender_operator.domain.autoscale.shrink import MARK_KNOWN, begun, blocked, may_go, to_drain, to_mark
from switchtender_operator.domain.autoscale.world import LOWEST_COST, ScaleDecision, ScaleWorld

_IDLE: Growth = Growth((), 0, limited=False)


def decide(world: ScaleWorld, history: ScaleHistory) -> tuple[ScaleDecision, ScaleHistory]:
    """Return what to do about the number of nodes, and the history for the next decision.

    Nodes that autoscaling drains are taken back before any are added; none begins to drain before a whole
    `scaleIn.stabilizationWindow` wanted fewer; the replicas go down by one, and only where each pod that Kubernetes
    could remove may go.
    """
    history = history.looked(world.now).recent(
        world.now, scale_in=world.spec.scale_in.stabilization_window, lead=world.spec.scale_out.lead_time
    )
    if world.target.replicas == 0:
        return _scaled_to_zero(world), ScaleHistory(at=world.now, per=history.per)
    fleet = fleet_of(world, history)
    history = history.saw(
        world.now,
        failing=(node.uid for node in (*fleet.failing, *fleet.failed)),
        marked=(node.uid for node in fleet.ours if node.cost == LOWEST_COST),
    )
    per = per_node(fleet, history.per)
    if per is None:
        return _without_load(world, fleet, history)
    history = _remember(world, fleet, replace(history, per=per))
    need = need_of(world, fleet, history, per)
    history = history.wanted(
        world.now,
        high=need.keep,
        low=need.now,
        scale_in=world.spec.scale_in.stabilization_window,
        scale_out=world.spec.scale_out.stabilization_window,
    )
    short = _short(world, fleet, history)
    growth = grow(world, fleet, history, short) if short > 0 else _IDLE
    keep = None if short > 0 else _keep(world, fleet, history)
    drain = () if keep is None else to_drain(world, fleet, history, keep)
    return _decided(world, fleet, history, need, growth, drain)


def _bounded(nodes: int, world: ScaleWorld) -> int:
    return max(world.spec.min, min(world.spec.max, nodes))


def _remember(world: ScaleWorld, fleet: Fleet, history: ScaleHistory) -> ScaleHistory:
    unknown = frozenset(node.uid for node in fleet.unknown)
    return history.sampled(world.now, all_sessions(world, fleet), unknown)


def _short(world: ScaleWorld, fleet: Fleet, history: ScaleHistory) -> int:
    """Return by how many the nodes that take calls, or will, are too few: the least of `scaleOut`'s window.

    Before a window is whole, what there is counts as wanted; `min` holds at once.
    """
    lows = history.lows
    wanted = lows.extreme or 0
    if not lows.whole(world.now, world.spec.scale_out.stabilization_window):
        wanted = min(wanted, fleet.capable)
    return _bounded(wanted, world) - fleet.capable


def _keep(world: ScaleWorld, fleet: Fleet, history: ScaleHistory) -> int | None:
    """Return how many nodes are to go on taking calls, the most of `scaleIn`'s window; None: none is to drain."""
    whole = history.highs.whole(world.now, world.spec.scale_in.stabilization_window)
    if not whole or fleet.unknown or fleet.rolling:
        return None
    return _bounded(history.highs.extreme or 0, world)


def _decided(
    world: ScaleWorld, fleet: Fleet, history: ScaleHistory, need: Need, growth: Growth, drain: tuple[str, ...]
) -> tuple[ScaleDecision, ScaleHistory]:
    replicas: int | None = None
    wait: str | None = None
    gone = [node for node in fleet.ours if may_go(node, world)]
    if growth.add:
        replicas = world.target.replicas + growth.add
    elif gone and not growth.revive and not drain and not fleet.unknown and not fleet.rolling:
        wait = blocked(world, fleet, history)
        replicas = world.target.replicas - 1 if wait is None else None
    desired = _bounded(need.now, world)
    revived = set(growth.revive)
    decision = ScaleDecision(
        desired=desired,
        replicas=replicas,
        drain=drain,
        revive=growth.revive,
        lowest=tuple(uid for uid in to_mark(world, fleet) if uid not in revived),
        reason=_reason(world, fleet, need, growth),
        message=_message(world, fleet, need, wait),
        wake_after=_wake_after(world, fleet, history),
    )
    return decision, history.asked(world.now, drain=drain, revive=growth.revive, added=growth.add)


def _scaled_to_zero(world: ScaleWorld) -> ScaleDecision:
    return ScaleDecision(
        desired=world.spec.min,
        reason=AUTOSCALE_SCALED_TO_ZERO,
        message="the target was scaled to 0 replicas; scale it to 1 or more to turn autoscaling on again",
    )


def _without_load(world: ScaleWorld, fleet: Fleet, history: ScaleHistory) -> tuple[ScaleDecision, ScaleHistory]:
    """Return the decision while no node ever said what it takes: `min` and nothing else."""
    growth = grow(world, fleet, history, world.spec.min - fleet.capable) if fleet.capable < world.spec.min else _IDLE
    decision = ScaleDecision(
        desired=world.spec.min,
        replicas=world.target.replicas + growth.add if growth.add else None,
        revive=growth.revive,
        reason=AUTOSCALE_STALE_LOAD if fleet.unknown else AUTOSCALE_ACTIVE,
        message=f"no node has said yet how many sessions it takes; min is {world.spec.min}",
        wake_after=SAMPLE_EVERY.total_seconds(),
    )
    return decision, history.asked(world.now, drain=(), revive=growth.revive, added=growth.add)


def _reason(world: ScaleWorld, fleet: Fleet, need: Need, growth: Growth) -> str:
    if fleet.unknown:
        return AUTOSCALE_STALE_LOAD
    if need.now > world.spec.max or growth.limited:
        return AUTOSCALE_LIMITED
    return AUTOSCALE_ROLLOUT if fleet.rolling else AUTOSCALE_ACTIVE


def _message(world: ScaleWorld, fleet: Fleet, need: Need, wait: str | None) -> str:
    """Return one sentence in counts of nodes, which change seldom; sessions would make it new at each look."""
    parts = [f"the calls need {need.now} nodes (min {world.spec.min}, max {world.spec.max}), {fleet.kept} are kept"]
    parts += [f"{len(nodes)} {word}" for nodes, word in _counted(fleet) if nodes]
    if wait is not None:
        parts.append(f"none is removed yet: {wait}")
    return ", ".join(parts)


def _counted(fleet: Fleet) -> Iterable[tuple[tuple[object, ...], str]]:
    yield fleet.ours, "drained by autoscaling"
    yield fleet.others, "drained otherwise"
    yield (*fleet.failing, *fleet.failed), "failed"
    yield fleet.unknown, "of unknown load"


def _wake_after(world: ScaleWorld, fleet: Fleet, history: ScaleHistory) -> float:
    """Return the seconds until time alone can change the decision; samples for the trend are due every few anyway."""
    windows = world.spec.scale_in.stabilization_window, world.spec.scale_out.stabilization_window
    due: list[datetime] = [since + windows[0] for since in begun(world, fleet, history).values()]
    for window, span in zip((history.highs, history.lows), windows, strict=True):
        due += [window.values[0][0] + span] if window.values else []
        due += [window.since + span] if window.since is not None else []
    due += [node.since + SETTLED for node in fleet.ours if node.since is not None]
    due += [since + FAILED_AFTER for _, since in history.failing]
    due += [since + MARK_KNOWN for _, since in history.marked]
    waits = [at - world.now for at in due if at > world.now]
    return max(min([SAMPLE_EVERY, *waits]), timedelta(milliseconds=100)).total_seconds()
