"""A target, its pods and their load on the scripted API server, with a controller of our own, in virtual time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from operator_stand import NAMESPACE, KubeApi, config_map, group, pod, serving

from switchtender_kube import Client, WriteLimiter
from switchtender_operator.config.settings import SHORT_TARGETS, ScalableKind
from switchtender_operator.domain.pods import Pod, project
from switchtender_operator.domain.world import (
    BalancersSeen,
    GroupObject,
    NodeReport,
    Observation,
    Scaling,
    Settings,
)
from switchtender_operator.publish.pods import PodWriter
from switchtender_operator.reconcile.autoscaler import Autoscaler
from switchtender_operator.reconcile.cluster import Cluster
from switchtender_operator.reconcile.marker import Marker
from switchtender_operator.reconcile.objects import configuration, group_object
from switchtender_operator.reconcile.targets import Targets
from switchtender_operator.telemetry.metrics import Metrics

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DRAIN, BY = "switchtender.dev/drain", "switchtender.dev/drained-by"
COST = "controller.kubernetes.io/pod-deletion-cost"
SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
CAPACITY = 100.0


def asked(**more: Any) -> dict[str, Any]:
    """A spec.autoscale of quick windows."""
    return {
        "target": {"name": "fs"},
        "min": 1,
        "max": 10,
        "buffer": {"calls": 0},
        "scaleIn": {"stabilizationWindow": "60s", "maxStep": 1},
        **more,
    }


def deployment(replicas: int, *, kind: str = "Deployment", app: str = "fs") -> dict[str, Any]:
    """A workload with as many pods as it is told to have."""
    labels = {"app": app}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "fs", "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}},
        },
        "status": {"replicas": replicas, "updatedReplicas": replicas},
    }


def hpa(name: str = "by-cpu", target: str = "fs") -> dict[str, Any]:
    """A HorizontalPodAutoscaler of a Deployment."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"scaleTargetRef": reference, "maxReplicas": 5},
    }


