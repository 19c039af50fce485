"""What a scenario needs and what becomes of it where that cannot be had: skipped with the reason, or failed."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

from tests.e2e.providers import sim
from tests.e2e.providers.cluster import Cluster


def unavailable(reason: str) -> NoReturn:
    """Skip what cannot run here; under E2E_REQUIRED=1 fail."""
    if os.environ.get("E2E_REQUIRED") == "1":
        pytest.fail(f"{reason}; under E2E_REQUIRED=1 nothing is skipped", pytrace=False)
    pytest.skip(reason)


def require_faults(cluster: Cluster) -> None:
    """The control plane may be broken on purpose."""
    if cluster.control_plane is None:
        unavailable(f"provider {cluster.provider} has a control plane that must not be broken; api and sim have one")


def require_calls(cluster: Cluster) -> None:
    """Simulated nodes can live at the addresses of pods, and SIPp calls them."""
    if not cluster.calls:
        unavailable(f"provider {cluster.provider} carries no SIP; sim does: {sim.missing() or 'E2E_PROVIDER=sim'}")
    if shutil.which("sipp") is None:
        unavailable("SIPp is not installed (Debian: apt-get install sip-tester)")
