"""Recording rules and alerts as values, and the two files that they are written to. Knows no rule.

``deploy/monitoring/rules.yaml`` is a plain rule file of Prometheus. The chart's copy says the same with thresholds
apart (``$threshold`` in the expression, the number beside it), so that its values can give others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import yaml

Severity = Literal["critical", "warning", "info"]

RUNBOOKS = "docs/runbooks"
"""Where the pages stand, as part of ``runbook_url``; the chart's ``runbookBaseUrl`` puts an address in its place."""

THRESHOLD = "$threshold"
"""Stands in an expression for the number that may be adjusted."""

_HEADER = "# Generated (`make generate`); do not edit. What each rule means: docs/monitoring.md.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording rule. ``labels`` (what its series have) and ``why`` are for people and tests, not for Prometheus."""

    name: str
    labels: tuple[str, ...]
    expr: str
    why: str

    def as_rule(self) -> dict[str, Any]:
        """As it stands in a rule file."""
        return {"record": self.name, "expr": self.expr.strip()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert. ``hold`` is Prometheus' ``for``; ``threshold`` stands in the expression as `THRESHOLD`."""

    name: str
    severity: Severity
    hold: str
    expr: str
    summary: str
    description: str
    threshold: float | None = None

    def as_rule(self) -> dict[str, Any]:
        """As it stands in a rule file."""
        rule = self.as_adjustable()
        number = rule.pop("threshold", "")
        return {**rule, "expr": rule["expr"].replace(THRESHOLD, number)}

    def as_adjustable(self) -> dict[str, Any]:
        """As it stands in the chart: the threshold apart, where there is one."""
        return {
            "alert": self.name,
            "expr": self.expr.strip(),
            "for": self.hold,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
            },
            **({} if self.threshold is None else {"threshold": f"{self.threshold:g}"}),
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that Prometheus evaluates one after the other: a later one sees what an earlier one recorded."""

    name: str
    rules: tuple[Recording | Alert, ...]


def plain(groups: Iterable[Group]) -> str:
    """The rule file that Prometheus loads."""
    return _text(groups, lambda rule: rule.as_rule())


def adjustable(groups: Iterable[Group]) -> str:
    """The chart's copy."""
    return _text(groups, lambda rule: rule.as_adjustable() if isinstance(rule, Alert) else rule.as_rule())


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and repeats what stands twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _represent)


def _text(groups: Iterable[Group], written: Callable[[Recording | Alert], dict[str, Any]]) -> str:
    document = {"groups": [{"name": group.name, "rules": [written(rule) for rule in group.rules]} for group in groups]}
    return _HEADER + yaml.dump(document, Dumper=_Blocks, sort_keys=False, width=120, allow_unicode=True)
