"""Cgroups of a node: one folder of its own in every hierarchy that a kubelet asks for, v1 and v2."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# What a kubelet needs of a v2 host.
_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")


def is_v2(root: Path = ROOT) -> bool:
    """Whether the host has the one hierarchy of v2; a hybrid host counts as v1, whose hierarchies a kubelet uses."""
    return (root / "cgroup.controllers").exists()


def create(name: str, root: Path = ROOT) -> None:
    """Make the cgroup ``name`` at the top of every hierarchy. Raises OSError where that is not allowed."""
    if is_v2(root):
        available = (root / "cgroup.controllers").read_text().split()
        for controller in _CONTROLLERS:
            if controller in available:
                # Already on under systemd; refused where processes sit in the root of a container's hierarchy.
                with contextlib.suppress(OSError):
                    (root / "cgroup.subtree_control").write_text(f"+{controller}")
        (root / name).mkdir(exist_ok=True)
        return
    for hierarchy in _hierarchies(root):
        (hierarchy / name).mkdir(exist_ok=True)
        # A cpuset starts empty, and an empty one admits no process.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / file).exists():
                (hierarchy / name / file).write_text((hierarchy / file).read_text())


def remove(name: str, root: Path = ROOT, patience: float = 10) -> list[Path]:
    """Remove the cgroup ``name`` with all below it, once its processes are gone; gives what could not be removed."""
    # A hybrid host has v2's hierarchy beside the others; the runtime may have gone there, too.
    tops = [root / name] if is_v2(root) else [hierarchy / name for hierarchy in (*_hierarchies(root), root / "unified")]
    end = time.monotonic() + patience
    while True:
        for top in tops:
            below = [path for path in top.rglob("*") if path.is_dir()]
            for folder in (*sorted(below, reverse=True), top):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        left = [top for top in tops if top.exists()]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)


def _hierarchies(root: Path) -> list[Path]:
    """The v1 hierarchies: each link and mount once, without v2's place on a hybrid host."""
    folders = {folder.resolve() for folder in root.iterdir() if folder.name != "unified"}
    return sorted(folder for folder in folders if (folder / "cgroup.procs").exists())
