"""The recording rules: what a group carries, when each of several balancers exports each of its nodes.

A balancer exports load of the nodes that it hears (never of one that it sees stale, down or unknown), and a state of
every node. So a number of a node is taken once, ``max by (namespace, group, node)``, before nodes are summed; balancers
that do not hear the node, or have just started, take nothing away from what the others know.

What an autoscaler reads is the last of a chain: a node's capacity, the sessions and the buffer of the group, the nodes
that they need. Each link is inner: where no balancer reports, none has a series, and nobody takes that for zero.
"""

from __future__ import annotations

from tools.monitoring.model import Group, Recording

_NODE = ("namespace", "group", "node")
_GROUP = ("namespace", "group")

STATES_BY_WEIGHT = ("draining", "ready", "full", "stale", "down", "unknown")
"""Which state a node is in where balancers differ: the first of these that any of them says.

Its own will first: whoever hears that it drains will be joined by the others. Then whoever hears the node knows more
than those that do not, and one that would place a call there more than one that would not. A balancer that has just
started knows nothing."""

SERVING = 'namespace_group_node:switchtender_node_state:max{state=~"ready|full"} == 1'
"""The nodes that take calls, or would if they had room."""

DRAINING = 'namespace_group_node:switchtender_node_state:max{state="draining"} == 1'

BUFFER = "switchtender_scaling_buffer_sessions"
"""Recorded by whoever runs the group, where a fifth of its sessions is not the room to keep free: by ``namespace`` and
``group``, from a rule file of their own, so that ours need no edit and every autoscaler and panel says the same."""

BUFFER_PART = 5
"""A fifth, as `spec.autoscale.buffer` where it says nothing. Divided by: whole numbers must stay whole before ceil."""


def _once(metric: str) -> str:
    return f"max by (namespace, group, node) (switchtender_{metric})"


def _state() -> str:
    said = "\n  or on (namespace, group, node)\n".join(
        f'  max by (namespace, group, node, state) (switchtender_node_state{{state="{state}"}} == 1)'
        for state in STATES_BY_WEIGHT
    )
    return f"(\n{said}\n)\nor\n0 * max by (namespace, group, node, state) (switchtender_node_state)"


def _sum(metric: str, nodes: str) -> str:
    return (
        "sum by (namespace, group) (\n"
        f"  namespace_group_node:switchtender_{metric}:max\n"
        f"  and on (namespace, group, node) ({nodes})\n"
        ")"
    )


