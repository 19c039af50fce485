"""The core's settings: what is fixed for the life of the process. A reload that would change them is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from switchtender.config.cpus import automatic_workers
from switchtender_api.v1alpha1 import BalancerConfigSpec, NodeSide
from switchtender_api.v1alpha1.config import Tcp
from switchtender_api.v1alpha1.hep import Hep

FORMAT = 2

Json = dict[str, Any]


def settings(spec: BalancerConfigSpec, hep_password: SecretStr | None = None) -> Json:
    """The settings document of ``spec``, as ``Core`` takes it (addresses as text, times in milliseconds).

    ``hep_password``: what ``spec.hep`` says where to find; it stands in the document in clear.
    """
    return {
        "format": FORMAT,
        "listeners": [
            {
                "name": listener.name,
                "address": str(listener.address),
                "port": listener.port,
                "advertise": None
                if listener.advertise is None
                else {"host": listener.advertise.host, "port": listener.advertise.port or listener.port},
                "nat": listener.nat,
                "transports": list(listener.transports),
                "allow": [str(network) for network in listener.allow],
            }
            for listener in spec.listeners
        ],
        "node_side": None if spec.node_side is None else _node_side(spec.node_side),
        "workers": automatic_workers() if spec.workers == "Auto" else spec.workers,
        "limits": {"max_transactions": spec.limits.max_transactions},
        "tcp": _tcp(spec.tcp),
        "hep": None if spec.hep is None else _hep(spec.hep, hep_password),
        "stop_deadline_ms": _ms(spec.stop.deadline),
        "run_id": None,
    }


def _tcp(tcp: Tcp) -> Json:
    return {
        "idle_timeout_ms": _ms(tcp.idle_timeout),
        "connect_timeout_ms": _ms(tcp.connect_timeout),
        "max_connections": tcp.max_connections,
        "max_per_source": tcp.max_connections_per_source,
    }


def _hep(hep: Hep, password: SecretStr | None) -> Json:
    return {
        "host": str(hep.collector.host),
        "port": hep.collector.port,
        "capture_id": hep.capture_id,
        "password": None if password is None else password.get_secret_value(),
    }


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _node_side(side: NodeSide) -> Json:
    return {
        "address": str(side.address),
        "port": side.port,
        "worker_ports": [side.worker_ports.first, side.worker_ports.last],
        "advertise": [
            {
                "networks": [str(network) for network in entry.networks] or _EVERYWHERE,
                "host": entry.host,
                "port": entry.port or side.port,
            }
            for entry in side.advertise
        ],
        "sources": [str(network) for network in side.sources],
    }


# What the packet core is told where the configuration says nothing: to it an entry without networks fits no node.
_EVERYWHERE = ["0.0.0.0/0", "::/0"]

_FIXED: dict[str, Callable[[BalancerConfigSpec], object]] = {
    "spec.listeners": lambda spec: spec.listeners,
    "spec.nodeSide": lambda spec: spec.node_side,
    "spec.workers": lambda spec: spec.workers,
    "spec.limits": lambda spec: spec.limits,
    "spec.tcp": lambda spec: spec.tcp,
    "spec.peers": lambda spec: spec.peers,
    "spec.stateDir": lambda spec: spec.state_dir,
    "spec.http": lambda spec: spec.http,
    "spec.hep": lambda spec: spec.hep,
}


def fixed_fields_changed(before: BalancerConfigSpec, after: BalancerConfigSpec) -> list[str]:
    """Paths of the fields that differ and need a restart; empty when ``after`` can be taken up by a reload."""
    return [path for path, field in _FIXED.items() if field(before) != field(after)]
