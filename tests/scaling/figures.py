"""What so many replicas, nodes and calls need: arithmetic on sizes (`documents.py`) and on measured costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

HOLD = 180.0
"""Seconds that a call lasts, where calls in progress are counted."""

CHURN = 0.1
"""Part of the nodes that come, go or change within `CHURN_SECONDS` when a Deployment is rolled out."""

CHURN_SECONDS = 10.0
WRITES_A_SECOND = 20.0
"""The operator's `--write-qps` as it comes."""

FLEETS = ((2, 100), (10, 1_000), (10, 10_000), (100, 1_000), (100, 10_000))
"""Replicas and nodes that the page has a row for."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What one size needs; bytes and commands a second. ``writes``: of DestinationSets while nodes change."""

    replicas: int
    nodes: int
    connections: int
    commands_a_node: float
    esl_a_balancer: float
    esl_of_all: float
    state_answer: float
    state_of_all: float
    writes_asked: float
    watch_of_all: float


def fleet(replicas: int, nodes: int, sizes: Mapping[str, Any]) -> Fleet:
    """Sizes as `documents.sizes` gives them; a heartbeat a second."""
    connection = (
        sizes["heartbeat_bytes"]
        + sizes["poll_bytes"] / sizes["poll_seconds"]
        + sizes["checks_bytes"] / sizes["checks_seconds"]
    )
    commands = 1 / sizes["poll_seconds"] + sizes["checks"] / sizes["checks_seconds"]
    answer = nodes * sizes["state_bytes_a_node"]
    asked = nodes * CHURN / CHURN_SECONDS
    return Fleet(
        replicas=replicas,
        nodes=nodes,
        connections=replicas * nodes,
        commands_a_node=replicas * commands,
        esl_a_balancer=nodes * connection,
        esl_of_all=replicas * nodes * connection,
        state_answer=answer,
        state_of_all=replicas * answer,
        writes_asked=asked,
        watch_of_all=min(asked, WRITES_A_SECOND) * sizes["slice_bytes"] * replicas,
    )


def measured(performance: Mapping[str, Any]) -> dict[str, float]:
    """The figures of docs/performance.json that the page goes on with; those that are not there yet are left out.

    ``call_us``: median CPU of a call, stateful LeastLoad, in microseconds; and of Kamailio's, ``kamailio_us``.
    """
    legs = {"call_us": "least-load", "kamailio_us": "kamailio-stateful"}
    runs = performance.get("compare", {}).get("runs", {})
    return {name: round(median(run["cpu"] for run in runs[leg]), 1) for name, leg in legs.items() if runs.get(leg)}
