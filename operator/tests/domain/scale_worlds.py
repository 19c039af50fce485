"""Worlds for tests of autoscaling: nodes, a target, and one that behaves as Kubernetes and callers would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from switchtender_api.v1alpha1.autoscale import Autoscale
from switchtender_operator.domain.autoscale import (
    ScaleDecision,
    ScaleHistory,
    ScaleNode,
    ScaleTargetSeen,
    ScaleWorld,
    decide,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TARGET = {"kind": "Deployment", "name": "fs"}


def autoscale(**spec: Any) -> Autoscale:
    """A spec of 1 to 10 nodes without a buffer, so that 100 sessions are one node; the rest has its defaults."""
    return Autoscale.model_validate({"target": TARGET, "min": 1, "max": 10, "buffer": {"calls": 0}, **spec})


def node(name: str, sessions: int | None = 0, **more: Any) -> ScaleNode:
    """A node that takes calls, up to 100 sessions, and reported a second ago; uid is `uid-NAME`."""
    return ScaleNode(
        **{
            "uid": f"uid-{name}",
            "name": name,
            "ready": True,
            "terminating": False,
            "drained_by_us": False,
            "draining": False,
            "since": None,
            "expired": False,
            "state": "ready",
            "sessions": sessions,
            "capacity": 100.0,
            "age": 1.0,
            "cost": None,
            "created": NOW - timedelta(hours=1),
            **more,
        }
    )


def ours(name: str, sessions: int | None = 0, **more: Any) -> ScaleNode:
    """A node that autoscaling began to drain a minute ago."""
    drain = {"drained_by_us": True, "draining": True, "since": NOW - timedelta(minutes=1), "state": "draining"}
    return node(name, sessions, **{**drain, **more})


def theirs(name: str, sessions: int | None = 0, **more: Any) -> ScaleNode:
    """A node that somebody else began to drain a minute ago."""
    return ours(name, sessions, **{"drained_by_us": False, **more})


def starting(name: str, **more: Any) -> ScaleNode:
    """A node made ten seconds ago that has not reported yet."""
    new = {"ready": False, "state": "unknown", "capacity": None, "age": None, "created": NOW - timedelta(seconds=10)}
    return node(name, None, **{**new, **more})


def world(nodes: Iterable[ScaleNode], **more: Any) -> ScaleWorld:
    """A world at NOW. `more`: fields of the world, of the target, or of `Autoscale` under `spec`."""
    nodes = tuple(nodes)
    alive = sum(1 for each in nodes if not each.terminating)
    replicas = more.pop("replicas", alive)
    target = ScaleTargetSeen(
        replicas=replicas,
        status_replicas=more.pop("status_replicas", replicas),
        rolling=more.pop("rolling", False),
        resource_version="1",
        ordinal=more.pop("ordinal", False),
    )
    spec = more.pop("spec", {})
    timeout: Literal["Hold", "Release"] = more.pop("on_timeout", "Hold")
    return replace(
        ScaleWorld(
            now=NOW,
            spec=autoscale(**spec),
            legs_per_call=1,
            on_timeout=timeout,
            target=target,
            nodes=nodes,
            stale_after=10.0,
        ),
        **more,
    )


def after_a_window(seen: ScaleWorld) -> ScaleHistory:
    """The history of a leader that saw this world, unchanged, for a whole window of scaling in."""
    history = ScaleHistory()
    window = seen.spec.scale_in.stabilization_window
    for part in range(8, 0, -1):
        # What it decided is not done: the world stays as it is.
        _, remembered = decide(replace(seen, now=seen.now - window * part / 8), history)
        history = replace(remembered, begun=(), drained=(), revived=(), added=())
    return history


def settled(seen: ScaleWorld) -> ScaleDecision:
    """What such a leader decides."""
    return decide(seen, after_a_window(seen))[0]


def fresh_leader(seen: ScaleWorld) -> ScaleDecision:
    """What a leader decides that sees this world first."""
    return decide(seen, ScaleHistory())[0]


def soon(seen: ScaleWorld) -> ScaleDecision:
    """What a leader decides that saw this world for the first time a few seconds ago."""
    _, history = decide(replace(seen, now=seen.now - timedelta(seconds=4)), ScaleHistory())
    return decide(seen, replace(history, drained=(), revived=(), added=()))[0]
