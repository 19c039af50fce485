"""Which Kubernetes nodes take no more pods, and which groups that concerns. Does no I/O and waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from switchtender_kube import Resource
from switchtender_operator.reconcile.objects import KubernetesNode

NODES = Resource("", "v1", "nodes")


class CordonedNodes:
    """The cordoned Kubernetes nodes, fed by a reflector's callback.

    `groups_on` returns the keys of the groups with pods on a node; `dirty` is called with each when its cordon changes.
    One that is removed while it is cordoned stays so for the pods that it leaves behind: Kubernetes takes a minute to
    delete these, and their host may be gone.
    """

    def __init__(self, groups_on: Callable[[str], Iterable[str]], dirty: Callable[[str], None]) -> None:
        self._groups_on = groups_on
        self._dirty = dirty
        self._cordoned: dict[str, KubernetesNode] = {}
        self._removed: set[str] = set()

    def changed(self, _: str, old: KubernetesNode | None, new: KubernetesNode | None) -> None:
        """Take up a node that came, changed or went; nothing follows from one that is as cordoned as before."""
        node = new or old
        if node is None:
            return
        before = self._cordoned.get(node.name)
        if new is not None:
            self._removed.discard(node.name)
            if new.unschedulable:
                self._cordoned[node.name] = new
            else:
                self._cordoned.pop(node.name, None)
        elif before is not None and before.uid == node.uid:  # not if a node of the same name came meanwhile
            self._removed.add(node.name)
        if self._cordoned.get(node.name) != before:
            for key in self._groups_on(node.name):
                self._dirty(key)

    def since(self) -> Mapping[str, datetime | None]:
        """Return since when nodes are cordoned by name, None where they do not say."""
        for name in [name for name in self._removed if not self._groups_on(name)]:
            self._removed.discard(name)
            del self._cordoned[name]
        return {name: node.since for name, node in self._cordoned.items()}
