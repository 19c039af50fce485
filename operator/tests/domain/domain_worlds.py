"""Worlds for tests: raw pods and groups as the API server gives them, and a cluster that takes plans up as it would."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from switchtender_api.objects import read_group, read_set
from switchtender_api.v1alpha1 import BalancerConfigSpec
from switchtender_operator.domain.neighbors import Neighbors
from switchtender_operator.domain.plan import Plan, plan, watched_selector
from switchtender_operator.domain.pods import Pod, project
from switchtender_operator.domain.world import (
    BalancerSeen,
    BalancersSeen,
    GroupObject,
    GroupWorld,
    NodeReport,
    Observation,
    SetObject,
    Settings,
    SetVersion,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings(forbidden=frozenset({ip_address("10.96.0.1")}))
ESL = {"passwordFrom": {"secretKeyRef": {"name": "esl"}}}
SELECTOR = {"selector": {"matchLabels": {"app": "freeswitch"}}}


def config(**spec: Any) -> BalancerConfigSpec:
    """A balancer's configuration; the rest has its defaults."""
    return BalancerConfigSpec.model_validate({"listeners": [{"address": "0.0.0.0"}], **spec})


def raw_pod(
    name: str, ip: str | None = "10.0.1.7", *, uid: str = "", ready: bool = True, **more: Any
) -> dict[str, Any]:
    """A pod. `more`: annotations, deletion (with `grace` seconds), phase, ips, host, zone."""
    metadata: dict[str, Any] = {
        "namespace": "voice",
        "name": name,
        "uid": uid or f"uid-{name}",
        "creationTimestamp": "2026-03-01T10:00:00Z",
        "labels": {"app": "freeswitch"},
        "annotations": dict(more.get("annotations", {})),
    }
    if "zone" in more:
        metadata["labels"]["topology.kubernetes.io/zone"] = more["zone"]
    if "deletion" in more:
        metadata |= {"deletionTimestamp": more["deletion"], "deletionGracePeriodSeconds": more.get("grace", 30)}
    ips = more.get("ips", [ip] if ip else [])
    host = more.get("host", "192.168.1.3")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": "worker-1", "containers": [{"name": "freeswitch", "env": [{"name": "A", "value": "b"}]}]},
        "status": {
            "phase": more.get("phase", "Running"),
            "hostIP": host,
            "hostIPs": [{"ip": host}],
            **({"podIP": ips[0], "podIPs": [{"ip": each} for each in ips]} if ips else {}),
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def raw_group(spec: Mapping[str, Any] | None = None, *, generation: int = 1, **metadata: Any) -> dict[str, Any]:
    """A BalancerGroup with a selector and a password unless `spec` says otherwise."""
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerGroup",
        "metadata": {"namespace": "voice", "name": "ivr", "uid": "uid-ivr", "generation": generation, **metadata},
        "spec": {"members": SELECTOR, "esl": ESL, **(spec or {})},
    }


