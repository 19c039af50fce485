"""What a host must have before real nodes can run on it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Command → the Debian package that brings it.
COMMANDS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "socat": "socat",
    "ip": "iproute2",
    "sysctl": "procps",
    "unshare": "util-linux",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}
CNI = Path("/usr/lib/cni")
_SBIN = "/usr/sbin:/sbin"


def missing(commands: dict[str, str] = COMMANDS, cni: Path = CNI) -> str | None:
    """Why real nodes cannot run here, with the command that helps; None when they can."""
    if os.geteuid() != 0:
        return "real nodes need root: namespaces, mounts and cgroups"
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    packages = {package for command, package in commands.items() if not shutil.which(command, path=path)}
    if not (cni / "ptp").exists():
        packages.add("containernetworking-plugins")
    if packages:
        return f"real nodes need packages: apt-get install --no-install-recommends {' '.join(sorted(packages))}"
    if not any(line.split()[-1] == "overlay" for line in Path("/proc/filesystems").read_text().splitlines()):
        return "real nodes need a kernel with overlayfs"
    return None
