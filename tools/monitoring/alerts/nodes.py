"""What is wrong with a node, or between a node and balancers."""

from __future__ import annotations

from tools.monitoring.model import Alert, Group

_NODE = "{{ $labels.namespace }}/{{ $labels.group }} {{ $labels.node }}"
_SESSIONS = "namespace_group_node:switchtender_node_sessions:max"


def _esl_errors(reason: str) -> str:
    return f'sum by (namespace, group, node) (increase(switchtender_esl_errors_total{{reason="{reason}"}}[2m])) > 0'


NODES = Group(
    "switchtender.nodes",
    (
        Alert(
            name="SwitchtenderNodeDown",
            severity="warning",
            hold="5m",
            expr="max by (namespace, group, node, state) (\n"
            '  namespace_group_node:switchtender_node_state:max{state=~"down|unknown"}\n'
            ") == 1\n"
            "unless on (namespace, group, node)\n"
            "switchtender_node_disabled == 1",
            summary=f"{_NODE} is {{{{ $labels.state }}}}",
            description="No balancer hears the node. It gets no calls; those that it carries go on.",
        ),
        Alert(
            name="SwitchtenderNodeStale",
            severity="warning",
            hold="2m",
            expr='namespace_group_node:switchtender_node_state:max{state="stale"} == 1',
            summary=f"{_NODE} has not reported for too long",
            description="The node reported before and no balancer has a fresh report of it. What it carries is not "
            "known; whether it gets calls is a matter of health.whenStale.",
        ),
        Alert(
            name="SwitchtenderNodePartlyUnreachable",
            severity="warning",
            hold="5m",
            expr="count by (namespace, group, node) (\n"
            '  switchtender_node_state{state=~"down|stale|unknown"} == 1\n'
            ")\n"
            "and on (namespace, group, node)\n"
            'namespace_group_node:switchtender_node_state:max{state=~"ready|full"} == 1',
            summary=f"{_NODE} is heard by some balancers only",
            description="{{ $value }} balancer(s) do not hear the node and send it no calls, while others do.",
        ),
        Alert(
            name="SwitchtenderEslAuthenticationRefused",
            severity="warning",
            hold="3m",
            expr=_esl_errors("auth_failed"),
            summary=f"{_NODE} refuses the Event Socket login",
            description="The node does not take the balancer's password or user, so its load is not known and it gets "
            "no calls.",
        ),
        Alert(
            name="SwitchtenderEslAccessDenied",
            severity="warning",
            hold="3m",
            expr=_esl_errors("acl_rejected"),
            summary=f"{_NODE} refuses the balancer's address",
            description="The node's apply-inbound-acl does not have the balancer's address, so its load is not known "
            "and it gets no calls.",
        ),
        Alert(
            name="SwitchtenderSessionsLeaked",
            severity="warning",
            hold="10m",
            expr=f"{_SESSIONS} > 0\n"
            f"and {_SESSIONS} offset 2h > 0\n"
            f"and changes({_SESSIONS}[2h]) == 0\n"
            "and on (namespace, group, node)\n"
            "sum by (namespace, group, node) (increase(switchtender_node_calls_assigned_total[2h])) == 0",
            summary=f"{_NODE} reports {{{{ $value }}}} sessions that do not end",
            description="The number of sessions has not moved for two hours in which the node got no call: they are "
            "likely channels that FreeSWITCH never freed, and they take room from calls.",
        ),
        Alert(
            name="SwitchtenderDrainPastDeadline",
            severity="warning",
            hold="1m",
            expr="time() - max by (namespace, group, node) (switchtender_node_drain_deadline_timestamp_seconds)"
            " > $threshold\n"
            f"and on (namespace, group, node) {_SESSIONS} > 0",
            threshold=60,
            summary=f"{_NODE} still carries calls past the deadline of its drain",
            description="The node should have been empty {{ $value | humanizeDuration }} ago and reports sessions.",
        ),
    ),
)
