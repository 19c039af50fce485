"""The reference page of the metrics, from the declarations of both components."""

from __future__ import annotations

from collections.abc import Iterable

from switchtender.metrics import families as balancer
from switchtender_api.metrics import Family
from switchtender_operator.telemetry import metrics as operator

_HEAD = """\
# Metrics

Generated from the declarations (`make generate`); do not edit. Balancer and operator serve their metrics at `/metrics`,
in Prometheus' text format or, where the scraper asks for it, in OpenMetrics. Times are in seconds, shares from 0 to 1.
Each process also has the usual `process_*` (CPU, memory, file descriptors, start).

## Labels

`namespace`, `group` and `node` are those of the BalancerGroup and its member, the same in every replica. They are the
balancer's own: Prometheus must be told `honor_labels: true` (a PodMonitor: `honorLabels: true`), else it renames them
to `exported_namespace` where the scraped pod has labels of that name, and no rule or dashboard finds them.
No label holds a Call-ID, an address or a user; the number of series is bounded by nodes, groups and this page.

## Several replicas

Every replica shows every node, so there are as many series of a node as replicas.

* What a node *is* (its sessions, its capacity, its state) all replicas say of the same thing: take the largest first,
  then sum over nodes. `sum(switchtender_node_sessions)` counts each session once per replica.

  ```promql
  sum by (namespace, group) (max by (namespace, group, node) (switchtender_node_sessions))
  ```

* What a replica *does* (calls, failovers, packets, requests sent to a node) is its own: sum over replicas.

  ```promql
  sum by (namespace, group, outcome) (rate(switchtender_calls_total[1m]))
  ```

* The `group_…` gauges are sums that one replica made. They serve where there is one replica; across replicas, use the
  first form or the recording rules.

While a node is stale, down or unknown for a replica, that replica leaves out the series under *Load of a node*: an old
number would win over what the others know. The node's `node_state`, heartbeat age and own counts stay, for every node
that is known.
"""


def page() -> str:
    """The whole page as Markdown."""
    lines = [_HEAD, "## Balancer", ""]
    for title, families in balancer.SECTIONS:
        lines += [f"### {title}", "", *_table(families), ""]
    lines += [
        "## Operator",
        "",
        "Served on the operator's HTTP port, beside `/healthz` (the process is alive; says nothing of the API server)",
        "and `/readyz` (the caches are filled).",
        "",
        *_table(sorted(operator.FAMILIES, key=lambda family: family.name)),
    ]
    return "\n".join([*lines, ""])


def _table(families: Iterable[Family]) -> list[str]:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.exposed}` | {family.kind} | {labels} | {family.help} |")
    return lines
