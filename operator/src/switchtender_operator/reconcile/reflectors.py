"""A reflector as every cache of the operator has one: with the operator's times, its changes counted by resource."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from switchtender_kube import Client, Json, Reflector, Resource
from switchtender_operator.config.timing import Timing

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reflectors:
    """Makes reflectors; `counted` is how many changes there were of each resource."""

    client: Client
    timing: Timing
    counted: Counter[str] = field(default_factory=Counter)

    def make(
        self,
        resource: Resource,
        namespace: str | None,
        project: Callable[[Json], Value | None],
        changed: Callable[[str, Value | None, Value | None], None],
        *,
        label_selector: str | None = None,
        name: str | None = None,
    ) -> Reflector[Value]:
        """Return a reflector, not running yet; `namespace` None for the whole cluster."""

        def counting(uid: str, old: Value | None, new: Value | None) -> None:
            self.counted[resource.plural] += 1
            changed(uid, old, new)

        return Reflector(
            self.client,
            resource,
            namespace=namespace,
            project=project,
            changed=counting,
            label_selector=label_selector,
            name=name,
            silence=self.timing.watch_silence,
            confirm=self.timing.watch_confirm,
            resync=self.timing.watch_relist,
            backoff=self.timing.watch_backoff,
            backoff_cap=self.timing.watch_backoff_most,
        )
