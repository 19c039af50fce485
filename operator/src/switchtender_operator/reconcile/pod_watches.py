"""The pods that groups follow: one watch for each namespace and selector, started and stopped as groups come and go.

Two groups with one selector share a watch, and a pod's change concerns the groups of its watches only. A watch that is
new has no pods to offer until its first list is complete; one that had them keeps them whatever the API server does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from switchtender_kube import Json, Reflector, Resource, boottime
from switchtender_operator.domain.plan import Watched
from switchtender_operator.domain.pods import Pod, project
from switchtender_operator.reconcile.reflectors import Reflectors

PODS = Resource("", "v1", "pods")

Changed = Callable[[str, Pod | None, Pod | None], None]
Make = Callable[["Selection", Changed], Reflector[Pod]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Pods of a namespace with all the labels, and the annotations that are kept of them."""

    namespace: str
    selector: str
    annotations: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Watch:
    reflector: Reflector[Pod]
    task: asyncio.Task[None]
    began: float


class PodWatches:
    """Watches by selection, and who follows each. `dirty` is called with the key of each group a change concerns.

    `patience` in seconds: how long after its beginning a first list is worth waiting for.
    """

    def __init__(
        self,
        make: Make,
        dirty: Callable[[str], None],
        tasks: asyncio.TaskGroup,
        *,
        patience: float = 3.0,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._make = make
        self._dirty = dirty
        self._tasks = tasks
        self._patience = patience
        self._clock = clock
        self._watches: dict[Selection, _Watch] = {}
        self._followers: dict[Selection, set[str]] = {}
        self._of: dict[str, Selection] = {}
        self._on: dict[str, Counter[Selection]] = {}

    def follow(self, key: str, namespace: str, watched: Watched | None) -> None:
        """Let the group follow these pods, and none but these; None for none."""
        selection = None if watched is None else _selection(namespace, watched)
        former = self._of.get(key)
        if former == selection:
            return
        if selection is not None:
            self._of[key] = selection
            self._followers.setdefault(selection, set()).add(key)
            if selection not in self._watches:
                self._start(selection)
        else:
            del self._of[key]
        if former is not None:
            self._leave(key, former)

    def pending(self, key: str) -> float:
        """Return for how many seconds more the group's pods are worth waiting for; 0 if they are known."""
        selection = self._of.get(key)
        if selection is None or self._watches[selection].reflector.synced.is_set():
            return 0.0
        return max(0.0, self._watches[selection].began + self._patience - self._clock())

    def pods(self, key: str) -> Mapping[str, Pod] | None:
        """Return the group's pods by uid; None while they are not known. A group that follows none has none."""
        selection = self._of.get(key)
        if selection is None:
            return {}
        reflector = self._watches[selection].reflector
        return reflector.store if reflector.synced.is_set() else None

    def groups_on(self, node: str) -> set[str]:
        """Return the keys of the groups with pods on a Kubernetes node."""
        return {key for selection in self._on.get(node, ()) for key in self._followers.get(selection, ())}

    def reflectors(self) -> list[Reflector[Pod]]:
        """Return the reflectors that run."""
        return [watch.reflector for watch in self._watches.values()]

    def _start(self, selection: Selection) -> None:
        reflector = self._make(selection, partial(self._pod_changed, selection))
        task = self._tasks.create_task(self._run(selection, reflector), name=reflector.name)
        self._watches[selection] = _Watch(reflector, task, self._clock())

    async def _run(self, selection: Selection, reflector: Reflector[Pod]) -> None:
        running = asyncio.create_task(reflector.run())
        try:
            await reflector.synced.wait()
            self._pod_changed(selection, "", None, None)  # a first list without pods is news, too
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _leave(self, key: str, selection: Selection) -> None:
        followers = self._followers[selection]
        followers.discard(key)
        if not followers:
            del self._followers[selection]
            self._watches.pop(selection).task.cancel()
            for node in [node for node, count in self._on.items() if selection in count]:
                self._drop(node, selection, self._on[node][selection])

    def _pod_changed(self, selection: Selection, _: str, old: Pod | None, new: Pod | None) -> None:
        if selection in self._watches:
            self._place(selection, old, new)
        if old is not None and new is not None and new.same_node(old):
            return  # marks, mostly our own, and labels: who reads these looks by itself
        for key in self._followers.get(selection, ()):
            self._dirty(key)

    def _place(self, selection: Selection, old: Pod | None, new: Pod | None) -> None:
        """Count the selection's pods by their Kubernetes nodes, so that none need be searched when one changes."""
        before, after = (pod.node if pod is not None else None for pod in (old, new))
        if before == after:
            return
        if after is not None:
            self._on.setdefault(after, Counter())[selection] += 1
        if before is not None:
            self._drop(before, selection, 1)

    def _drop(self, node: str, selection: Selection, pods: int) -> None:
        count = self._on[node]
        count[selection] -= pods
        if count[selection] <= 0:
            del count[selection]
        if not count:
            del self._on[node]


def pod_reflector(reflectors: Reflectors, selection: Selection, changed: Changed) -> Reflector[Pod]:
    """Return the reflector of a selection, filtered by the API server."""

    def kept(raw: Json) -> Pod | None:
        return project(raw, keep=selection.annotations)

    name = f"{selection.namespace}/pods[{selection.selector}]"
    return reflectors.make(PODS, selection.namespace, kept, changed, label_selector=selection.selector, name=name)


def _selection(namespace: str, watched: Watched) -> Selection:
    selector = ",".join(f"{label}={value}" for label, value in sorted(watched.labels.items()))
    return Selection(namespace, selector, watched.annotations)
