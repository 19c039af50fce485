"""Kubernetes Events about a group: only what changed, told from the status and the sets as they were before.

A condition's Event comes with the write of the status that changes it, a remark's with the first status that holds it:
so none is repeated, and none is lost when a write has to wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from switchtender_api import status as api
from switchtender_api.constants import (
    CONDITION_ACCEPTED,
    CONDITION_AUTOSCALE_ACTIVE,
    CONDITION_CAPACITY_AVAILABLE,
    CONDITION_NODE_SIDE_UNREACHABLE,
    CONDITION_PROGRAMMED,
    CONDITION_READY,
    CONDITION_STATS_FRESH,
)
from switchtender_api.v1alpha1.group import Drain
from switchtender_operator.domain import notes
from switchtender_operator.domain.conditions import SERVING, Condition, by_type, named
from switchtender_operator.domain.drains import OWN_WILL
from switchtender_operator.domain.members import Member, state_of, written_member
from switchtender_operator.domain.notes import Note, shown
from switchtender_operator.domain.status import Node, summaries

Kind = Literal["Normal", "Warning"]

DRAINING, DRAINED, DRAIN_EXPIRED, DRAIN_CANCELLED = "Draining", "Drained", "DrainExpired", "DrainCancelled"
"""Reasons of Events about drains: begun, done, not done in time, taken back."""

NODE_DOWN, NODE_STALE, NODE_FULL, NODE_READY = "NodeDown", "NodeStale", "NodeFull", "NodeReady"
"""Reasons of Events about single nodes of a group."""

SCALED_OUT, SCALED_IN = "ScaledOut", "ScaledIn"
"""Reasons of Events about the number of nodes, told where that is changed."""

_OF_DRAINS: Mapping[str, Kind] = {
    DRAINING: "Normal",
    DRAINED: "Normal",
    DRAIN_EXPIRED: "Warning",
    DRAIN_CANCELLED: "Normal",
}
_MEANINGS: Mapping[str, str] = {
    DRAINING: "Nodes take no new calls from now on; the message says which, and why.",
    DRAINED: "Nodes that drain have no call left: a fresh report says so.",
    DRAIN_EXPIRED: "The deadline of drains has passed with calls on the nodes; the message says how many, and what "
    "drain.onTimeout makes of that.",
    DRAIN_CANCELLED: "Nodes are not drained any more, and take calls once they are seen to be ready.",
    NODE_DOWN: "Nodes cannot be used any more; the message says why.",
    NODE_STALE: "Nodes have not reported for longer than health.staleAfter.",
    NODE_FULL: "Nodes have no room for one more call.",
    NODE_READY: "Nodes that were down, stale or full take calls again.",
}
_OF_SCALING: Mapping[str, str] = {
    SCALED_OUT: "The target of autoscale was told to have more replicas; the message says how many, and why.",
    SCALED_IN: "The target of autoscale was told to have fewer replicas, as nodes have drained.",
}
_MOST_NAMES = 5
_OUT_OF_SERVICE = frozenset({"down", "stale", "full"})
_BAD: Mapping[str, frozenset[str]] = {
    CONDITION_ACCEPTED: frozenset(api.REASONS[CONDITION_ACCEPTED]) - {api.ACCEPTED_ACCEPTED},
    CONDITION_PROGRAMMED: frozenset({api.PROGRAMMED_REJECTED, api.PROGRAMMED_NO_BALANCERS}),
    CONDITION_READY: frozenset({api.READY_NO_MEMBERS, api.READY_NO_READY_MEMBERS}),
    CONDITION_STATS_FRESH: frozenset({api.STATS_STALE, api.STATS_NO_BALANCERS}),
    CONDITION_CAPACITY_AVAILABLE: frozenset({api.CAPACITY_EXHAUSTED}),
    CONDITION_AUTOSCALE_ACTIVE: frozenset(
        {
            api.AUTOSCALE_HPA_PRESENT,
            api.AUTOSCALE_TARGET_TAKEN,
            api.AUTOSCALE_TARGET_NOT_FOUND,
            api.AUTOSCALE_TARGET_NOT_ALLOWED,
            api.AUTOSCALE_TARGET_MISMATCH,
            api.AUTOSCALE_STALE_LOAD,
            api.AUTOSCALE_FAILED,
        }
    ),
    CONDITION_NODE_SIDE_UNREACHABLE: frozenset({api.NODE_SIDE_NO_ADVERTISED_ADDRESS}),
}
_GOOD: Mapping[str, str] = {
    CONDITION_ACCEPTED: api.ACCEPTED_ACCEPTED,
    CONDITION_PROGRAMMED: api.PROGRAMMED_PROGRAMMED,
    CONDITION_READY: api.READY_READY,
    CONDITION_STATS_FRESH: api.STATS_FRESH,
    CONDITION_CAPACITY_AVAILABLE: api.CAPACITY_AVAILABLE,
    CONDITION_AUTOSCALE_ACTIVE: api.AUTOSCALE_ACTIVE,
}
"""Of other reasons, neither bad nor good, nothing is told."""
_OF_NODES: Mapping[str, tuple[Kind, str, str]] = {
    "down": ("Warning", NODE_DOWN, "cannot be used"),
    "stale": ("Warning", NODE_STALE, "not heard of any more"),
    "full": ("Normal", NODE_FULL, "no room for one more call"),
    "ready": ("Normal", NODE_READY, "take calls"),
}
"""What is said of a node that comes into a state."""
_TOLD_WHEN_FIRST_GOOD = frozenset({CONDITION_ACCEPTED, CONDITION_READY})


@dataclass(frozen=True, slots=True)
class EventNote:
    """A Kubernetes Event about the group: `reason` is one CamelCase word."""

    type: Kind
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason that an Event may have, and what it is about: a type of condition, `nodes`, `autoscale` or `remarks`."""

    about: str
    type: Kind
    reason: str
    meaning: str


