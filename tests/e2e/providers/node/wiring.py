"""The network between the machines of a cluster: one switch, pods routed through their nodes. No object of Kubernetes.

The first machine carries the switch (a bridge, ``node0``) and is itself the first address on it; every other machine
hangs on it by a veth pair. There is no way out of it. To anywhere but pods, pods leave with the address of their node,
as in most clusters.
"""

from __future__ import annotations

from tests.e2e.providers.node.machine import Machine

PREFIX = "10.77.0"
PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"

_MASQUERADE = f"""
table ip pods {{
  chain leave {{
    type nat hook postrouting priority srcnat;
    ip saddr {PODS} ip daddr != {{ {PODS}, {SERVICES} }} masquerade
  }}
}}
"""


def address(number: int) -> str:
    """The address of machine ``number`` (1 carries the switch)."""
    return f"{PREFIX}.{number}"


def pods_of(number: int) -> str:
    """The pod network of node ``number``."""
    return f"10.244.{number}.0/24"


def make_switch(first: Machine) -> None:
    """Make the switch on ``first`` and give it the first address."""
    first.ip("link", "add", "node0", "type", "bridge")
    first.ip("address", "add", f"{address(1)}/24", "dev", "node0")
    # A bridge without a port has no carrier, and an address without carrier no route.
    first.ip("link", "add", "port0", "type", "veth", "peer", "name", "port0-end")
    first.ip("link", "set", "port0", "master", "node0", "up")
    first.ip("link", "set", "port0-end", "up")
    first.ip("link", "set", "node0", "up")


def plug(machine: Machine, number: int, first: Machine) -> None:
    """Give ``machine`` address ``number`` on the switch of ``first``."""
    first.ip("link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0")
    first.ip("link", "set", f"port{number}", "master", "node0", "up")
    first.ip("link", "set", "eth0", "netns", str(machine.pid))
    machine.ip("address", "add", f"{address(number)}/24", "dev", "eth0")
    machine.ip("link", "set", "eth0", "up")


def route_pods(machine: Machine, number: int, others: dict[int, Machine]) -> None:
    """Make ``machine`` a router for its pods, known to and knowing ``others``' pods."""
    machine.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    # Services need a route for their packets to be translated on; where it leads does not matter.
    machine.ip("route", "replace", SERVICES, "dev", "node0" if number == 1 else "eth0")
    for other, its in others.items():
        machine.ip("route", "replace", pods_of(other), "via", address(other))
        its.ip("route", "replace", pods_of(number), "via", address(number))
    machine.run("nft", "-f", "-", stdin=_MASQUERADE)
