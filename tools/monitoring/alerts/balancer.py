"""What is wrong with a balancer itself."""

from __future__ import annotations

from tools.monitoring.model import Alert, Group

_WHO = "{{ $labels.instance }}"

BALANCER = Group(
    "switchtender.balancer",
    (
        Alert(
            name="SwitchtenderTargetDown",
            severity="warning",
            hold="2m",
            expr="up == 0\n"
            "and on (job, instance)\n"
            "(\n"
            "  last_over_time(switchtender_build_info[6h])\n"
            "  or last_over_time(switchtender_operator_is_leader[6h])\n"
            ")",
            summary=f"{_WHO} does not answer scrapes",
            description="A balancer or operator that was there within the last six hours does not answer Prometheus. "
            "Its nodes and calls do not show in any number.",
        ),
        Alert(
            name="SwitchtenderNoBalancer",
            severity="critical",
            hold="2m",
            expr="count by (job) (last_over_time(switchtender_build_info[1h]))\n"
            "unless count by (job) (switchtender_build_info)",
            summary="{{ $labels.job }}: no balancer answers scrapes",
            description="{{ $value }} balancer(s) were there within the last hour and none is now.",
        ),
        Alert(
            name="SwitchtenderOverloaded",
            severity="critical",
            hold="1m",
            expr="rate(switchtender_sip_rejected_overload_total[2m])\n"
            "+ rate(switchtender_sip_dropped_overload_total[2m])\n"
            "> $threshold",
            threshold=0,
            summary=f"{_WHO} refuses calls to protect itself",
            description="{{ $value | humanize }} requests a second are refused or dropped because a worker comes too "
            "late to what is due, or the balancer's own limits are used up, whatever room nodes have.",
        ),
        Alert(
            name="SwitchtenderWorkerStopped",
            severity="critical",
            hold="1m",
            expr="switchtender_worker_running == 0",
            summary=f"{_WHO}: packet worker {{{{ $labels.worker }}}} does not run",
            description="What the kernel gives this worker is not read.",
        ),
        Alert(
            name="SwitchtenderWorkerPanicked",
            severity="warning",
            hold="0m",
            expr="increase(switchtender_worker_panics_total[15m]) > 0",
            summary=f"{_WHO}: a packet worker met a fault",
            description="A fault of the balancer was caught while it handled a message. At worst calls in set-up at "
            "this worker are lost; calls that stand and the worker itself go on.",
        ),
        Alert(
            name="SwitchtenderDatagramsDropped",
            severity="warning",
            hold="5m",
            expr="rate(switchtender_datagrams_dropped_total[5m]) > $threshold",
            threshold=1,
            summary=f"{_WHO}: datagrams are lost within the host ({{{{ $labels.cause }}}})",
            description="{{ $value | humanize }} datagrams a second are lost. Over UDP they are sent again by whoever "
            "waits for an answer, half a second later.",
        ),
        Alert(
            name="SwitchtenderEventsLost",
            severity="info",
            hold="5m",
            expr="increase(switchtender_events_lost_total[5m]) > 0",
            summary=f"{_WHO}: log events are lost",
            description="About {{ $value | humanize }} log events of the packet core were lost in five minutes. Calls "
            "are not touched.",
        ),
    ),
)