@dataclass
class Leader:
    """One replica of the operator while it leads, as far as it scales."""

    autoscaler: Autoscaler
    metrics: Metrics
    leading: bool = True
    told: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Stand:
    """The cluster. `sessions` by pod name; one that is not in it has reported none; None has not reported at all."""

    api: KubeApi
    client: Client
    sessions: dict[str, int | None] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)
    now: datetime = START
    seconds: float = 0.0
    changed: list[str] = field(default_factory=list)
    made: int = 0
    balancers: bool = True
    known: Cluster = field(init=False)

    def __post_init__(self) -> None:
        self.known = Cluster(lambda _: None, clock=lambda: self.seconds)
        found = configuration(config_map())
        assert found is not None
        self.known.configuration_changed("config", None, found)

    # --- what the operator's other parts know --------------------------------------------------------------------

    def put_group(self, name: str = "ivr", **spec: Any) -> None:
        """A group as the cluster has it now."""
        raw = self.api.put(group(name, **spec))
        seen = group_object(raw)
        assert seen is not None
        self.known.group_changed(seen.value.uid, None, seen)

    def drop_group(self, name: str = "ivr") -> None:
        """The group is deleted."""
        raw = self.api.object("balancergroups", NAMESPACE, name)
        assert raw is not None
        seen = group_object(raw)
        assert seen is not None
        self.api.remove("balancergroups", NAMESPACE, name)
        self.known.group_changed(seen.value.uid, seen, None)

    def pods(self, key: str) -> Mapping[str, Pod] | None:
        """All pods with the group's label: as a watch that is never late."""
        del key
        found = [project(raw) for raw in self.api.objects("pods", NAMESPACE)]
        return {pod.uid: pod for pod in found if pod is not None}

    def of(self, key: str) -> Observation | None:
        """What balancers say."""
        if not self.balancers:
            return None
        reports = {uid: self._report(pod.name) for uid, pod in (self.pods(key) or {}).items() if pod.ready}
        return Observation(at=self.now, balancers=BalancersSeen(total=1), nodes=reports)

    def _report(self, name: str) -> NodeReport:
        sessions = self.sessions.get(name, 0)
        if sessions is None:
            return NodeReport(name=name, state="unknown")
        age = self.ages.get(name, 0.5)
        state = "draining" if DRAIN in self.annotations(name) else "ready" if age < 5 else "stale"
        return NodeReport(name=name, state=state, age=age, sessions=sessions, capacity=CAPACITY)

    # --- the cluster ---------------------------------------------------------------------------------------------

    def annotations(self, name: str) -> dict[str, str]:
        """Those of a pod."""
        raw = self.api.object("pods", NAMESPACE, name)
        assert raw is not None
        return dict(raw["metadata"].get("annotations") or {})

    def names(self) -> list[str]:
        """The pods there are."""
        return [raw["metadata"]["name"] for raw in self.api.objects("pods", NAMESPACE)]

    @property
    def replicas(self) -> int:
        """What the target was told to have."""
        raw = self.api.object("deployments", NAMESPACE, "fs")
        assert raw is not None
        return int(raw["spec"]["replicas"])

    def control(self, *, ready: bool = True) -> list[str]:
        """Do what a Deployment's controllers do; the names of the pods that were removed.

        Like a ReplicaSet: those that are not ready go first, then those of the lowest cost.
        """
        gone = []
        while len(self.names()) < self.replicas:
            raw = pod(self.made, ready=ready)
            raw["metadata"]["creationTimestamp"] = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
            self.api.put(raw)
            self.made += 1
        while len(self.names()) > self.replicas:
            first = min(self.api.objects("pods", NAMESPACE), key=_rank)["metadata"]["name"]
            gone.append(first)
            self.api.remove("pods", NAMESPACE, first)
        status = {"replicas": len(self.names()), "updatedReplicas": len(self.names())}
        self.api.merge("deployments", NAMESPACE, "fs", {"status": status})
        return gone

    def target(self, replicas: int) -> None:
        """A Deployment with its pods, which are ready."""
        self.api.put(deployment(replicas))
        self.control()

    def writes(self, resource: str, verb: str = "patch") -> int:
        """How many writes to a resource there were."""
        return len(self.api.calls(verb, resource))

    # --- the operator --------------------------------------------------------------------------------------------

    def leader(self, *, marks: bool = False, targets: tuple[ScalableKind, ...] | None = None) -> Leader:
        """A new leader, who remembers nothing."""
        metrics = Metrics()
        kinds = tuple(SHORT_TARGETS.values()) if targets is None else targets
        writer = PodWriter(self.client, WriteLimiter(1000, 1000), fence=lambda: one.leading, counts=metrics)

        async def tell(_: GroupObject, note: Any) -> None:
            one.told.append((note.reason, note.message))

        one = Leader(
            Autoscaler(
                self.known,
                self,
                self,
                Targets(self.client, kinds),
                writer,
                Marker(writer, enabled=marks, budget=20),
                settings=Settings(),
                changed=self.changed.append,
                tell=tell,
                wall=lambda: self.now,
                clock=lambda: self.seconds,
            ),
            metrics,
        )
        return one

    async def rounds(self, leader: Leader, seconds: float, step: float = 5.0) -> None:
        """Let time pass, with a round each `step`."""
        for _ in range(int(seconds / step)):
            self.now += timedelta(seconds=step)
            self.seconds += step
            await leader.autoscaler.round()

    def said(self, leader: Leader, name: str = "ivr") -> Scaling:
        """What was made of a group's spec.autoscale."""
        found = leader.autoscaler.scaling(f"{NAMESPACE}/{name}")
        assert found is not None
        return found


def _rank(raw: dict[str, Any]) -> tuple[bool, int, str]:
    metadata = raw["metadata"]
    ready = raw["status"]["conditions"][0]["status"] == "True"
    return ready, int((metadata.get("annotations") or {}).get(COST, 0)), metadata["name"]


@contextlib.asynccontextmanager
async def scaling() -> AsyncIterator[Stand]:
    """A cluster with nothing in it yet."""
    random.seed(7)
    async with serving() as api:
        client = await Client.connect(server=api.url, user_agent="switchtender-operator")
        try:
            yield Stand(api, client)
        finally:
            await client.close()
