"""What Prometheus and Grafana need to show the demonstration: files that both take as they are.

The rules and dashboards are those that the product ships; nothing here is made for the demonstration but the addresses.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.stand.prometheus import Job, configuration

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "monitoring"
FOLDER = ROOT / "build" / "demo"
PROMETHEUS_PORT = 9090


def write(folder: Path, jobs: Sequence[Job]) -> Path:
    """Write all of it below ``folder`` and return the file for Prometheus; what stood there before is gone.

    ``grafana/provisioning`` makes a Grafana show the dashboards, from a Prometheus on its own port of this host.
    """
    shutil.rmtree(folder, ignore_errors=True)
    provisioning = folder / "grafana" / "provisioning"
    for each in ("datasources", "dashboards"):
        (provisioning / each).mkdir(parents=True)
    shutil.copytree(SHIPPED / "dashboards", folder / "grafana" / "dashboards")
    shutil.copy(SHIPPED / "rules.yaml", folder / "rules.yaml")
    _write_yaml(provisioning / "datasources" / "prometheus.yaml", {
        "apiVersion": 1,
        "datasources": [{
            "name": "Prometheus",
            "type": "prometheus",
            "access": "proxy",
            "url": f"http://127.0.0.1:{PROMETHEUS_PORT}",
            "isDefault": True,
            "jsonData": {"timeInterval": "1s"},
        }],
    })  # fmt: skip
    _write_yaml(provisioning / "dashboards" / "switchtender.yaml", {
        "apiVersion": 1,
        "providers": [{
            "name": "Switchtender",
            "folder": "Switchtender",
            "options": {"path": str(folder / "grafana" / "dashboards")},
        }],
    })  # fmt: skip
    config = folder / "prometheus.yml"
    config.write_text(configuration(jobs, ["rules.yaml"]))
    return config


def _write_yaml(path: Path, document: object) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False))