def reasons() -> Iterator[Reason]:
    """Yield every reason that the functions below give an Event."""
    for condition, bad in _BAD.items():
        for reason, meaning in api.REASONS[condition].items():
            if reason in bad:
                yield Reason(condition, "Warning", reason, meaning)
            elif reason == _GOOD.get(condition):
                yield Reason(condition, "Normal", reason, meaning)
    kinds = {**_OF_DRAINS, **{reason: kind for kind, reason, _ in _OF_NODES.values()}}
    for reason, meaning in _MEANINGS.items():
        yield Reason("nodes", kinds[reason], reason, meaning)
    for reason, meaning in _OF_SCALING.items():
        yield Reason("autoscale", "Normal", reason, meaning)
    for reason, meaning in notes.REASONS.items():
        yield Reason("remarks", "Normal" if reason in notes.HARMLESS else "Warning", reason, meaning)


def of_conditions(conditions: Iterable[Condition], before: Mapping[str, Any]) -> Iterator[EventNote]:
    """Yield what went wrong or right again since the status before: a new reason that is bad, or True after one."""
    old = by_type(before)
    for condition in conditions:
        was = old.get(condition.type, {})
        bad = _BAD[condition.type]
        if was.get("status") == condition.status and was.get("reason") == condition.reason:
            continue
        if condition.reason in bad:
            if condition.status != "Unknown":
                yield EventNote("Warning", condition.reason, _told(condition))
            continue
        mended = was.get("reason") in bad and was.get("status") == "False"
        if condition.reason == _GOOD.get(condition.type) and (
            mended or (not was and condition.type in _TOLD_WHEN_FIRST_GOOD)
        ):
            yield EventNote("Normal", condition.reason, _told(condition))


def of_notes(remarks: Iterable[Note], before: Mapping[str, Any]) -> Iterator[EventNote]:
    """Yield the remarks that the message of the condition Ready shows now and did not show before."""
    message = str(by_type(before).get(CONDITION_READY, {}).get("message", ""))
    for note in shown(remarks)[0]:
        if note.text not in message:
            yield EventNote("Normal" if note.harmless else "Warning", note.reason, note.text)


def of_drains(members: Iterable[Member], before: Mapping[str, Mapping[str, Any]]) -> Iterator[EventNote]:
    """Yield one Event each for the nodes that stood in the sets and now begin to drain, or do so no longer.

    `before` holds the bodies of those that stood there, by uid.
    """
    begun, ended = [], []
    for member in members:
        if member.uid not in before:
            continue
        body = before[member.uid]
        drains, drained = member.state == "Draining", state_of(body) == "Draining"
        if drains and not drained:
            begun.append(f"{member.name} ({member.drain_reason})")
        elif drained and not drains:
            ended.append(f"{member.name} ({written_member(body).drain_reason})")
    yield from _drains(begun, ended)


