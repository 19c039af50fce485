"""Balancer internals: the packet workers, what they drop, the configuration they go by, the process."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from tools.monitoring.dashboards import process
from tools.monitoring.dashboards.expressions import REPLICAS, quantile, rate
from tools.monitoring.dashboards.panels import Column, Query, Step, empty, lines, listing, number, variable

_REFUSALS = {
    "target": "404, 405, 416",
    "extension": "420",
    "no_dialog": "481",
    "loop": "482",
    "hops": "483",
    "overload": "own limits",
    "over_limit": "group full",
    "budget": "request budget",
    "foreign_path": "foreign path",
    "source": "source not allowed",
    "outward": "outward not allowed",
    "flow_failed": "430",
}
"""What each ``sip_rejected_…`` counts, in a word."""


def _each(metric: str) -> str:
    return f"switchtender_{metric}{{{REPLICAS}}}"


def _rate(metric: str, *labels: str) -> str:
    return rate(f"switchtender_{metric}_total", REPLICAS, "instance", *labels)


def dashboard() -> Dashboard:
    """The dashboard."""
    cpu, memory = process.panels(_each("build_info"))
    return (
        empty(
            "switchtender-balancers",
            "Switchtender / Balancers",
            "Each balancer process: packet workers, transactions, drops, configuration, resources.",
            variable("instance", "Balancer", "label_values(switchtender_build_info, instance)"),
        )
        .with_row(Row("Now"))
        .with_panel(number("Balancers", "Processes that were scraped.", f"count({_each('build_info')})"))
        .with_panel(
            number(
                "Packet workers",
                "Workers that run.",
                f"sum({_each('worker_running')})",
            )
        )
        .with_panel(
            number(
                "Overloaded workers",
                "They refuse new calls because of the balancer's own limits.",
                f"sum({_each('worker_overloaded')})",
                Step(1, "red"),
            )
        )
        .with_panel(number("Dialogs", "Calls that the balancers know to be up.", f"sum({_each('dialogs')})"))
        .with_panel(
            number(
                "Refused configurations",
                "Balancers whose last attempt to take up the configuration failed; they go on with the one before.",
                f"count({_each('config_last_reload_successful')} == 0) or vector(0)",
                Step(1, "red"),
            )
        )
        .with_panel(
            number(
                "Caught panics",
                "In packet workers, since they started: faults of the balancer.",
                f"sum({_each('worker_panics_total')})",
                Step(1, "red"),
            )
        )
        .with_row(Row("Work"))
        .with_panel(
            lines(
                "Transactions",
                "Open: without a final answer. Held: those that absorb retransmissions, too.",
                Query(_each("transactions_open"), "open {{instance}}"),
                Query(_each("transactions"), "held {{instance}}"),
            )
        )
        .with_panel(lines("Dialogs", "Calls that are known to be up.", Query(_each("dialogs"), "{{instance}}")))
        .with_panel(
            lines(
                "Loop lag",
                "How late a packet worker came to what was due. New calls are refused past a limit.",
                Query(_each("worker_loop_lag_seconds"), "{{instance}} worker {{worker}}"),
                unit="s",
            )
        )
        .with_panel(
            lines(
                "Choice of a node",
                "Time that one choice takes.",
                *(
                    Query(quantile(of, "selection_seconds", REPLICAS, "instance"), f"p{100 * of:g} {{{{instance}}}}")
                    for of in (0.5, 0.99)
                ),
                unit="s",
            )
        )
        .with_row(Row("Messages"))
        .with_panel(
            lines(
                "Datagrams",
                "From and to the network.",
                Query(_rate("datagrams_received"), "received {{instance}}"),
                Query(_rate("datagrams_sent"), "sent {{instance}}"),
                unit="pps",
            )
        )
        .with_panel(
            lines(
                "Dropped datagrams",
                "Within the balancer's host, by cause.",
                Query(_rate("datagrams_dropped", "cause"), "{{cause}} {{instance}}"),
                unit="pps",
            )
        )
        .with_panel(
            lines(
                "SIP messages",
                "Well-formed ones received, and what was sent, retransmissions included.",
                Query(_rate("sip_requests_received"), "requests in {{instance}}"),
                Query(_rate("sip_responses_received"), "responses in {{instance}}"),
                Query(_rate("sip_requests_sent"), "requests out {{instance}}"),
                Query(_rate("sip_responses_sent"), "responses out {{instance}}"),
                unit="pps",
            )
        )
        .with_panel(
            lines(
                "Retransmissions",
                "Requests that came again, and messages that we sent again because nothing came back.",
                Query(_rate("sip_retransmissions"), "received {{instance}}"),
                Query(_rate("sip_retransmitted"), "sent {{instance}}"),
                unit="pps",
            )
        )
        .with_panel(
            lines(
                "Refused by the balancer itself",
                "Requests that got their final answer here.",
                *(
                    Query(rate(f"switchtender_sip_rejected_{name}_total", REPLICAS), words)
                    for name, words in _REFUSALS.items()
                ),
                unit="reqps",
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Malformed and stray messages",
                "What was no SIP, belonged to nothing, or carried a token that is not ours.",
                Query(_rate("sip_malformed_dropped"), "malformed, dropped {{instance}}"),
                Query(_rate("sip_malformed_answered"), "malformed, answered {{instance}}"),
                Query(_rate("sip_stray_responses"), "stray responses {{instance}}"),
                Query(_rate("sip_tokens_refused"), "refused tokens {{instance}}"),
                unit="pps",
            )
        )
        .with_panel(
            lines(
                "TCP connections",
                "Open ones, and those that were refused, closed or did not come about.",
                Query(_each("tcp_connections"), "open {{instance}}"),
                Query(_rate("tcp_connections_refused", "cause"), "refused a second: {{cause}} {{instance}}"),
                Query(_rate("tcp_connections_closed", "cause"), "closed a second: {{cause}} {{instance}}"),
                Query(_rate("tcp_connects_failed", "cause"), "failed a second: {{cause}} {{instance}}"),
            )
        )
        .with_panel(
            lines(
                "Lost for the views",
                "Events that overflowed their ring; copies for Homer that were dropped. No call depends on either.",
                Query(_rate("events_lost"), "events {{instance}}"),
                Query(_rate("hep_dropped", "cause"), "HEP: {{cause}} {{instance}}"),
                unit="cps",
            )
        )
        .with_row(Row("Configuration"))
        .with_panel(
            listing(
                "Configuration",
                "What each balancer goes by.",
                ("instance", "version"),
                Column("Processes", f"sum by (instance, version) ({_each('build_info')})"),
                Column("Generation", f"sum by (instance) ({_each('config_generation')})"),
                Column("In force", f"sum by (instance) ({_each('snapshot_generation')})"),
                Column("Last attempt good", f"sum by (instance) ({_each('config_last_reload_successful')})"),
                Column(
                    "Taken up",
                    f"1000 * sum by (instance) ({_each('config_last_reload_success_timestamp_seconds')})",
                    "dateTimeAsIso",
                ),
                span=14,
            )
        )
        .with_panel(
            lines(
                "Certificates",
                "Time until a certificate expires.",
                Query(f"{_each('certificate_expiry_timestamp_seconds')} - time()", "{{certificate}} {{instance}}"),
                unit="s",
                span=10,
            )
        )
        .with_panel(
            lines(
                "Attempts to take up the configuration",
                "By result. A failure leaves the one before in force.",
                Query(_rate("config_reloads", "result"), "{{result}} {{instance}}"),
                unit="cps",
            )
        )
        .with_panel(
            lines(
                "In Kubernetes: age of what is known",
                "Seconds since the DestinationSets in force were last known to be the newest, and silence of watches.",
                Query(_each("snapshot_age_seconds"), "snapshot {{instance}}"),
                Query(f"max by (instance) ({_each('watch_idle_seconds')})", "watch silent {{instance}}"),
                unit="s",
            )
        )
        .with_row(Row("Process"))
        .with_panel(cpu)
        .with_panel(memory)
        .with_panel(
            lines(
                "Descriptors",
                "Open, and how many may be.",
                Query(process.of(f"process_open_fds{{{REPLICAS}}}", _each("build_info")), "open {{instance}}"),
                Query(process.of(f"process_max_fds{{{REPLICAS}}}", _each("build_info")), "limit {{instance}}"),
            )
        )
        .with_panel(
            lines(
                "Watchers",
                "Live pages and commands that follow, and calls being traced.",
                Query(_each("live_clients"), "streams {{instance}}"),
                Query(_each("traces_active"), "traces {{instance}}"),
            )
        )
    )
