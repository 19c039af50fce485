"""The Grafana dashboards, each a module; ``DASHBOARDS`` has them all. Nothing here reads anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.monitoring.dashboards import balancer, group, node, operator
from tools.monitoring.rules import CHART, DEPLOY

DASHBOARDS = (group.dashboard, node.dashboard, balancer.dashboard, operator.dashboard)


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file with its text, ready for import into Grafana."""
    for dashboard in DASHBOARDS:
        built = dashboard().build()
        for number, panel in enumerate(built.panels or (), start=1):
            panel.id_val = number
        text = json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
        for folder in (DEPLOY, CHART):
            yield folder / "dashboards" / f"{built.uid}.json", text
