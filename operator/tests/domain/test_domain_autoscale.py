"""Deciding the number of nodes, case by case."""

from scale_worlds import fresh_leader, node, ours, settled, starting, theirs, world


def test_more_sessions_than_the_nodes_take_add_nodes_at_once() -> None:
    decision = fresh_leader(world([node("a", 95), node("b", 90), node("c", 80)], spec={"buffer": {"percent": 20}}))
    assert (decision.desired, decision.replicas) == (4, 4)


def test_nodes_drain_only_after_a_whole_window_the_emptiest_first() -> None:
    seen = world([node("a", 30), node("b", 10), node("c", 20)], spec={"scaleIn": {"maxStep": 1}})
    assert fresh_leader(seen).drain == ()
    assert settled(seen).drain == ("uid-b",)


def test_an_empty_drained_node_is_marked_and_then_removed() -> None:
    nodes = [node("a", 30), ours("b")]
    assert fresh_leader(world(nodes)).lowest == ("uid-b",)
    assert fresh_leader(world(nodes)).replicas is None
    assert fresh_leader(world([nodes[0], ours("b", cost=-1000)])).replicas == 1
    assert starting("x").ready is False and theirs("y").drained_by_us is False