def group_object(raw: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> GroupObject:
    """The group as the operator reads it."""
    metadata = raw["metadata"]
    return GroupObject(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        read=read_group(raw),
        status=status or {},
        deleting="deletionTimestamp" in metadata,
    )


@dataclass
class Cluster:
    """One group, its pods and its sets, with an API server that takes up what is planned."""

    group: dict[str, Any] = field(default_factory=raw_group)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    sets: dict[str, SetObject] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    balancers: dict[str, BalancerConfigSpec | str] = field(default_factory=lambda: {"default": config()})
    observation: Observation | None = None
    settings: Settings = SETTINGS
    now: datetime = NOW
    written: datetime | None = None
    neighbors: Neighbors = field(default_factory=Neighbors)
    pods_known: bool = True
    cordoned: Mapping[str, datetime | None] = field(default_factory=dict)
    defaulting: bool = False
    writes: int = 0

    def add(self, *pods: dict[str, Any]) -> Cluster:
        """Put pods there, or change them."""
        for pod in pods:
            self.pods[pod["metadata"]["uid"]] = pod
        return self

    def edit(self, spec: Mapping[str, Any]) -> None:
        """Change the group's spec."""
        metadata = {**self.group["metadata"], "generation": self.group["metadata"]["generation"] + 1}
        self.group = {**self.group, "metadata": metadata, "spec": {"members": SELECTOR, "esl": ESL, **spec}}

    def world(self) -> GroupWorld:
        """What the operator sees."""
        frame = self._world(None)
        watched = watched_selector(frame)
        pods: dict[str, Pod] | None = None
        if self.pods_known:
            pods = {}
            for raw in self.pods.values():
                labels = raw["metadata"]["labels"]
                if watched and all(labels.get(key) == value for key, value in watched.labels.items()):
                    pod = project(raw, keep=watched.annotations)
                    assert pod is not None
                    pods[pod.uid] = pod
        return self._world(pods)

    def _world(self, pods: dict[str, Pod] | None) -> GroupWorld:
        return GroupWorld(
            group=group_object(self.group, self.status),
            pods=pods,
            sets=tuple(self.sets.values()),
            balancers=self.balancers,
            observation=self.observation,
            neighbors=self.neighbors,
            settings=self.settings,
            status_written=self.written,
            cordoned=self.cordoned,
        )

    def plan(self) -> Plan:
        """What the operator would write now."""
        return plan(self.world(), self.now)

    def take(self, planned: Plan) -> None:
        """Write what is planned, as an API server would store it."""
        for desired in planned.apply:
            self.writes += 1
            body = copy.deepcopy(desired.body)
            metadata, spec = body["metadata"], body["spec"]
            if self.defaulting:
                spec = _with_defaults(body)
            old = self.sets.get(desired.name)
            self.sets[desired.name] = SetObject(
                namespace=metadata["namespace"],
                name=desired.name,
                uid=old.uid if old else f"set-{desired.name}-{self.writes}",
                generation=(old.generation + 1) if old else 1,
                resource_version=str(self.writes),
                spec=spec,
                group_uid=spec["group"]["uid"],
                owner_uid=metadata["ownerReferences"][0]["uid"],
                labels=metadata["labels"],
                annotations=metadata.get("annotations", {}),
                changed=self.now,
            )
        for gone in planned.delete:
            assert self.sets[gone.name].uid == gone.uid
            del self.sets[gone.name]
        if planned.status is not None:
            self.status = copy.deepcopy(planned.status)
            self.written = self.now

    def settle(self) -> Plan:
        """Plan, write, and look at the outcome; return the first plan."""
        first = self.plan()
        self.take(first)
        for _ in range(3):
            self.now += timedelta(seconds=11)
            again = self.plan()
            if again.empty:
                return first
            assert not again.apply, "an applied plan plans sets again"
            assert not again.delete
            self.take(again)
        raise AssertionError("the status does not settle")

    def members(self) -> dict[str, dict[str, Any]]:
        """The members of all sets by uid, each once."""
        found: dict[str, dict[str, Any]] = {}
        for each in self.sets.values():
            for member in each.spec["members"]:
                assert member["uid"] not in found, "a member stands in two slices"
                found[member["uid"]] = member
        return found

    def by_name(self) -> dict[str, dict[str, Any]]:
        """The members of all sets by name."""
        return {member["name"]: member for member in self.members().values()}

    def condition(self, kind: str) -> tuple[str, str] | None:
        """Status and reason of a condition as it was last written."""
        return next(((c["status"], c["reason"]) for c in self.status["conditions"] if c["type"] == kind), None)

    def message(self, kind: str) -> str:
        """The message of a condition as it was last written."""
        return next(c["message"] for c in self.status["conditions"] if c["type"] == kind)

    def observe(self, nodes: Mapping[str, NodeReport], **answers: Any) -> None:
        """Let one balancer act on everything as it is and report `nodes`, by pod name."""
        by_uid = {member["name"]: uid for uid, member in self.members().items()}
        instances = answers.get("instances", {"a": self.seen()})
        self.observation = Observation(
            at=self.now,
            balancers=BalancersSeen(total=answers.get("total", len(instances)), instances=instances),
            nodes={by_uid[name]: report for name, report in nodes.items()},
        )

    def seen(self, **more: Any) -> BalancerSeen:
        """A balancer that acts on everything as it is."""
        values: dict[str, Any] = {
            "group_uid": self.group["metadata"]["uid"],
            "generation": self.group["metadata"]["generation"],
            "sets": {each.name: SetVersion(each.uid, each.generation) for each in self.sets.values()},
        }
        return BalancerSeen(**{**values, **more})


def report(name: str, state: str = "ready", **more: Any) -> NodeReport:
    """A report of a node with room, half a second old."""
    return NodeReport(name=name, state=state, **{"age": 0.5, "sessions": 10, "capacity": 100.0, **more})


def _with_defaults(body: dict[str, Any]) -> dict[str, Any]:
    """The spec as a server stores it that fills in every default."""
    read = read_set(body)
    assert read.set is not None
    spec: dict[str, Any] = read.set.spec.model_dump(mode="json")
    if "policy" not in body["spec"]:
        del spec["policy"]
    return spec
