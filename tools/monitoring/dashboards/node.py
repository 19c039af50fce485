"""Node detail: what a node reports, what it is sent, and what is wrong with it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from tools.monitoring.dashboards.expressions import NODES, STATES, rate, state_number
from tools.monitoring.dashboards.panels import Column, Query, empty, lines, listing, timeline, variable

_NODE = "{{group}}/{{node}}"
_BY = ("namespace", "group", "node")


def _most(metric: str) -> str:
    """The largest that a replica says: of a node's load they say the same, or nothing."""
    return f"max by (namespace, group, node) (switchtender_{metric}{{{NODES}}})"


def _total(metric: str) -> str:
    """What all replicas say together."""
    return f"sum by (namespace, group, node) (switchtender_{metric}{{{NODES}}})"


_LEFT = f"{_most('node_drain_deadline_timestamp_seconds')} - time()"
_EARLIEST = f"min by (namespace, group, node) (switchtender_node_drain_since_timestamp_seconds{{{NODES}}})"
"""When a drain began, for whoever saw it first."""


def dashboard() -> Dashboard:
    """The dashboard."""
    return (
        empty(
            "switchtender-nodes",
            "Switchtender / Nodes",
            "One node, or several beside each other: state, load, calls, Event Socket, OPTIONS.",
            variable("namespace", "Namespace", "label_values(switchtender_node_state, namespace)"),
            variable("group", "Group", 'label_values(switchtender_node_state{namespace=~"$namespace"}, group)'),
            variable(
                "node",
                "Node",
                'label_values(switchtender_node_state{namespace=~"$namespace", group=~"$group"}, node)',
            ),
        )
        .with_row(Row("State"))
        .with_panel(
            timeline(
                "State",
                "The state that the balancers together see the node in.",
                Query(state_number(NODES), _NODE),
                STATES,
            )
        )
        .with_panel(
            lines(
                "Balancers that see the node in another state",
                "How many balancers differ from the state above. For long: a network that only some of them have lost.",
                Query(
                    "sum by (namespace, group, node) (\n"
                    f"  switchtender_node_state{{{NODES}}} * on (namespace, group, node, state) group_left ()\n"
                    f"  (namespace_group_node:switchtender_node_state:max{{{NODES}}} == bool 0)\n)",
                    _NODE,
                ),
            )
        )
        .with_panel(
            lines(
                "Last report",
                "Seconds since the node was last heard, for the balancer that has waited longest.",
                Query(_most("node_heartbeat_age_seconds"), _NODE),
                unit="s",
            )
        )
        .with_row(Row("Load"))
        .with_panel(
            lines(
                "Sessions",
                "As reported, as the fullest that a balancer takes it for (effective), and what it may carry.",
                Query(_most("node_capacity_sessions"), f"capacity {_NODE}"),
                Query(_most("node_effective_sessions"), f"effective {_NODE}"),
                Query(_most("node_sessions"), f"reported {_NODE}"),
                Query(_most("node_max_sessions"), f"Max-Sessions {_NODE}"),
            )
        )
        .with_panel(
            lines(
                "Utilization",
                "Effective sessions over capacity.",
                Query(_most("node_utilization"), _NODE),
                unit="percentunit",
            )
        )
        .with_panel(
            lines(
                "Session rate",
                "New sessions in a second as the node reports them, and its limit (sessions-per-second).",
                Query(_most("node_session_rate"), f"rate {_NODE}"),
                Query(_most("node_session_rate_limit"), f"limit {_NODE}"),
            )
        )
        .with_panel(
            lines(
                "Headroom and share",
                "Sessions kept free on the node; the part of its new sessions that is each balancer's.",
                Query(_most("node_headroom_sessions"), f"headroom {_NODE}"),
                Query(f"switchtender_node_share{{{NODES}}}", "share {{instance}} {{node}}"),
            )
        )
        .with_panel(
            lines(
                "Idle CPU",
                "Of the node's host, not of its pod.",
                Query(_most("node_idle_cpu_ratio"), _NODE),
                unit="percentunit",
                most=1,
            )
        )
        .with_panel(
            lines(
                "Limited resources",
                "Calls that use a resource, all balancers together, and how many may. Only where a group limits one.",
                Query(
                    f"sum by (namespace, group, node, resource) (switchtender_node_resource_in_use{{{NODES}}})",
                    f"in use {_NODE} {{{{resource}}}}",
                ),
                Query(
                    f"sum by (namespace, group, node, resource) (switchtender_node_resource_limit{{{NODES}}})",
                    f"limit {_NODE} {{{{resource}}}}",
                ),
            )
        )
        .with_row(Row("Calls"))
        .with_panel(
            lines(
                "Calls placed a second",
                "Calls offered to the node, all balancers.",
                Query(rate("switchtender_node_calls_assigned_total", NODES, *_BY), _NODE),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "Share of calls",
                "Which part of the group's calls went to the node.",
                Query(
                    f"{rate('switchtender_node_calls_assigned_total', NODES, *_BY)}\n"
                    "/ on (namespace, group) group_left ()\n"
                    "(sum by (namespace, group) (rate(switchtender_node_calls_assigned_total"
                    '{namespace=~"$namespace", group=~"$group"}[$__rate_interval])) > 0)',
                    _NODE,
                ),
                unit="percentunit",
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "INVITEs in flight",
                "Calls offered that have no final response yet, all balancers.",
                Query(_total("node_invites_in_flight"), _NODE),
            )
        )
        .with_panel(
            lines(
                "Requests to the node",
                "SIP requests a second, all balancers. FreeSWITCH drops everything above 1,000.",
                Query(_total("node_requests_per_second"), _NODE),
                unit="reqps",
            )
        )
        .with_row(Row("Event Socket and OPTIONS"))
        .with_panel(
            lines(
                "Event Socket errors",
                "Connections that failed or ended, by reason.",
                Query(rate("switchtender_esl_errors_total", NODES, *_BY, "reason"), f"{{{{reason}}}} {_NODE}"),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "Event Socket logins",
                "Logins that came about and that ended; and how many balancers are logged in.",
                Query(rate("switchtender_esl_connects_total", NODES, *_BY), f"login {_NODE}"),
                Query(rate("switchtender_esl_disconnects_total", NODES, *_BY), f"end {_NODE}"),
                Query(_total("esl_connected"), f"logged in {_NODE}"),
            )
        )
        .with_panel(
            lines(
                "OPTIONS",
                "Probes by what became of them.",
                Query(rate("switchtender_node_probe_results_total", NODES, *_BY, "result"), f"{{{{result}}}} {_NODE}"),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "OPTIONS round trip",
                "Time to the last answer, for the balancer that waited longest.",
                Query(_most("node_probe_round_trip_seconds"), _NODE),
                unit="s",
            )
        )
        .with_row(Row("Drains"))
        .with_panel(
            lines(
                "Remaining sessions",
                "Of nodes that drain, as they report them; at 0 a node may go.",
                Query(_most("node_drain_sessions"), _NODE),
            )
        )
        .with_panel(
            lines(
                "Time to the deadline",
                "Of nodes that drain with a deadline; below zero: past it, and drain.onTimeout says what then.",
                Query(_LEFT, _NODE),
                unit="s",
            )
        )
        .with_panel(
            listing(
                "Drains",
                "Nodes that drain: for how long, how long they may, and what remains.",
                _BY,
                Column("For", f"time() - {_EARLIEST}", "s"),
                Column("Left", _LEFT, "s"),
                Column("Sessions", _most("node_drain_sessions")),
            )
        )
        .with_row(Row("Orders"))
        .with_panel(
            listing(
                "Weight, score, ejection",
                "What the choice of a node goes by besides its load.",
                _BY,
                Column("State", state_number(NODES), states=STATES),
                Column("Weight", _most("node_weight")),
                Column("Score", _most("node_score")),
                Column("Ejected for", _most("node_ejected_seconds"), "s"),
                Column(
                    "Answers OPTIONS", f"min by (namespace, group, node) (switchtender_node_probe_answered{{{NODES}}})"
                ),
            )
        )
    )
