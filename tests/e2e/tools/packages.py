"""Installs the Debian packages that providers and scenarios need, where that is allowed; else says which are missing.

Nothing is an error here: what cannot run is skipped with its reason by the tests, or fails under E2E_REQUIRED=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.e2e.providers import sim
from tests.e2e.providers.node import prerequisites

COMMANDS = {**sim.COMMANDS, **prerequisites.COMMANDS, "sipp": "sip-tester"}
"""Command → the Debian package that brings it."""


def missing() -> list[str]:
    """The packages that are not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = {package for command, package in COMMANDS.items() if shutil.which(command, path=path) is None}
    if not (prerequisites.CNI / "ptp").exists():
        packages.add("containernetworking-plugins")
    return sorted(packages)


def main() -> int:
    """Install what is missing, or print it."""
    packages = missing()
    if not packages:
        return 0
    wanted = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.stderr.write(f"== not installed, what needs them is skipped: {wanted}\n")
        return 0
    sys.stderr.write(f"== installing for the end-to-end tests: {wanted}\n")
    # RUNLEVEL=1: packages bring daemons that nobody here wants started (invoke-rc.d(8)).
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr)
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
