"""Provider `kind`: a cluster of containers, where Docker or Podman and kind are installed; deleted after the run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.providers.cluster import Cluster


def missing() -> str | None:
    """Why this cannot run here; None when it can."""
    if shutil.which("kind") is None:
        return "kind is not installed (https://kind.sigs.k8s.io)"
    engine = next((name for name in ("docker", "podman", "nerdctl") if shutil.which(name)), None)
    if engine is None:
        return "kind needs Docker, Podman or nerdctl"
    if subprocess.run([engine, "info"], capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode:
        return f"{engine} is installed but does not answer"
    return None


@contextlib.contextmanager
def cluster(binaries: Path, folder: Path) -> Iterator[Cluster]:
    """A cluster for the block. Raises CalledProcessError."""
    folder.mkdir(parents=True, exist_ok=True)
    name, kubeconfig = f"switchtender-e2e-{os.getpid()}", folder / "kind.kubeconfig"
    named = ["--name", name, "--kubeconfig", str(kubeconfig)]
    try:
        subprocess.run(["kind", "create", "cluster", *named, "--wait", "120s"], check=True, stdin=subprocess.DEVNULL)
        found = Cluster("kind", binaries, kubeconfig, folder)
        yield found
        found.close()
    finally:
        subprocess.run(["kind", "delete", "cluster", *named], check=False, stdin=subprocess.DEVNULL)
