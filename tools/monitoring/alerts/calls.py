"""What callers notice: groups that cannot take calls, or soon cannot."""

from __future__ import annotations

from tools.monitoring.model import Alert, Group

CALLS = Group(
    "switchtender.calls",
    (
        Alert(
            name="SwitchtenderNoEligibleNode",
            severity="critical",
            hold="1m",
            expr="count by (namespace, group) (switchtender_group_eligible_nodes == 0)",
            summary="{{ $labels.namespace }}/{{ $labels.group }}: no node can take a call",
            description="For {{ $value }} balancer(s) no node of the group would take a call now: all are full, "
            "draining, stale or down. Their callers are refused, or spill where the group says so.",
        ),
        Alert(
            name="SwitchtenderAllNodesFull",
            severity="critical",
            hold="2m",
            expr='sum by (namespace, group) (rate(switchtender_calls_rejected_total{cause="full"}[2m])) > $threshold',
            threshold=0,
            summary="{{ $labels.namespace }}/{{ $labels.group }}: calls are refused, every node is full",
            description="{{ $value | humanize }} calls a second get 503 because no node has room for one more.",
        ),
        Alert(
            name="SwitchtenderCallsRefused",
            severity="warning",
            hold="2m",
            expr="sum by (namespace, group, cause) (\n"
            '  rate(switchtender_calls_rejected_total{cause=~"none_ready|refused"}[2m])\n'
            ") > $threshold",
            threshold=0,
            summary="{{ $labels.namespace }}/{{ $labels.group }}: calls are refused ({{ $labels.cause }})",
            description="{{ $value | humanize }} calls a second are refused: none_ready says that no node takes calls, "
            "refused that every node tried said no by itself.",
        ),
        Alert(
            name="SwitchtenderGroupNearCapacity",
            severity="warning",
            hold="5m",
            expr="namespace_group:switchtender_utilization:ratio > $threshold",
            threshold=0.85,
            summary="{{ $labels.namespace }}/{{ $labels.group }}: {{ $value | humanizePercentage }} of the capacity "
            "is in use",
            description="Effective sessions of the nodes that take calls are {{ $value | humanizePercentage }} of what "
            "these may carry. At 100% callers are refused.",
        ),
        Alert(
            name="SwitchtenderFailoverRate",
            severity="warning",
            hold="5m",
            expr="(\n"
            "  sum by (namespace, group) (rate(switchtender_failovers_total[5m]))\n"
            "  / sum by (namespace, group) (rate(switchtender_calls_offered_total[5m]))\n"
            ") > $threshold\n"
            "and sum by (namespace, group) (increase(switchtender_failovers_total[5m])) > 5",
            threshold=0.05,
            summary="{{ $labels.namespace }}/{{ $labels.group }}: calls go on to a second node",
            description="{{ $value | humanizePercentage }} of the new calls had to be tried on another node, as the "
            "first one refused, did not answer or could not be reached.",
        ),
    ),
)
