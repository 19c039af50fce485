"""BalancerConfig: what a balancer itself needs to run, before any group. Knows no group and opens no socket."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from switchtender_api.constants import API_VERSION, DEFAULT_BALANCER, DEFAULT_SIP_PORT
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model, ObjectMeta
from switchtender_api.v1alpha1.endpoints import AdvertisedHost, HostPort, Transport
from switchtender_api.v1alpha1.hep import Hep
from switchtender_api.v1alpha1.http import Http
from switchtender_api.v1alpha1.units import (
    Address,
    Auto,
    BindPort,
    Boolean,
    Duration,
    Network,
    ObjectName,
    Port,
    PortRange,
    Ports,
    Text,
    Unique,
    Whole,
)

DEFAULT_WORKER_PORTS = PortRange(5071, 5134)
_ANY_IPV4 = ipaddress.ip_network("0.0.0.0/0")
_ANY_IPV6 = ipaddress.ip_network("::/0")


class Advertise(Model):
    """The address that stands in our headers instead of the bound one."""

    host: AdvertisedHost = Field(description="Address or host name under which callers reach this listener.")
    port: Port | None = Field(
        None, description="Port under which callers reach this listener; the bound one if omitted."
    )


class Listener(Model):
    """An address where callers come in."""

    name: ObjectName = Field("public", description="Name of the listener, unique within the balancer.")
    address: Address = Field(description="Address to bind; 0.0.0.0 or :: for every one of the host.")
    port: BindPort = Field(DEFAULT_SIP_PORT, description="Port to bind.")
    transports: Annotated[tuple[Transport, ...], Unique("transport")] = Field(
        ("UDP",), description="Transports to listen on.", min_length=1
    )
    advertise: Advertise | None = Field(
        None,
        description="Address in our headers towards callers. Omitted: the bound one, or for a wildcard the source "
        "address that the kernel picks towards the caller.",
    )
    allow: tuple[Network, ...] = Field(
        (), description="Networks that requests may come from; others get 403. Empty for everyone."
    )
    nat: Boolean = Field(
        default=False,
        description="Callers may be behind NAT: requests go back to them by their flow alone, never by Contact.",
    )


class NodeSideAdvertise(Model):
    """The address in our headers towards nodes in certain networks."""

    networks: tuple[Network, ...] = Field((), description="Networks of the nodes it is for; empty for all of them.")
    host: AdvertisedHost | None = Field(
        None, description="Address or host name under which these nodes reach the balancer. Excludes service."
    )
    service: ObjectName | None = Field(
        None,
        description="Service in the balancer's own namespace whose ClusterIP stands in for host; only in Kubernetes. "
        "Excludes host.",
    )
    port: Port | None = Field(
        None, description="Port under which these nodes reach the balancer; the node side's if omitted."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.host is None) == (self.service is None):
            raise Refusal("one place where nodes reach the balancer", accepted="exactly one of host, service")
        return self


class NodeSide(Model):
    """The address where nodes talk to the balancer."""

    address: Address = Field(
        ipaddress.IPv4Address(0), description="Address to bind; 0.0.0.0 or :: for every one of the host."
    )
    port: BindPort = Field(5070, description="Port to bind: the stable one, which stands in Record-Route.")
    worker_ports: Ports = Field(
        DEFAULT_WORKER_PORTS,
        description="Ports of the workers, one each, which stand in Via; the range holds at least as many as workers.",
    )
    advertise: tuple[NodeSideAdvertise, ...] = Field(
        (),
        description="Address in our headers by the network of the node; the first that holds it. None: the bound one.",
    )
    sources: tuple[Network, ...] = Field(
        (), description="Networks that count as nodes besides the members' own addresses; empty for members only."
    )


class Limits(Model):
    """Limits of the balancer itself."""

    max_transactions: Annotated[int, Whole(1, 10_000_000)] = Field(
        200_000, description="Open transactions past which new calls get 503; calls that stand go on."
    )


class Tcp(Model):
    """Limits of connections over TCP."""

    idle_timeout: Annotated[timedelta, Duration("10s", "24h")] = Field(
        timedelta(minutes=10), description="Time without traffic after which a connection is closed."
    )
    connect_timeout: Annotated[timedelta, Duration("100ms", "32s")] = Field(
        timedelta(seconds=2), description="Longest wait for a connection of ours to be taken."
    )
    max_connections: Annotated[int, Whole(1, 1_000_000)] = Field(
        20_000, description="Open connections past which new ones are closed at once."
    )
    max_connections_per_source: Annotated[int, Whole(1, 1_000_000)] = Field(
        1000, description="Open connections from one address past which its new ones are closed at once."
    )


class Stop(Model):
    """How the balancer stops."""

    deadline: Annotated[timedelta, Duration("0s", "24h")] = Field(
        timedelta(seconds=180), description="Longest wait for open transactions to end once told to stop."
    )


class Peers(Model):
    """The other replicas of this balancer, asked each second for what they placed."""

    static: tuple[HostPort, ...] = Field((), description="HTTP endpoints of the other replicas, such as 10.0.0.6:8080.")
    service: ObjectName | None = Field(None, description="Headless Service of the replicas; only in Kubernetes.")


class GroupClaims(Model):
    """What groups may claim on this balancer."""

    namespaces: tuple[ObjectName, ...] = Field(
        (), description="Namespaces whose groups this balancer serves; empty for every one."
    )
    max_priority: Annotated[int, Whole(0, 1_000_000)] = Field(
        1000, description="Highest match priority that a group may have here."
    )


class Destinations(Model):
    """Where nodes may be."""

    allow: tuple[Network, ...] = Field(
        (_ANY_IPV4, _ANY_IPV6),
        description="Networks that may hold nodes and next hops. Loopback, link-local addresses and the API server "
        "never may in Kubernetes, whatever stands here.",
    )


class BalancerConfigSpec(Model):
    """What a balancer needs to run."""

    listeners: Annotated[tuple[Listener, ...], Unique("listener", by="name")] = Field(
        description="Where callers come in; at least one.", min_length=1
    )
    node_side: NodeSide | None = Field(
        None,
        description="Where nodes talk to us. Omitted: the first listener serves both sides with one Record-Route, "
        "worker ports 5071-5134 on its address.",
    )
    workers: Annotated[int | Auto, Whole(1, 64, auto=True)] = Field(
        1, description="Packet workers. Auto: the CPUs of the cgroup limit less one, at least one."
    )
    limits: Limits = Field(Limits(), description="Limits of the balancer itself.")
    tcp: Tcp = Field(Tcp(), description="Limits of connections over TCP.")
    stop: Stop = Field(Stop(), description="How the balancer stops.")
    peers: Peers = Field(Peers(), description="The other replicas of this balancer.")
    groups: GroupClaims = Field(GroupClaims(), description="What groups may claim on this balancer.")
    destinations: Destinations = Field(Destinations(), description="Where nodes may be.")
    state_dir: Annotated[str, Text(r"^/[^\x00]*$", "an absolute path", 4096)] = Field(
        "/var/lib/switchtender",
        description="Directory for keys, the last good snapshot (no passwords) and, without Kubernetes, admin state.",
    )
    http: Http = Field(Http(), description="Where metrics, health and the API are served.")
    hep: Hep | None = Field(
        None, description="Copies of all SIP messages for a Homer server, unmasked; none are made if omitted."
    )

    @property
    def worker_ports(self) -> PortRange:
        """The ports of the workers, whether a node side is configured or the first listener serves both sides."""
        return self.node_side.worker_ports if self.node_side else DEFAULT_WORKER_PORTS

    @property
    def worker_address(self) -> Address:
        """The address that the workers' ports are bound on."""
        return self.node_side.address if self.node_side else self.listeners[0].address


class BalancerConfig(Model):
    """A balancer: where it listens and what it allows."""

    api_version: Literal["switchtender.dev/v1alpha1"] = Field(API_VERSION, description="Version of this schema.")
    kind: Literal["BalancerConfig"] = Field("BalancerConfig", description="Kind of the document.")
    metadata: ObjectMeta = Field(
        ObjectMeta(name=DEFAULT_BALANCER), description="Metadata; groups name the balancer by it."
    )
    spec: BalancerConfigSpec = Field(description="What the balancer needs to run.")


__all__ = [
    "Advertise",
    "BalancerConfig",
    "BalancerConfigSpec",
    "Destinations",
    "GroupClaims",
    "Hep",
    "Http",
    "Limits",
    "Listener",
    "NodeSide",
    "NodeSideAdvertise",
    "Peers",
    "Stop",
    "Tcp",
]
