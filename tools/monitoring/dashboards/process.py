"""What both components show of their processes: CPU, memory, and what else the process itself exports."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.timeseries import Panel

from tools.monitoring.dashboards.expressions import REPLICAS
from tools.monitoring.dashboards.panels import Query, lines


def of(metric: str, beside: str) -> str:
    """A metric of the process (whole expression) of those that export ``beside``, our own among all that is scraped."""
    return f"{metric}\nand on (instance) {beside}"


def panels(beside: str) -> Iterator[Panel]:
    """CPU and memory of the processes that export ``beside``."""
    cpu = of(f"rate(process_cpu_seconds_total{{{REPLICAS}}}[$__rate_interval])", beside)
    yield lines("CPU", "Cores in use.", Query(cpu, "{{instance}}"), unit="none")
    memory = of(f"process_resident_memory_bytes{{{REPLICAS}}}", beside)
    yield lines("Memory", "Resident.", Query(memory, "{{instance}}"), unit="bytes")
