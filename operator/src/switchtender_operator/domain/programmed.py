"""Whether balancers act on what is in force: the condition Programmed, from what they say they act on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from switchtender_api import status as api
from switchtender_api.constants import CONDITION_PROGRAMMED
from switchtender_operator.domain.conditions import Condition, Status, unreachable
from switchtender_operator.domain.world import BalancerSeen, BalancersSeen, SetObject


@dataclass(frozen=True, slots=True)
class Programmed:
    """The condition, and when to look again though nothing changes."""

    condition: Condition
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InWriting:
    """What balancers are to act on: the group's sets as they stand in the cluster.

    `writing` tells that some are about to be written. `was_programmed` tells that balancers acted on this generation
    when the status was last written; then those a moment behind with its members, less than `grace`, are waited for:
    pods come and go, and each time would flip the condition.
    """

    group_uid: str
    generation: int
    sets: Sequence[SetObject]
    writing: bool
    was_programmed: bool
    grace: timedelta


def not_accepted(stays: int | None) -> Condition:
    """Return the condition of a group whose spec is refused; `stays` is the generation in force, None if none is."""
    message = "nothing is in force" if stays is None else f"generation {stays} stays in force"
    return _condition("False", api.PROGRAMMED_NOT_ACCEPTED, message)


def programmed(wanted: InWriting, balancers: BalancersSeen | None, now: datetime) -> Programmed:
    """Return whether every balancer that answers acts on the spec and the nodes as they are now."""
    if balancers is None:
        return Programmed(_condition("Unknown", api.PROGRAMMED_PENDING, "balancers have not been asked yet"))
    if not balancers.reachable:
        status: Status = "Unknown" if balancers.total else "False"
        return Programmed(_condition(status, api.PROGRAMMED_NO_BALANCERS, unreachable(balancers)))
    answers = list(balancers.instances.values())
    rejections = {answer.rejected for answer in answers if answer.rejected and answer.group_uid == wanted.group_uid}
    if rejections:
        return Programmed(_condition("False", api.PROGRAMMED_REJECTED, "; ".join(sorted(rejections))))
    with_policy = sum(_on_policy(answer, wanted) for answer in answers)
    if with_policy < len(answers):
        message = f"{with_policy} of {len(answers)} balancers act on generation {wanted.generation}"
        return Programmed(_condition("False", api.PROGRAMMED_PENDING, message))
    return _on_nodes(wanted, balancers, answers, now)


def _on_nodes(
    wanted: InWriting, balancers: BalancersSeen, answers: Sequence[BalancerSeen], now: datetime
) -> Programmed:
    with_sets = 0 if wanted.writing else sum(_on_sets(answer, wanted.sets) for answer in answers)
    if with_sets == len(answers):
        return Programmed(_all_act(balancers, wanted.generation))
    newest = now if wanted.writing else max((each.changed for each in wanted.sets if each.changed), default=None)
    # A change in the future is one before the clock was set back; waiting for its grace would take as long as that.
    if wanted.was_programmed and newest is not None and newest <= now < newest + wanted.grace:
        return Programmed(_all_act(balancers, wanted.generation), newest + wanted.grace)
    message = f"{with_sets} of {len(answers)} balancers act on the nodes as they are now"
    return Programmed(_condition("False", api.PROGRAMMED_PENDING, message))


def _on_policy(answer: BalancerSeen, wanted: InWriting) -> bool:
    generation = answer.generation
    return answer.group_uid == wanted.group_uid and generation is not None and generation >= wanted.generation


def _on_sets(answer: BalancerSeen, sets: Iterable[SetObject]) -> bool:
    for each in sets:
        seen = answer.sets.get(each.name)
        if seen is None or seen.uid != each.uid or seen.generation < each.generation:
            return False
    return True


def _all_act(balancers: BalancersSeen, generation: int) -> Condition:
    answering = balancers.reachable
    total = max(balancers.total, answering)
    which = f"all {total}" if answering == total else f"the {answering} of {total} that answer"
    message = f"balancers that act on generation {generation}: {which}"
    return _condition("True", api.PROGRAMMED_PROGRAMMED, message)


def _condition(status: Status, reason: str, message: str) -> Condition:
    return Condition(CONDITION_PROGRAMMED, status, reason, message)