def of_countdowns(nodes: Iterable[Node], before: Mapping[str, Any], policy: Drain | None) -> Iterator[EventNote]:
    """Yield what became of drains since the status before: done, or not done in time.

    Of a node that drains of its own will also that it began and ended, which no set says. One that the status before
    does not know by name is new, unless there was no room for it: then it did not drain, or nothing is told, for which
    of more draining nodes than a status has room for did so before is not known.
    """
    was = summaries(before)
    others_served = bool(before.get("truncated")) and _last_state(before) != "draining"
    begun, ended, drained, expired = [], [], [], []
    for node in nodes:
        if node.name not in was and not others_served:
            continue
        old = was.get(node.name, {"state": "ready", "reason": ""})
        text, drain, former = f"{node.name} ({node.reason})", node.drain, _drain_of(old)
        if drain is None:
            if node.state in SERVING and old["reason"] in OWN_WILL and former:
                ended.append(f"{node.name} ({old['reason']})")
            continue
        if node.reason in OWN_WILL and old["state"] != "draining":
            begun.append(text)
        same = former if former.get("since") == drain.summary()["since"] else {}
        if drain.drained and not same.get("drained"):
            drained.append(text)
        if drain.expired and not same.get("expired"):
            expired.append(f"{node.name} ({_remaining(node.sessions)})")
    yield from _drains(sorted(begun), sorted(ended))
    if drained:
        yield EventNote(_OF_DRAINS[DRAINED], DRAINED, f"no call is left on {named(sorted(drained), _MOST_NAMES)}")
    if expired:
        then = "they wait on" if policy is None or policy.on_timeout == "Hold" else "they may go with their calls"
        rule = "" if policy is None else f" (drain.onTimeout: {policy.on_timeout})"
        text = f"past the deadline with calls, {then}{rule}: {named(sorted(expired), _MOST_NAMES)}"
        yield EventNote(_OF_DRAINS[DRAIN_EXPIRED], DRAIN_EXPIRED, text)


def _remaining(sessions: int | None) -> str:
    if sessions is None:
        return "no report"
    return f"{sessions} session" + ("" if sessions == 1 else "s")


def _last_state(status: Mapping[str, Any]) -> str | None:
    """Return the state of the last node that a status names: others are in service as much as that one."""
    return next((summary["state"] for summary in reversed(summaries(status).values())), None)


def _drain_of(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    drain = summary.get("drain")
    return drain if isinstance(drain, Mapping) else {}


def _drains(begun: Sequence[str], ended: Sequence[str]) -> Iterator[EventNote]:
    if begun:
        yield EventNote(_OF_DRAINS[DRAINING], DRAINING, f"no new calls for {named(sorted(begun), _MOST_NAMES)}")
    if ended:
        text = f"no longer drained: {named(sorted(ended), _MOST_NAMES)}"
        yield EventNote(_OF_DRAINS[DRAIN_CANCELLED], DRAIN_CANCELLED, text)


def of_nodes(nodes: Iterable[Node], before: Mapping[str, Any]) -> Iterator[EventNote]:
    """Yield one Event for the nodes that are full, stale, down or ready again since the status before.

    Drains have their own Events. A node that is new has no state before, and one that the status before had no room for
    was ready, for it names those out of service first; if these alone are more than it has room for, that is not known.
    """
    was = {name: summary["state"] for name, summary in summaries(before).items()}
    unlisted = "ready" if before.get("truncated") and _last_state(before) in SERVING else None
    changed: dict[str, list[str]] = {}
    for node in nodes:
        old = was.get(node.name, unlisted)
        if old not in {None, node.state} and (node.state != "ready" or old in _OUT_OF_SERVICE):
            changed.setdefault(node.state, []).append(f"{node.name} ({node.reason})")
    for state, (kind, reason, text) in _OF_NODES.items():
        if state in changed:
            yield EventNote(kind, reason, f"{text}: {named(sorted(changed[state]), _MOST_NAMES)}")


def _told(condition: Condition) -> str:
    return f"{condition.type}: {condition.message}" if condition.message else f"{condition.type}: {condition.reason}"
