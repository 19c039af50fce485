"""What is wrong with the operator: nobody leads, nothing is reconciled, nobody is heard."""

from __future__ import annotations

from tools.monitoring.model import Alert, Group

_WHO = "{{ $labels.job }}"

OPERATOR = Group(
    "switchtender.operator",
    (
        Alert(
            name="SwitchtenderOperatorNotLeading",
            severity="critical",
            hold="2m",
            expr="max by (namespace, job) (switchtender_operator_is_leader) == 0\n"
            "or\n"
            "(\n"
            "  0 * count by (namespace, job) (last_over_time(switchtender_operator_is_leader[1h]))\n"
            "  unless count by (namespace, job) (switchtender_operator_is_leader)\n"
            ")",
            summary=f"{_WHO}: no operator leads",
            description="Nothing is published: new, gone and drained pods and changed groups do not reach balancers. "
            "These go on with what they know.",
        ),
        Alert(
            name="SwitchtenderOperatorReconcileErrors",
            severity="warning",
            hold="5m",
            expr="sum by (namespace, job) (\n"
            '  increase(switchtender_operator_reconciles_total{result="error"}[10m])\n'
            ") > $threshold",
            threshold=5,
            summary=f"{_WHO}: groups cannot be reconciled",
            description="{{ $value | humanize }} reconciliations failed within ten minutes; they are tried again.",
        ),
        Alert(
            name="SwitchtenderOperatorQueueStuck",
            severity="warning",
            hold="2m",
            expr="switchtender_operator_queue_oldest_seconds > $threshold",
            threshold=60,
            summary=f"{_WHO}: a changed group waits for {{{{ $value | humanizeDuration }}}}",
            description="Groups change faster than the operator can publish them, or writes do not get through.",
        ),
        Alert(
            name="SwitchtenderOperatorWatchSilent",
            severity="warning",
            hold="2m",
            expr="switchtender_operator_watch_last_activity_seconds > $threshold",
            threshold=180,
            summary=f"{_WHO}: nothing is heard of {{{{ $labels.resource }}}}",
            description="The API server has said nothing on the watch for {{ $value | humanizeDuration }}, though it "
            "does each minute.",
        ),
        Alert(
            name="SwitchtenderOperatorBalancerUnreached",
            severity="warning",
            hold="3m",
            expr='max by (balancer) (switchtender_operator_balancers{state="found"})\n'
            '- max by (balancer) (switchtender_operator_balancers{state="reached"})\n'
            "> 0",
            summary="balancer {{ $labels.balancer }}: the operator does not reach {{ $value }} of its replicas",
            description="The operator finds them in the EndpointSlices and gets no answer from /api/v1/state, so the "
            "status of groups does not tell what they see.",
        ),
        Alert(
            name="SwitchtenderOperatorCacheDrift",
            severity="info",
            hold="0m",
            expr="increase(switchtender_operator_cache_drift_total[15m]) > 0",
            summary=f"{_WHO}: a watch on {{{{ $labels.resource }}}} had lost a change",
            description="A full list found objects that the watch had not told of. They are right again now.",
        ),
    ),
)
