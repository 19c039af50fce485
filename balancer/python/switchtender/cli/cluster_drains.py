"""Drains that are wanted in the API server: of pods by their annotation, of static members in their group's spec. How
far they are is what the operator says in the group's status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from switchtender.cli.cluster import Cluster, ForbiddenError, Node
from switchtender.cli.countdown import Ordered, Phase, Progress, moment, progress_of, together
from switchtender.cli.exits import Failure
from switchtender_api.constants import DRAINED_BY_AUTOSCALE
from switchtender_api.v1alpha1.units import format_time

Json = dict[str, Any]
Note = Callable[[str], None]

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
    it is, for its deadline is not to move because somebody said the same once more.
    """

    def __init__(
        self,
        cluster: Cluster,
        nodes: Sequence[Node],
        since: datetime | None,
        note: Note,
        *,
        moved: bool = False,
        wide: bool = False,
    ) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._since = since
        self._note = note
        self._moved = moved
        self._wide = wide

    def order(self) -> Ordered:
        """Write what is wanted, node by node; one that cannot be written leaves the others as they are wanted."""
        lines: list[str] = []
        entries: list[Json] = []
        failures: list[str] = []
        for node in self._nodes:
            drain = self._wanted(node)
            self._remark(node)
            try:
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
        """Each node as the status of its groups has it; one that is not there, and is no pod or member any more, is
        gone.
        """
        groups = {
            name: self._cluster.group(name) for name in sorted({name for node in self._nodes for name in node.groups})
        }
        return [self._seen(node, [group for name in node.groups if (group := groups[name])]) for node in self._nodes]

    def _seen(self, node: Node, groups: Sequence[Json]) -> Progress:
        found = [(group, summary) for group in groups if (summary := _summary(group, node.name)) is not None]
        if not found and not self._cluster.exists(node):
            return Progress(node.key, Phase.GONE)
        told = [_progress(node.key, group, summary) for group, summary in found]
        return together(node.key, told) if told else Progress(node.key, Phase.AWAITED)

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


def _summary(group: Json, name: str) -> Mapping[str, Any] | None:
    listed = (group.get("status") or {}).get("nodeSummaries") or ()
    return next((each for each in listed if isinstance(each, Mapping) and each.get("name") == name), None)


def _progress(key: str, group: Json, summary: Mapping[str, Any]) -> Progress:
    drain = summary.get("drain")
    drained = isinstance(drain, Mapping) and drain.get("drained") is True
    return progress_of(key, drain, summary.get("sessions"), drained=drained, releases=_releases(group))


def _releases(group: Json) -> bool:
    return bool((group["spec"].get("drain") or {}).get("onTimeout") == "Release")
