"""How many packet workers ``workers: Auto`` means: the CPUs this process may use, less one for the control side."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def automatic_workers() -> int:
    """Workers for this machine: the cgroup's CPU limit, else the CPUs of the affinity mask, less one, at least one."""
    try:
        cpu_max = _CPU_MAX.read_text()
    except OSError:
        cpu_max = "max"
    return workers_for(cpu_max, len(os.sched_getaffinity(0)))


def workers_for(cpu_max: str, cpus: int) -> int:
    """Workers for a ``cpu.max`` text of cgroup v2 ("200000 100000", "max 100000") on ``cpus`` usable CPUs.

    Between 1 and 64.
    """
    quota, _, period = cpu_max.strip().partition(" ")
    limit = float(cpus)
    if quota.isdigit() and period.strip().isdigit() and int(period) > 0:
        limit = min(limit, int(quota) / int(period))
    return max(1, min(64, math.floor(limit) - 1))
