"""Every rule there is, and the files that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.monitoring import recording
from tools.monitoring.alerts.balancer import BALANCER
from tools.monitoring.alerts.calls import CALLS
from tools.monitoring.alerts.configuration import CONFIGURATION
from tools.monitoring.alerts.nodes import NODES
from tools.monitoring.alerts.operator import OPERATOR
from tools.monitoring.alerts.scaling import SCALING
from tools.monitoring.model import Alert, Group, adjustable, plain

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "monitoring"
CHART = ROOT / "charts" / "switchtender" / "files" / "monitoring"

GROUPS: tuple[Group, ...] = (recording.RULES, CALLS, NODES, SCALING, CONFIGURATION, BALANCER, OPERATOR)

ALERTS: tuple[Alert, ...] = tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert))


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file with its text."""
    yield DEPLOY / "rules.yaml", plain(GROUPS)
    yield CHART / "rules.yaml", adjustable(GROUPS)
