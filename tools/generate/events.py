"""The reference page of the Kubernetes Events, from the operator's own tables and limits."""

from __future__ import annotations

from itertools import groupby

from switchtender_api.status import CONDITIONS
from switchtender_operator.config.timing import DEFAULT
from switchtender_operator.domain.events import reasons
from switchtender_operator.publish.events import CONTROLLER, EventGate

_GATE = EventGate()

_HEAD = f"""\
# Kubernetes Events

Generated (`make generate`); do not edit.

The operator's leader writes `events.k8s.io/v1` Events about a `BalancerGroup`, in the group's namespace, on transitions
alone (`reportingController`: `{CONTROLLER}`). See them with `kubectl -n voice events --for balancergroup/ivr`
(which does not know `bg`), or at the end of `kubectl -n voice describe bg ivr`. The operator logs each once, with
`group` and `reason`.

An Event is for people and may be missing: the status of the group and the metrics tell the same to machines.

## How many

* What changed is told with the write of the status that shows it, and while the spec stays, a group's status is written
  once in {DEFAULT.status_interval:g} s at most: a node that went and came back in between is not told of. `Draining`
  and `DrainCancelled` alone come with the write of the `DestinationSet`, but for nodes that drain of their own will.
* The same reason with the same message about the same group is sent once in {_GATE.repeat / 60:g} minutes.
* A group has {_GATE.burst} Events at once, and one more each {_GATE.refill:g} s; what is above that is left out.
* `switchtender_operator_writes_total{{kind="event", result="suppressed"}}` counts what was left out by either rule.
* An Event that the API server does not take is not sent again.
"""

_TITLES = {"nodes": "Nodes of the group", "autoscale": "Scaling", "remarks": "Remarks"}
_ABOUT = {
    "nodes": "One Event for all nodes that came into the same state; the message names at most five of them. A node "
    "that is new is no transition.",
    "autoscale": "What the operator did by `spec.autoscale`, each time it set the number of replicas: sent at once,"
    " without a write of the status.",
    "remarks": "What the message of the condition `Ready` remarks on single pods and nodes, once it stands there.",
}


def page() -> str:
    """The whole page as Markdown."""
    lines = [_HEAD]
    for about, rows in groupby(reasons(), lambda row: row.about):
        lines += [f"## {_TITLES.get(about, f'Condition {about}')}", "", _ABOUT.get(about) or CONDITIONS[about], ""]
        lines += ["| reason | type | meaning |", "|---|---|---|"]
        lines += [*(f"| `{row.reason}` | {row.type} | {row.meaning} |" for row in rows), ""]
    return "\n".join(lines)
