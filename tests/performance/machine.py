"""On what the figures were made."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from tests.performance import kamailio


def machine() -> dict[str, str]:
    """Names and versions, by what they are of."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "processor": model[1].strip() if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "rustc": rust,
        "kamailio": kamailio.version(),
        "switchtender": importlib.metadata.version("switchtender"),
    }
