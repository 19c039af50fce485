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

from switchtender_kube import Client, Json, Reflector, Resource
from switchtender_operator.domain.plan import Watched
from switchtender_operator.domain.pods import Pod, project

PODS = Resource("", "v1", "pods")

Changed = Callable[[str, Pod | None, Pod | None], None]
Make = Callable[["Selection", Changed], Reflector[Pod]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Pods of a namespace with all the labels, and the annotations that are kept of them."""

    namespace: str
    selector: str
    annotations: frozenset[str]


class PodWatches:
    """Watches by selection, and who follows each. `dirty` is called with the key of each group a change concerns."""

    def __init__(self, make: Make, dirty: Callable[[str], None], group: asyncio.TaskGroup) -> None:
        self._make = make
        self._dirty = dirty
        self._tasks = group
        self._watches: dict[Selection, tuple[Reflector[Pod], asyncio.Task[None]]] = {}
        self._followers: dict[Selection, set[str]] = {}
        self._of: dict[str, Selection] = {}

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

    def pods(self, key: str) -> Mapping[str, Pod] | None:
        """Return the group's pods by uid; None while they are not known. A group that follows none has none."""
        selection = self._of.get(key)
        if selection is None:
            return {}
        watch, _ = self._watches[selection]
        return watch.store if watch.synced.is_set() else None

    def reflectors(self) -> list[Reflector[Pod]]:
        """Return the reflectors that run."""
        return [watch for watch, _ in self._watches.values()]

    def _start(self, selection: Selection) -> None:
        watch = self._make(selection, partial(self._pod_changed, selection))
        self._watches[selection] = watch, self._tasks.create_task(self._run(selection, watch))

    async def _run(self, selection: Selection, watch: Reflector[Pod]) -> None:
        running = asyncio.create_task(watch.run())
        try:
            await watch.synced.wait()
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
            _, task = self._watches.pop(selection)
            task.cancel()

    def _pod_changed(self, selection: Selection, _: str, __: Pod | None, ___: Pod | None) -> None:
        for key in self._followers.get(selection, ()):
            self._dirty(key)


def reflector(client: Client, selection: Selection, changed: Changed, counted: Counter[str]) -> Reflector[Pod]:
    """Return the reflector of a selection, filtered by the API server; changes are counted by resource."""

    def counting(uid: str, old: Pod | None, new: Pod | None) -> None:
        counted[PODS.plural] += 1
        changed(uid, old, new)

    def kept(raw: Json) -> Pod | None:
        return project(raw, keep=selection.annotations)

    return Reflector(
        client,
        PODS,
        namespace=selection.namespace,
        project=kept,
        changed=counting,
        label_selector=selection.selector,
        name=f"{selection.namespace}/pods[{selection.selector}]",
    )


def _selection(namespace: str, watched: Watched) -> Selection:
    selector = ",".join(f"{label}={value}" for label, value in sorted(watched.labels.items()))
    return Selection(namespace, selector, watched.annotations)
