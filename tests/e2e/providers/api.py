"""Provider `api`: a control plane on loopback; kwok plays nodes and pods. Needs no root and carries no SIP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.providers.cluster import Cluster
from tests.e2e.providers.control_plane import ControlPlane


def missing() -> str | None:
    """Why this cannot run here; None when it can."""
    return None


@contextlib.contextmanager
def cluster(binaries: Path, folder: Path) -> Iterator[Cluster]:
    """A cluster for the block. Raises StartError."""
    plane = ControlPlane(binaries, folder)
    try:
        plane.start()
        found = Cluster("api", binaries, plane.kubeconfig, folder, control_plane=plane)
        yield found
        found.close()
    finally:
        plane.close()
