"""What several dashboards ask in the same words: who is meant, states as numbers, quantiles. Knows PromQL, no panel."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS = 'namespace=~"$namespace", group=~"$group"'
"""Matchers for the groups that the variables name."""

NODES = f'{GROUPS}, node=~"$node"'
"""Matchers for the nodes."""

REPLICAS = 'instance=~"$instance"'
"""Matchers for the processes, by the label that Prometheus gives what it scrapes."""

STATES: Mapping[int, tuple[str, str]] = {
    1: ("ready", "green"),
    2: ("full", "yellow"),
    3: ("draining", "blue"),
    4: ("stale", "orange"),
    5: ("down", "red"),
    6: ("unknown", "purple"),
}
"""Node states as numbers, which is what Grafana's mappings take, each with its word and color."""


def state_number(matchers: str) -> str:
    """The state of each node as one number of `STATES`, all replicas taken together."""
    said = " or ".join(
        f'{number} * (namespace_group_node:switchtender_node_state:max{{{matchers}, state="{word}"}} == 1)'
        for number, (word, _) in STATES.items()
    )
    return f"max by (namespace, group, node) ({said})"


def quantile(of: float, histogram: str, matchers: str, *by: str) -> str:
    """A quantile of a histogram over the replicas, for each combination of the labels ``by``."""
    labels = ", ".join(("le", *by))
    return (
        f"histogram_quantile({of:g}, sum by ({labels}) "
        f"(rate(switchtender_{histogram}_bucket{{{matchers}}}[$__rate_interval])))"
    )


def rate(counter: str, matchers: str, *by: str) -> str:
    """How often a second a counter (whole name) counts, over the replicas, for each combination of labels ``by``."""
    grouped = f"sum by ({', '.join(by)})" if by else "sum"
    return f"{grouped} (rate({counter}{{{matchers}}}[$__rate_interval]))"
