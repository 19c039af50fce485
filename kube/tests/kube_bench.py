"""The bench on which the reflector is tried: a scripted server without sockets, and all that the reflector told."""

import asyncio
import random
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kube_virtual import MemoryClient, now
from tests.stand.kube_api import KubeApi

from switchtender_kube import Reflector, Resource

PODS = Resource("", "v1", "pods")
GROUPS = Resource("switchtender.dev", "v1alpha1", "balancergroups")


def pod(name: str, value: int = 0, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "voice", "labels": labels},
        "spec": {"value": value},
    }


class Bench:
    """A server, a reflector on it, and all that it told."""

    def __init__(self, **options: Any) -> None:
        self.api = options.pop("api", None) or KubeApi()
        self.client = MemoryClient(self.api)
        self.told: list[tuple[str, Any, Any]] = []
        self.sleeps: list[float] = []
        options.setdefault("project", lambda raw: (raw["metadata"]["name"], raw["spec"]["value"]))
        options.setdefault("namespace", "voice")
        options.setdefault("changed", lambda uid, old, new: self.told.append((uid, old, new)))
        self.reflector: Reflector[Any] = Reflector(
            self.client, options.pop("resource", PODS), clock=now, sleep=self._sleep, rng=random.Random(7), **options
        )

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def running(self, *, synced: bool = True):
        task = asyncio.create_task(self.reflector.run())
        if synced:
            await asyncio.wait_for(self.reflector.synced.wait(), 3600)
            await asyncio.sleep(0.01)
        try:
            yield self
            assert not task.done(), "run() ended"
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def put(self, *pods: dict[str, Any]) -> None:
        for each in pods:
            self.api.put(each)

    @property
    def values(self) -> list[Any]:
        return sorted(self.reflector.store.values())

    @property
    def truth(self) -> dict[str, Any]:
        return {
            raw["metadata"]["uid"]: (raw["metadata"]["name"], raw["spec"]["value"]) for raw in self.api.objects("pods")
        }

    def lists(self) -> int:
        return len([r for r in self.api.calls("list") if "continue" not in r.query])