RULES = Group(
    "switchtender.rules",
    (
        Recording(
            name="namespace_group_node:switchtender_node_sessions:max",
            labels=_NODE,
            expr=_once("node_sessions"),
            why="sessions that the node reports, each node once",
        ),
        Recording(
            name="namespace_group_node:switchtender_node_effective_sessions:max",
            labels=_NODE,
            expr=_once("node_effective_sessions"),
            why="sessions that the node is taken to carry now, by the balancer that takes it to be fullest",
        ),
        Recording(
            name="namespace_group_node:switchtender_node_capacity_sessions:max",
            labels=_NODE,
            expr=_once("node_capacity_sessions"),
            why="sessions that the node may carry",
        ),
        Recording(
            name="namespace_group_node:switchtender_node_state:max",
            labels=(*_NODE, "state"),
            expr=_state(),
            why="1 for the one state that the node is in, all balancers taken together, 0 for the others",
        ),
        Recording(
            name="namespace_group:switchtender_nodes:count",
            labels=(*_GROUP, "state"),
            expr="sum by (namespace, group, state) (namespace_group_node:switchtender_node_state:max)",
            why="nodes by state, zeros too",
        ),
        Recording(
            name="namespace_group:switchtender_sessions:sum",
            labels=_GROUP,
            expr=_sum("node_sessions", SERVING),
            why="reported sessions of the nodes that take calls",
        ),
        Recording(
            name="namespace_group:switchtender_effective_sessions:sum",
            labels=_GROUP,
            expr=_sum("node_effective_sessions", SERVING),
            why="effective sessions of the nodes that take calls",
        ),
        Recording(
            name="namespace_group:switchtender_capacity_sessions:sum",
            labels=_GROUP,
            expr=_sum("node_capacity_sessions", SERVING),
            why="capacity of the nodes that take calls",
        ),
        Recording(
            name="namespace_group:switchtender_draining_sessions:sum",
            labels=_GROUP,
            expr=_sum("node_sessions", DRAINING)
            + "\nor\n0 * sum by (namespace, group) (namespace_group_node:switchtender_node_state:max)",
            why="reported sessions of the nodes that drain: calls that still end, no capacity",
        ),
        Recording(
            name="namespace_group:switchtender_utilization:ratio",
            labels=_GROUP,
            expr="namespace_group:switchtender_effective_sessions:sum\n"
            "/ (namespace_group:switchtender_capacity_sessions:sum > 0)\n"
            "or\n"
            "(namespace_group:switchtender_capacity_sessions:sum == bool 0)",
            why="effective sessions over capacity of the nodes that take calls; 1 where they have none; may pass 1",
        ),
        Recording(
            name="namespace_group:switchtender_free_sessions:sum",
            labels=_GROUP,
            expr="sum by (namespace, group) (\n"
            "  clamp_min(\n"
            "    namespace_group_node:switchtender_node_capacity_sessions:max\n"
            "    - namespace_group_node:switchtender_node_effective_sessions:max,\n"
            "    0\n"
            "  )\n"
            f"  and on (namespace, group, node) ({SERVING})\n"
            ")",
            why="sessions that the nodes that take calls have room for; one that is too full takes nothing from others",
        ),
        Recording(
            name="namespace_group:switchtender_capacity_sessions:median",
            labels=_GROUP,
            expr="quantile by (namespace, group) (\n"
            "  0.5,\n"
            "  namespace_group_node:switchtender_node_capacity_sessions:max > 0\n"
            f"  and on (namespace, group, node) ({SERVING})\n"
            ")",
            why="sessions a node: the median capacity of the nodes that take calls",
        ),
        Recording(
            name="namespace_group:switchtender_buffer_sessions:max",
            labels=_GROUP,
            expr="(\n"
            f"  max by (namespace, group) ({BUFFER})\n"
            "  and on (namespace, group) namespace_group:switchtender_effective_sessions:sum\n"
            ")\n"
            "or\n"
            f"namespace_group:switchtender_effective_sessions:sum / {BUFFER_PART}",
            why=f"sessions to keep free for calls to come: `{BUFFER}` where you record it, or a fifth of the sessions",
        ),
        Recording(
            name="namespace_group:switchtender_wanted_nodes:ceil",
            labels=_GROUP,
            expr="ceil(\n"
            "  (\n"
            "    namespace_group:switchtender_effective_sessions:sum\n"
            "    + namespace_group:switchtender_buffer_sessions:max\n"
            "  )\n"
            "  / namespace_group:switchtender_capacity_sessions:median\n"
            "  + on (namespace, group)\n"
            '  sum by (namespace, group) (namespace_group:switchtender_nodes:count{state="stale"})\n'
            ")",
            why="nodes that the calls need: sessions and buffer over sessions a node, and one for each stale node",
        ),
        Recording(
            name="namespace_group:switchtender_calls_offered:rate1m",
            labels=_GROUP,
            expr="sum by (namespace, group) (rate(switchtender_calls_offered_total[1m]))",
            why="new calls a second, all balancers",
        ),
        Recording(
            name="namespace_group:switchtender_calls_rejected:rate1m",
            labels=(*_GROUP, "cause"),
            expr="sum by (namespace, group, cause) (rate(switchtender_calls_rejected_total[1m]))",
            why="calls a second that no node took, by cause",
        ),
        Recording(
            name="namespace_group:switchtender_failovers:rate1m",
            labels=(*_GROUP, "cause"),
            expr="sum by (namespace, group, cause) (rate(switchtender_failovers_total[1m]))",
            why="times a second that a call went on to its next node, by cause",
        ),
    ),
)
