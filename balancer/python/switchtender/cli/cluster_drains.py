"""Drains that are wanted in the API server: of pods by their annotation, of static members in their group's spec. How
far they are is what the operator says in the group's status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from switchtender.cli.cluster import Cluster, ForbiddenError, Node
from switchtender.cli.countdown import Ordered, Phase, Progress, moment, progress_of, together
from switchtender.cli.exits import Failure
from switchtender_api.constants import DRAINED_BY_AUTOSCALE
from switchtender_api.v1alpha1.units import format_time

Json = dict[str, Any]
Note = Callable[[str], None]

_Said = tuple[object, object]

_IN_SERVICE: Final = "takes calls"


def chosen(
    cluster: Cluster, names: Sequence[str], selector: str | None, group: str | None, note: Note, *, counted: bool
) -> list[Node]:
    """The nodes that are meant: static members of the ``group``, or pods by their names and labels.

    ``note`` is told of pods that are in no group. ``counted``: their calls have to be, so each must be in one. Raises
    Failure.
    """
    if group is not None:
        if selector is not None:
            raise Failure("--group is for static members, --selector for pods: give one or the other")
        namespace, _, name = group.rpartition("/")
        if namespace not in {"", cluster.namespace}:
            raise Failure(f"--group {group}: is not in namespace {cluster.namespace}; --namespace {namespace} is")
        return [cluster.member(each, name) for each in names]
    try:
        groups: list[Json] | None = cluster.groups()
    except ForbiddenError as failure:
        if counted:
            raise
        note(f"not known whether any group has them: {failure.message}")
        groups = None
    pods = cluster.pods(names, selector, groups or ())
    strangers = [pod.key for pod in pods if not pod.groups] if groups is not None else []
    if strangers:
        told = f"{', '.join(strangers)}: in no BalancerGroup of namespace {cluster.namespace}"
        if counted:
            raise Failure(f"{told}, so nobody counts the calls to wait for")
        note(f"{told}, so nobody heeds the annotation")
    return pods


class ClusterDrains:
    """Implements ``countdown.Drains`` on the nodes of a cluster.

    ``since`` None ends their drains. ``moved``: a drain that stands is to begin at ``since``, too; else it goes on as
    it is, for its deadline is not to move because somebody said the same once more. ``counted``: the calls are going to
    be waited for.

    A status is written some time after what it tells of. So of a node that begins to drain by this order, what the
    status said before it is of another drain, and counts for nothing; and whether a drain was ended is asked of the
    node itself, which the status may also have no room for.
    """

    def __init__(
        self,
        cluster: Cluster,
        nodes: Sequence[Node],
        since: datetime | None,
        note: Note,
        *,
        moved: bool = False,
        counted: bool = False,
        wide: bool = False,
    ) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._since = since
        self._note = note
        self._moved = moved
        self._counted = counted
        self._outdated: dict[tuple[str, str], _Said] = {}
        self._begun: set[str] = set()
        self._wide = wide

    def order(self) -> Ordered:
        """Write what is wanted, node by node; one that cannot be written leaves the others as they are wanted."""
        lines: list[str] = []
        entries: list[Json] = []
        failures: list[str] = []
        groups = self._groups() if self._counted else {}
        for node in self._nodes:
            drain = self._wanted(node)
            self._remark(node)
            try:
                if self._begins(node):
                    self._outdate(node, groups)
                if drain != node.drain or node.drained_by is not None:
                    self._cluster.want(node, drain)
            except Failure as failure:
                failures.append(failure.message)
                continue
            lines.append(self._line(node, drain))
            entries.append(_entry(node, drain))
        verb = "undrain" if self._since is None else "drain"
        return Ordered(tuple(lines), {"verb": verb, "nodes": entries}, tuple(failures))

    def look(self) -> list[Progress]:
        """Each node as the status of its groups has it; or as it is itself, where that tells of no drain."""
        groups = self._groups()
        return [self._seen(node, [group for name in node.groups if (group := groups[name])]) for node in self._nodes]

    def _groups(self) -> dict[str, Json | None]:
        return {
            name: self._cluster.group(name) for name in sorted({name for node in self._nodes for name in node.groups})
        }

    def _seen(self, node: Node, groups: Sequence[Json]) -> Progress:
        found = [
            _progress(node.key, group, summary, self._outdated.get((node.key, group["metadata"]["name"])))
            for group in groups
            if (summary := _summary(group, node.name)) is not None
        ]
        told = together(node.key, found) if found else Progress(node.key, Phase.AWAITED)
        if told.phase is not Phase.AWAITED:
            self._begun.add(node.key)
            return told
        now = self._cluster.again(node)
        if now is None:
            return replace(told, phase=Phase.GONE)
        if now.drain is None and not now.terminating:
            return replace(told, phase=Phase.CANCELLED)
        return replace(told, phase=Phase.DRAINING) if node.key in self._begun else told

    def _begins(self, node: Node) -> bool:
        """Whether it is this order that the node drains by."""
        stands = moment(node.drain)
        return self._since is not None and not node.terminating and (stands is None or stands > self._since)

    def _outdate(self, node: Node, groups: Mapping[str, Json | None]) -> None:
        for name in node.groups:
            group = groups.get(name)
            if group is not None and (said := _said(_summary(group, node.name) or {})):
                self._outdated[node.key, name] = said

    def _wanted(self, node: Node) -> str | None:
        if self._since is None:
            return None
        stands = moment(node.drain)
        if stands is not None and stands <= self._since and not self._moved:
            return node.drain
        return format_time(self._since.astimezone(UTC))

    def _remark(self, node: Node) -> None:
        if self._since is not None:
            return
        if node.terminating:
            self._note(f"{node.key} is terminating: it takes no calls whatever is wanted of it")
        elif node.drained_by == DRAINED_BY_AUTOSCALE:
            self._note(f"{node.key} was drained by spec.autoscale, which may choose it again")

    def _line(self, node: Node, drain: str | None) -> str:
        text = f"{node.key}: {_words(node.drain)} -> {_words(drain)}"
        if not self._wide:
            return text
        kind = "pod" if node.kind == "Pod" else "static member"
        return f"{kind} {text} (group {', '.join(node.groups) or '-'})"


def _entry(node: Node, drain: str | None) -> Json:
    return {
        "kind": node.kind,
        "namespace": node.namespace,
        "name": node.name,
        "uid": node.uid,
        "groups": list(node.groups),
        "before": {"drain": node.drain, "drainedBy": node.drained_by},
        "after": {"drain": drain, "drainedBy": None},
    }


def _words(drain: str | None) -> str:
    return _IN_SERVICE if drain is None else f"drains since {drain}"


def _said(summary: Mapping[str, Any]) -> _Said | None:
    """Which drain a status tells of: since when, and why."""
    drain = summary.get("drain")
    return (drain.get("since"), summary.get("reason")) if isinstance(drain, Mapping) else None


def _summary(group: Json, name: str) -> Mapping[str, Any] | None:
    listed = (group.get("status") or {}).get("nodeSummaries") or ()
    return next((each for each in listed if isinstance(each, Mapping) and each.get("name") == name), None)


def _progress(key: str, group: Json, summary: Mapping[str, Any], outdated: _Said | None) -> Progress:
    said = _said(summary)
    drain = None if said is None or said == outdated else summary["drain"]
    drained = isinstance(drain, Mapping) and drain.get("drained") is True
    return progress_of(key, drain, summary.get("sessions"), drained=drained, releases=_releases(group))


def _releases(group: Json) -> bool:
    return bool((group["spec"].get("drain") or {}).get("onTimeout") == "Release")
