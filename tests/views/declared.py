"""What expressions of rules and dashboards may speak of: declared metrics with their labels, and the values that the
code's own tables give those labels.
"""

import re
from pathlib import Path

from tools.monitoring.expressions import mentions
from tools.monitoring.model import Recording
from tools.monitoring.recording import BUFFER, RULES

from switchtender.control.watch import ESL_ERRORS, PROBE_RESULTS
from switchtender.load.states import STATES
from switchtender.metrics import families as balancer
from switchtender_api.status import CONDITIONS
from switchtender_operator.telemetry import metrics as operator

ROOT = Path(__file__).parents[2]

TARGET = {"job", "instance", "namespace", "pod", "node", "container", "endpoint"}
"""Labels that a scraped series has of its target. Rules may use the first three, which are there in any Prometheus."""
TARGET_IN_RULES = {"job", "instance", "namespace"}

RECORDED = {rule.name: set(rule.labels) for rule in RULES.rules if isinstance(rule, Recording)}

EXPORTED = {
    sample: {*family.labels, *({"le"} if sample.endswith("_bucket") else ())}
    for family in (*balancer.FAMILIES, *operator.FAMILIES)
    for sample in family.samples
}

HISTOGRAMS = {family.name for family in (*balancer.FAMILIES, *operator.FAMILIES) if family.kind == "histogram"}
"""What people call them; an expression names their samples."""

PROMETHEUS = {"up": set(), BUFFER: {"namespace", "group"}, "ALERTS": {"alertname", "alertstate", "severity"}}

_PROCESS = re.compile(r"process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds|open_fds|max_fds)")


def _outcomes():
    """The causes of the packet core's counts, by the prefix that it gives them."""
    text = (ROOT / "balancer" / "crates" / "proxy" / "src" / "counters.rs").read_text()
    table = text.partition("    Outcome {")[2].partition("\n    }")[0]
    return re.findall(r'^\s+\w+ = "(\w+)",', table, re.MULTILINE)


def _causes(prefix):
    return {name.removeprefix(prefix) for name in _outcomes() if name.startswith(prefix)}


def _assigned(path, name):
    """The texts that a function of the operator gives a name."""
    text = (ROOT / "operator" / "src" / "switchtender_operator" / path).read_text()
    return set(re.findall(rf'\b{name} = "(\w+)"', text))


VALUES = {
    ("switchtender_node_state", "state"): set(STATES),
    ("switchtender_group_nodes", "state"): set(STATES),
    ("namespace_group_node:switchtender_node_state:max", "state"): set(STATES),
    ("namespace_group:switchtender_nodes:count", "state"): set(STATES),
    ("switchtender_esl_errors_total", "reason"): set(ESL_ERRORS),
    ("switchtender_node_probe_results_total", "result"): set(PROBE_RESULTS),
    ("switchtender_calls_rejected_total", "cause"): _causes("rejected_"),
    ("namespace_group:switchtender_calls_rejected:rate1m", "cause"): _causes("rejected_"),
    ("switchtender_failovers_total", "cause"): _causes("failover_"),
    ("namespace_group:switchtender_failovers:rate1m", "cause"): _causes("failover_"),
    ("switchtender_operator_reconciles_total", "result"): _assigned("reconcile/reconciler.py", "result"),
    ("switchtender_operator_group_condition", "type"): set(CONDITIONS),
    ("switchtender_operator_balancers", "state"): {"found", "reached"},
}


def is_declared(metric):
    """Whether somebody exports or records a metric of that name."""
    return metric in EXPORTED or metric in RECORDED or metric in PROMETHEUS or bool(_PROCESS.fullmatch(metric))


def complaints(expression, target=frozenset(TARGET)):
    """What an expression speaks of that is not there; ``target``: the labels of targets that it may use."""
    found = []
    spoken = mentions(expression)
    labels = set(target)
    for selector in spoken.selectors:
        if not is_declared(selector.metric):
            found.append(f"no metric {selector.metric}")
            continue
        own = {**EXPORTED, **RECORDED, **PROMETHEUS}.get(selector.metric, set())
        known = own | (set() if selector.metric in RECORDED else set(target))
        labels |= own
        for matcher in selector.matchers:
            if matcher.label not in known:
                found.append(f"{selector.metric} has no label {matcher.label}")
            values = VALUES.get((selector.metric, matcher.label), set(matcher.values))
            found += [
                f"{selector.metric}: {matcher.label} is never {value}"
                for value in matcher.values
                if value not in values
            ]
    return found + [f"nothing has the label {label}" for label in sorted(spoken.labels - labels)]
