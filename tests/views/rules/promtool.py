"""Cases for ``promtool test rules``, as values: what was scraped, and what must come of it.

Series carry the labels that Kubernetes' discovery gives a target, ``namespace``, ``pod`` and ``node`` among them. Those
that a metric has itself win, as with ``honorLabels: true``; the others stay, so that no rule may stumble over them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tools.monitoring.model import RUNBOOKS
from tools.monitoring.rules import ALERTS, DEPLOY

INTERVAL = "15s"
SEVERITIES = {alert.name: alert.severity for alert in ALERTS}
BALANCERS = "switchtender/st-switchtender-balancer"
OPERATORS = "switchtender/st-switchtender-operator"
STATES = ("unknown", "ready", "full", "draining", "stale", "down")


@dataclass(frozen=True)
class Series:
    """One series as Prometheus keeps it; ``values`` in promtool's notation, a sample at each interval of the case."""

    name: str
    labels: Mapping[str, str]
    values: str

    @property
    def selector(self) -> str:
        return f"{self.name}{{{','.join(f'{label}={text!r}' for label, text in self.labels.items())}}}"


@dataclass(frozen=True)
class Recorded:
    """What a recording rule must give at a time: a value for each set of labels, and nothing else."""

    name: str
    samples: Sequence[tuple[Mapping[str, str], float]]

    @property
    def as_test(self) -> dict[str, Any]:
        return _expected(self.name, self.name, self.samples)


@dataclass(frozen=True)
class Asked:
    """What a question must give at a time; an aggregation's answer has no name."""

    expr: str
    samples: Sequence[tuple[Mapping[str, str], float]]

    @property
    def as_test(self) -> dict[str, Any]:
        return _expected(self.expr, "", self.samples)


@dataclass(frozen=True)
class Firing:
    """One alert that must fire: its labels but the severity, and what a person reads."""

    labels: Mapping[str, str]
    summary: str
    description: str


@dataclass(frozen=True)
class Recording:
    """A case of recording rules."""

    name: str
    series: Sequence[Series]
    at: str
    recorded: Sequence[Recorded | Asked]
    interval: str = INTERVAL

    def as_test(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "interval": self.interval,
            "input_series": _input(self.series),
            "promql_expr_test": [{**recorded.as_test, "eval_time": self.at} for recorded in self.recorded],
        }


@dataclass(frozen=True)
class Case:
    """A case of an alert: at that time exactly these fire. None: it must be silent.

    ``interval`` is between two samples; of long cases a longer one, as promtool evaluates each rule at each of them.
    """

    alert: str
    name: str
    series: Sequence[Series]
    at: str
    firing: Sequence[Firing] = ()
    interval: str = INTERVAL

    def as_test(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "interval": self.interval,
            "input_series": _input(self.series),
            "alert_rule_test": [
                {
                    "alertname": self.alert,
                    "eval_time": self.at,
                    "exp_alerts": [
                        {
                            "exp_labels": {**firing.labels, "severity": SEVERITIES[self.alert]},
                            "exp_annotations": {
                                "summary": firing.summary,
                                "description": firing.description,
                                "runbook_url": f"{RUNBOOKS}/{self.alert}.md",
                            },
                        }
                        for firing in self.firing
                    ],
                }
            ],
        }


def judge(cases: Sequence[Recording | Case], folder: Path, *more: Path) -> str:
    """What promtool says against these cases, with ``more`` rule files loaded; nothing where all hold.

    promtool evaluates every rule of a file at each interval, so it is given those of the generated file that matter.
    """
    wanted = {case.alert for case in cases if isinstance(case, Case)}
    rules = folder / "rules.yaml"
    rules.write_text(yaml.dump(_with(wanted), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    files = []
    for interval in sorted({case.interval for case in cases}):
        document = {
            "rule_files": [str(rules), *map(str, more)],
            "evaluation_interval": interval,
            "tests": [case.as_test() for case in cases if case.interval == interval],
        }
        files.append(folder / f"cases-{interval}.yaml")
        files[-1].write_text(yaml.safe_dump(document))
    done = subprocess.run(["promtool", "test", "rules", *files], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def balancer(which: str, name: str, values: str, **own: str) -> Series:
    """A series of a balancer: ``which`` is a letter, ``own`` the labels that the metric has itself."""
    return Series(f"switchtender_{name}", {**_target(BALANCERS, which, "10.0.0"), **own}, values)


def operator(which: str, name: str, values: str, **own: str) -> Series:
    """A series of an operator."""
    return Series(f"switchtender_operator_{name}", {**_target(OPERATORS, which, "10.0.1"), **own}, values)


def up(series: Series, values: str) -> Series:
    """Whether Prometheus could scrape the target that gave this series."""
    labels = {name: series.labels[name] for name in ("job", "instance")}
    return Series("up", {**_target(labels["job"], series.labels["pod"][-1], "10.0.9"), **labels}, values)


def node(name: str = "fs-0", group: str = "ivr") -> dict[str, str]:
    """The labels of a node in a group of the namespace voice."""
    return {**of_group(group), "node": name}


def of_group(group: str = "ivr") -> dict[str, str]:
    """The labels of a group of the namespace voice."""
    return {"namespace": "voice", "group": group}


def states(which: str, of: Mapping[str, str], *said: tuple[str, str]) -> list[Series]:
    """The states that a balancer gives a node: 1 for each of ``said`` as its values tell, 0 for the others."""
    values = dict(said)
    return [balancer(which, "node_state", values.get(state, "0x480"), **of, state=state) for state in STATES]


@cache
def _generated() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "rules.yaml").read_text())
    return document


def _with(alerts: Collection[str]) -> dict[str, Any]:
    """The generated file with these alerts alone; recording rules stay."""
    groups = [
        {**group, "rules": [rule for rule in group["rules"] if "record" in rule or rule["alert"] in alerts]}
        for group in _generated()["groups"]
    ]
    return {"groups": [group for group in groups if group["rules"]]}


def _target(job: str, which: str, network: str) -> dict[str, str]:
    return {
        "job": job,
        "instance": f"{network}.{ord(which) - ord('a') + 1}:8080",
        "namespace": "switchtender",
        "pod": f"{job.rpartition('/')[2]}-{which}",
        "node": f"worker-{which}",
        "endpoint": "http",
    }


def _expected(expr: str, name: str, samples: Sequence[tuple[Mapping[str, str], float]]) -> dict[str, Any]:
    expected = [{"labels": Series(name, labels, "").selector, "value": value} for labels, value in samples]
    return {"expr": expr, "exp_samples": expected}


def _input(series: Sequence[Series]) -> list[dict[str, str]]:
    return [{"series": one.selector, "values": one.values} for one in series]
