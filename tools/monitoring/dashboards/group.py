"""Group overview: which groups are near their capacity, what happens to their calls, which nodes are not well."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from tools.monitoring.dashboards.expressions import GROUPS, STATES, quantile, rate, state_number
from tools.monitoring.dashboards.panels import Column, Query, Step, empty, heat, lines, listing, number, variable

_LEGEND = "{{namespace}}/{{group}}"
_BY = ("namespace", "group")


def _recorded(rule: str) -> str:
    return f"namespace_group:switchtender_{rule}{{{GROUPS}}}"


def _in_state(states: str) -> str:
    return f'sum(namespace_group:switchtender_nodes:count{{{GROUPS}, state=~"{states}"}})'


def _counted(states: str) -> str:
    nodes = f'namespace_group:switchtender_nodes:count{{{GROUPS}, state=~"{states}"}}'
    return f"sum by (namespace, group) ({nodes})"


def _scaled(what: str) -> str:
    return f"max by (namespace, group) (switchtender_operator_autoscale_{what}{{{GROUPS}}})"


def dashboard() -> Dashboard:
    """The dashboard."""
    return (
        empty(
            "switchtender-groups",
            "Switchtender / Groups",
            "Load, calls and nodes of each BalancerGroup, each node counted once however many balancers see it.",
            variable("namespace", "Namespace", "label_values(switchtender_group_nodes, namespace)"),
            variable("group", "Group", 'label_values(switchtender_group_nodes{namespace=~"$namespace"}, group)'),
        )
        .with_row(Row("Now"))
        .with_panel(
            number(
                "Utilization",
                "Of the fullest group: effective sessions over the capacity of the nodes that take calls.",
                f"max({_recorded('utilization:ratio')})",
                Step(0.8, "yellow"),
                Step(0.95, "red"),
                unit="percentunit",
            )
        )
        .with_panel(
            number("Nodes that take calls", "Ready or full.", _in_state("ready|full"), span=4),
        )
        .with_panel(
            number(
                "Nodes not heard",
                "Stale, down or unknown to every balancer.",
                _in_state("stale|down|unknown"),
                Step(1, "red"),
            )
        )
        .with_panel(number("Nodes draining", "They get no new calls.", _in_state("draining"), Step(1, "blue")))
        .with_panel(
            number(
                "Calls a second",
                "New calls offered, all balancers.",
                f"sum({_recorded('calls_offered:rate1m')})",
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Rejected a second",
                "New calls that no node took.",
                f"sum({_recorded('calls_rejected:rate1m')})",
                Step(0.001, "red"),
                decimals=2,
            )
        )
        .with_row(Row("Load"))
        .with_panel(
            lines(
                "Sessions and capacity",
                "Sessions that nodes report, sessions they are taken to carry now (effective), and what they may "
                "carry. Nodes that take calls; draining ones apart.",
                Query(_recorded("capacity_sessions:sum"), f"capacity {_LEGEND}"),
                Query(_recorded("effective_sessions:sum"), f"effective {_LEGEND}"),
                Query(_recorded("sessions:sum"), f"reported {_LEGEND}"),
                Query(_recorded("draining_sessions:sum"), f"draining {_LEGEND}"),
            )
        )
        .with_panel(
            lines(
                "Utilization",
                "Effective sessions over capacity. From 1 on calls are rejected.",
                Query(_recorded("utilization:ratio"), _LEGEND),
                unit="percentunit",
            )
        )
        .with_panel(
            lines(
                "Nodes by state",
                "Every node of the chosen groups, by the state that the balancers together see it in.",
                Query(
                    f"sum by (state) (namespace_group:switchtender_nodes:count{{{GROUPS}}})",
                    "{{state}}",
                ),
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Replicas that could place a call",
                "For each group, the fewest eligible nodes that a balancer has. At 0 it rejects calls.",
                Query(f"min by (namespace, group) (switchtender_group_eligible_nodes{{{GROUPS}}})", _LEGEND),
            )
        )
        .with_row(Row("Scaling"))
        .with_panel(
            lines(
                "Nodes wanted, and there",
                "Nodes that the sessions and the buffer need; nodes that take calls; nodes that drain, which count for "
                "nothing.",
                Query(_recorded("wanted_nodes:ceil"), f"wanted {_LEGEND}"),
                Query(_counted("ready|full"), f"take calls {_LEGEND}"),
                Query(_counted("draining"), f"draining {_LEGEND}"),
            )
        )
        .with_panel(
            lines(
                "spec.autoscale",
                "What the operator makes of it: nodes that the calls need, within the bounds; replicas of the target, "
                "draining ones among them; nodes that drain to leave. Only where a group has it.",
                Query(_scaled("desired"), f"desired {_LEGEND}"),
                Query(_scaled("replicas"), f"replicas {_LEGEND}"),
                Query(_scaled("draining"), f"leaving {_LEGEND}"),
                Query(_scaled("min"), f"min {_LEGEND}"),
                Query(_scaled("max"), f"max {_LEGEND}"),
            )
        )
        .with_panel(
            lines(
                "Room and buffer",
                "Sessions that there is room for, and those to keep free for calls that come before a new node is "
                "ready. Room below the buffer: nodes are wanted.",
                Query(_recorded("free_sessions:sum"), f"room {_LEGEND}"),
                Query(_recorded("buffer_sessions:max"), f"buffer {_LEGEND}"),
            )
        )
        .with_panel(
            lines(
                "Sessions a node",
                "The median capacity of the nodes that take calls.",
                Query(_recorded("capacity_sessions:median"), _LEGEND),
            )
        )
        .with_row(Row("Calls"))
        .with_panel(
            lines(
                "Calls offered a second",
                "New calls by group, all balancers.",
                Query(_recorded("calls_offered:rate1m"), _LEGEND),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "How calls ended",
                "For the caller, by outcome.",
                Query(rate("switchtender_calls_total", GROUPS, "outcome"), "{{outcome}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Rejected calls",
                "Calls that no node took. full: no room; none_ready: no node takes calls; refused: every node tried.",
                Query(
                    f"sum by (namespace, group, cause) ({_recorded('calls_rejected:rate1m')})",
                    f"{{{{cause}}}} {_LEGEND}",
                ),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "Failovers",
                "Times that a call went on to its next node, by what the node before did.",
                Query(
                    f"sum by (namespace, group, cause) ({_recorded('failovers:rate1m')})",
                    f"{{{{cause}}}} {_LEGEND}",
                ),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "Held and spilled calls",
                "Calls that waited for a per-second limit, and calls that went to another group for lack of room.",
                Query(rate("switchtender_calls_held_total", GROUPS, *_BY), f"held {_LEGEND}"),
                Query(rate("switchtender_calls_spilled_total", GROUPS, *_BY), f"spilled {_LEGEND}"),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "Calls of nodes to the outside",
                "Not counted as calls of the group.",
                Query(rate("switchtender_calls_outward_total", GROUPS, *_BY), _LEGEND),
                unit="cps",
            )
        )
        .with_row(Row("Delays"))
        .with_panel(
            lines(
                "Post-dial delay",
                "From a new call's INVITE to the first answer above 100.",
                *(
                    Query(quantile(of, "post_dial_delay_seconds", GROUPS, *_BY), f"p{100 * of:g} {_LEGEND}")
                    for of in (0.5, 0.95, 0.99)
                ),
                unit="s",
            )
        )
        .with_panel(
            lines(
                "First response of a node",
                "From an INVITE sent to a node to its first response, 100 included.",
                *(
                    Query(quantile(of, "first_response_seconds", GROUPS, *_BY), f"p{100 * of:g} {_LEGEND}")
                    for of in (0.5, 0.95, 0.99)
                ),
                unit="s",
            )
        )
        .with_panel(
            heat(
                "Post-dial delay, distribution",
                "How many calls had which delay.",
                f"sum by (le) (increase(switchtender_post_dial_delay_seconds_bucket{{{GROUPS}}}[$__rate_interval]))",
                span=24,
            )
        )
        .with_row(Row("Nodes"))
        .with_panel(
            listing(
                "Nodes",
                "Each node once. Sort by a column's head.",
                ("namespace", "group", "node"),
                Column("State", state_number(GROUPS), states=STATES),
                Column("Reported", _node("node_sessions")),
                Column("Effective", _node("node_effective_sessions")),
                Column("Capacity", _node("node_capacity_sessions")),
                Column(
                    "Utilization",
                    f"{_node('node_effective_sessions')} / ({_node('node_capacity_sessions')} > 0)",
                    "percentunit",
                ),
                Column("Calls a second", rate("switchtender_node_calls_assigned_total", GROUPS, *_BY, "node"), "cps"),
                Column(
                    "Last report",
                    f"min by (namespace, group, node) (switchtender_node_heartbeat_age_seconds{{{GROUPS}}})",
                    "s",
                ),
            )
        )
    )


def _node(metric: str) -> str:
    return f"namespace_group_node:switchtender_{metric}:max{{{GROUPS}}}"
