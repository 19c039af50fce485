"""Provider `sim`: the control plane in a network namespace where simulated nodes live at the addresses of their pods.

Every address of the pod network is local there (AnyIP), so any process in the namespace can bind the address of any pod
that kwok plays: FreeSWITCH nodes, balancers, callers. kube-proxy makes Services work among them. Root and Linux only.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.providers import control_plane, network
from tests.e2e.providers.cluster import Cluster
from tests.e2e.providers.control_plane import ControlPlane

PODS = "10.244.0.0/16"
"""Addresses that a scenario may give to a pod and bind."""
KWOK_PODS = "10.245.0.0/16"
"""Those that kwok gives to pods without one (kwok.yaml, ``cidr``): pods of Deployments."""
OUTSIDE = "192.0.2.0/24"
"""Addresses for callers and nodes outside the cluster (RFC 5737)."""

COMMANDS = {"ip": "iproute2", "sysctl": "procps", "nft": "nftables", "conntrack": "conntrack"}
"""Command → the Debian package that brings it."""

_numbers = itertools.count(256)


def pod_address() -> str:
    """An address of the pod network that no other pod of this run has."""
    number = next(_numbers)
    if number % 256 in (0, 255):
        return pod_address()
    return f"10.244.{number // 256}.{number % 256}"


def missing() -> str | None:
    """Why this cannot run here; None when it can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = {package for command, package in COMMANDS.items() if shutil.which(command, path=path) is None}
    if packages:
        return f"the network namespace needs: apt-get install {' '.join(sorted(packages))}"
    return network.missing()


@contextlib.contextmanager
def cluster(binaries: Path, folder: Path) -> Iterator[Cluster]:
    """A cluster for the block. Raises StartError."""
    namespace = network.Namespace(f"st-e2e-{os.getpid()}")
    try:
        for network_here in (PODS, KWOK_PODS, OUTSIDE):
            namespace.ip("route", "add", "local", network_here, "dev", "lo")
        namespace.ip("addr", "add", f"{control_plane.ADVERTISED}/32", "dev", "lo")
        # A ClusterIP needs some route before kube-proxy's rules get to see the packet.
        namespace.ip("route", "add", control_plane.SERVICES, "dev", "lo", "src", control_plane.ADVERTISED)
        plane = ControlPlane(binaries, folder, inside=namespace.inside, reachable=True)
        try:
            with namespace.inside():
                _route_between_pods()
            plane.start()
            plane.start_kube_proxy()
            found = Cluster(
                "sim", binaries, plane.kubeconfig, folder, inside=namespace.inside, control_plane=plane, calls=True
            )
            yield found
            found.close()
        finally:
            plane.close()
    finally:
        namespace.delete()


def _route_between_pods() -> None:
    settings = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1")
    subprocess.run(["sysctl", "-qw", *settings], check=True, stdin=subprocess.DEVNULL)
