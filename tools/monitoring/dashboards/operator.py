"""Operator: whether it leads and keeps up, what it asks of the API server, how far its groups have come."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from switchtender_api.constants import CONDITION_AUTOSCALE_ACTIVE, CONDITION_NODE_SIDE_UNREACHABLE
from switchtender_api.status import CONDITIONS
from tools.monitoring.dashboards import process
from tools.monitoring.dashboards.expressions import REPLICAS, rate
from tools.monitoring.dashboards.panels import Column, Query, Step, empty, heat, lines, listing, number, variable

_CONDITION = {1: ("True", "green"), 0: ("False", "red"), -1: ("Unknown", "gray")}
_ACCEPTED = 'group_condition{type="Accepted"}'
_NOT_OF_ALL = {CONDITION_NODE_SIDE_UNREACHABLE, CONDITION_AUTOSCALE_ACTIVE}
"""Conditions that only some groups have."""
_EACH_NUMBER = 3
"""Eight numbers side by side."""


def _each(metric: str) -> str:
    return f"switchtender_operator_{metric}{{{REPLICAS}}}"


def _rate(metric: str, *labels: str) -> str:
    return rate(f"switchtender_operator_{metric}_total", REPLICAS, *labels)


def _quantile(of: float, histogram: str, *by: str) -> str:
    labels = ", ".join(("le", *by))
    return (
        f"histogram_quantile({of:g}, sum by ({labels}) "
        f"(rate(switchtender_operator_{histogram}_bucket{{{REPLICAS}}}[$__rate_interval])))"
    )


def _of_groups(metric: str) -> str:
    return f"max by (namespace, group) (switchtender_operator_{metric})"


def _condition(name: str, title: str = "") -> Column:
    return Column(title or name, _of_groups(f'group_condition{{type="{name}"}}'), states=_CONDITION)


def dashboard() -> Dashboard:
    """The dashboard."""
    cpu, memory = process.panels(_each("is_leader"))
    return (
        empty(
            "switchtender-operator",
            "Switchtender / Operator",
            "The operator's leadership, queue, watches and writes, and what balancers acknowledge.",
            variable("instance", "Operator", "label_values(switchtender_operator_is_leader, instance)"),
        )
        .with_row(Row("Now"))
        .with_panel(
            number("Leaders", "One, but for moments of a takeover.", f"sum({_each('is_leader')})", span=_EACH_NUMBER)
        )
        .with_panel(
            number(
                "Caches filled",
                "Processes whose caches are filled.",
                f"sum({_each('caches_synced')})",
                span=_EACH_NUMBER,
            )
        )
        .with_panel(
            number(
                "Groups waiting",
                "Changed groups in the queue.",
                f"max({_each('queue_depth')})",
                Step(50, "yellow"),
                span=_EACH_NUMBER,
            )
        )
        .with_panel(
            number(
                "Oldest wait",
                "How long the longest waiting group has waited.",
                f"max({_each('queue_oldest_seconds')})",
                Step(10, "yellow"),
                Step(60, "red"),
                unit="s",
                decimals=1,
                span=_EACH_NUMBER,
            )
        )
        .with_panel(
            number(
                "Groups behind",
                "Groups whose newest DestinationSet not every balancer acts on.",
                "count(max by (namespace, group) (switchtender_operator_published_generation)\n"
                "> max by (namespace, group) (switchtender_operator_acked_generation)) or vector(0)",
                Step(1, "yellow"),
                span=_EACH_NUMBER,
            )
        )
        .with_panel(
            number(
                "Edits refused",
                "Groups whose spec as it stands is not accepted.",
                f"count({_of_groups(_ACCEPTED)} == 0) or vector(0)",
                Step(1, "yellow"),
                span=_EACH_NUMBER,
            )
        )
        .with_panel(
            number(
                "Edits not in force",
                "Groups of which balancers are given an older generation, or nothing.",
                f"count(({_of_groups('group_generation')}\n"
                f"> {_of_groups('group_generation_in_force')})\n"
                f"or ({_of_groups('group_generation')}\n"
                f"unless {_of_groups('group_generation_in_force')})) or vector(0)",
                Step(1, "yellow"),
                span=_EACH_NUMBER,
            )
        )
        .with_panel(
            number(
                "Drift",
                "Objects that a full list found different from the cache. Stays 0.",
                f"sum({_each('cache_drift_total')}) or vector(0)",
                Step(1, "red"),
                span=_EACH_NUMBER,
            )
        )
        .with_row(Row("Reconciling"))
        .with_panel(
            lines(
                "Reconciles",
                "Groups planned and published, by result.",
                Query(_rate("reconciles", "result"), "{{result}}"),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "Time to reconcile",
                "To plan a group and publish what differs; and to plan alone.",
                Query(_quantile(0.5, "reconcile_seconds"), "p50"),
                Query(_quantile(0.99, "reconcile_seconds"), "p99"),
                Query(_quantile(0.99, "plan_seconds"), "plan p99"),
                unit="s",
            )
        )
        .with_panel(
            lines(
                "Queue",
                "Groups that wait for their turn, and for how long the longest has.",
                Query(_each("queue_depth"), "waiting {{instance}}"),
                Query(_each("queue_oldest_seconds"), "seconds {{instance}}"),
            )
        )
        .with_panel(
            lines(
                "Changes",
                "Of watched objects; coalesced ones are handled together with an earlier one.",
                Query(_rate("events", "resource"), "{{resource}}"),
                Query(_rate("events_coalesced"), "coalesced"),
                unit="cps",
            )
        )
        .with_row(Row("API server"))
        .with_panel(
            lines(
                "Requests",
                "By verb and status code; none: no answer.",
                Query(_rate("api_requests", "verb", "code"), "{{verb}} {{code}}"),
                unit="reqps",
            )
        )
        .with_panel(
            lines(
                "Time to the answer",
                "By verb, the slowest hundredth; for a watch, to its start.",
                Query(_quantile(0.99, "api_request_seconds", "verb"), "{{verb}}"),
                unit="s",
            )
        )
        .with_panel(
            heat(
                "Time to the answer, distribution",
                "Of all requests.",
                "sum by (le) "
                f"(increase(switchtender_operator_api_request_seconds_bucket{{{REPLICAS}}}[$__rate_interval]))",
            )
        )
        .with_panel(
            lines(
                "Writes",
                "By kind of object and result; suppressed: nothing differed.",
                Query(_rate("writes", "kind", "result"), "{{kind}} {{result}}"),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "Silence of watches",
                "Seconds since the API server last said anything, by resource.",
                Query(_each("watch_last_activity_seconds"), "{{resource}} {{instance}}"),
                unit="s",
            )
        )
        .with_panel(
            lines(
                "Watches begun again",
                "By resource and reason.",
                Query(_rate("watch_restarts", "resource", "reason"), "{{resource}} {{reason}}"),
                unit="cps",
            )
        )
        .with_panel(
            lines("Cached objects", "By resource.", Query(_each("cached_objects"), "{{resource}} {{instance}}"))
        )
        .with_panel(
            lines(
                "Definitions",
                "Revision of the custom resources that this operator brings, and what the API server serves.",
                Query(_each("crd_revision"), "brought {{instance}}"),
                Query(_each("crd_served_revision"), "served {{crd}}"),
            )
        )
        .with_row(Row("Groups and balancers"))
        .with_panel(
            listing(
                "Groups",
                "Generations of a group: its newest edit, and what is in force. Versions of its head: as "
                "published, and the least that a balancer acts on.",
                ("namespace", "group"),
                Column("Edit", _of_groups("group_generation")),
                Column("In force", _of_groups("group_generation_in_force")),
                Column("Published", "max by (namespace, group) (switchtender_operator_published_generation)"),
                Column("Acted on", "min by (namespace, group) (switchtender_operator_acked_generation)"),
                Column(
                    "Members",
                    "sum by (namespace, group) (max by (namespace, group, state) (switchtender_operator_members))",
                ),
                span=12,
                height=8,
            )
        )
        .with_panel(
            listing(
                "Conditions",
                "Of groups, as their status has them.",
                ("namespace", "group"),
                *(_condition(name) for name in CONDITIONS if name not in _NOT_OF_ALL),
                span=12,
                height=8,
            )
        )
        .with_panel(
            lines(
                "Members by state",
                "Nodes in DestinationSets.",
                Query("sum by (state) (max by (namespace, group, state) (switchtender_operator_members))", "{{state}}"),
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Balancers",
                "Found, and reached.",
                Query(
                    "max by (balancer, state) (switchtender_operator_balancers)",
                    "{{balancer}} {{state}}",
                ),
            )
        )
        .with_panel(
            lines(
                "Questions to balancers",
                "By result.",
                Query(_rate("balancer_polls", "result"), "{{result}}"),
                unit="cps",
            )
        )
        .with_row(Row("Drains and scaling"))
        .with_panel(
            listing(
                "Scaled groups",
                "Groups with spec.autoscale: nodes that the calls need, replicas that the target is told to have, "
                "nodes that drain to leave, and the bounds. Active: the condition AutoscaleActive.",
                ("namespace", "group"),
                _condition(CONDITION_AUTOSCALE_ACTIVE, "Active"),
                Column("Desired", _of_groups("autoscale_desired")),
                Column("Replicas", _of_groups("autoscale_replicas")),
                Column("Leaving", _of_groups("autoscale_draining")),
                Column("Min", _of_groups("autoscale_min")),
                Column("Max", _of_groups("autoscale_max")),
                span=12,
                height=8,
            )
        )
        .with_panel(
            lines(
                "Draining nodes and what remains on them",
                "As the status of each group has them.",
                Query(_of_groups("group_draining_nodes"), "nodes {{namespace}}/{{group}}"),
                Query(_of_groups("group_draining_sessions"), "sessions {{namespace}}/{{group}}"),
            )
        )
        .with_panel(
            lines(
                "Changes of replicas",
                "Of targets of spec.autoscale, by direction and result.",
                Query(_rate("scales", "direction", "result"), "{{direction}} {{result}}"),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "Marks on pods",
                "Writes of deletion costs, safe-to-evict and drains, by result.",
                Query(_rate("marks", "result"), "{{result}}"),
                unit="cps",
            )
        )
        .with_row(Row("Process"))
        .with_panel(cpu)
        .with_panel(memory)
    )
