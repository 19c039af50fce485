"""Events about single nodes: transitions alone, all of a kind in one, few names."""

import pytest
from domain_worlds import Cluster, raw_pod, report


def cluster_of(count):
    """A group of so many nodes, all of them ready and told so."""
    cluster = Cluster().add(*(raw_pod(f"fs-{n}", f"10.0.1.{n + 1}") for n in range(count)))
    cluster.settle()
    states(cluster, dict.fromkeys(range(count), "ready"))
    return cluster


def states(cluster, wanted):
    """Let a balancer report these states, by the number of the node; the Events about nodes that follow."""
    cluster.observe({f"fs-{n}": report(f"fs-{n}", state) for n, state in wanted.items()})
    return [event for event in cluster.settle().events if event.reason.startswith("Node")]


@pytest.mark.parametrize(
    ("state", "type_", "reason"),
    [("down", "Warning", "NodeDown"), ("stale", "Warning", "NodeStale"), ("full", "Normal", "NodeFull")],
)
def test_there_and_back(state, type_, reason):
    cluster = cluster_of(2)
    (event,) = states(cluster, {0: state, 1: "ready"})
    assert (event.type, event.reason) == (type_, reason)
    assert "fs-0 (" in event.message
    assert "fs-1" not in event.message
    assert states(cluster, {0: state, 1: "ready"}) == [], "only the transition"
    (event,) = states(cluster, {0: "ready", 1: "ready"})
    assert (event.type, event.reason) == ("Normal", "NodeReady")


def test_a_new_node_is_no_transition():
    cluster = cluster_of(1)
    cluster.add(raw_pod("fs-1", "10.0.1.2"))
    assert [event.reason for event in cluster.settle().events if event.reason.startswith("Node")] == []
    assert cluster.status["nodeSummaries"][0] == {"name": "fs-1", "state": "unknown", "reason": "NoReportYet"}
    assert [event.reason for event in states(cluster, {0: "ready", 1: "down"})] == ["NodeDown"]


def test_many_nodes_are_one_event():
    cluster = cluster_of(9)
    events = states(cluster, {**dict.fromkeys(range(7), "down"), 7: "stale", 8: "ready"})
    assert [event.reason for event in events] == ["NodeDown", "NodeStale"]
    assert events[0].message.endswith("and 2 more")


def test_a_node_that_the_status_had_no_room_for_was_ready():
    cluster = cluster_of(60)
    assert cluster.status["truncated"]
    listed = {summary["name"] for summary in cluster.status["nodeSummaries"]}
    (unlisted, *_) = (n for n in range(60) if f"fs-{n}" not in listed)
    (event,) = states(cluster, {n: "down" if n == unlisted else "ready" for n in range(60)})
    assert (event.reason, f"fs-{unlisted} (" in event.message) == ("NodeDown", True)


def test_while_no_balancer_answers_no_node_changes():
    cluster = cluster_of(2)
    states(cluster, {0: "down", 1: "ready"})
    cluster.observe({}, instances={})
    assert [event for event in cluster.settle().events if event.reason.startswith("Node")] == []
