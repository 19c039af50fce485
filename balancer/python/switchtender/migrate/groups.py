"""What an import makes: groups of nodes, as plain values before they are written. Knows no table and no YAML."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime

from switchtender_api.v1alpha1.endpoints import EslUrl, SipUri

LARGEST_WEIGHT = 10_000
LARGEST_TIER = 1000
LARGEST_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Amount:
    """A resource of a node or of a group; ``limit`` None: as many as the sessions the node reports."""

    name: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A member. ``remark`` is for people and stands beside it as a comment."""

    name: str
    sip: SipUri
    load: EslUrl | None = None
    weight: int = 1
    priority: int = 0
    backup: bool = False
    resources: tuple[Amount, ...] = ()
    drain: datetime | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Hash:
    """What the Hash algorithm keys on."""

    type: str
    user_only: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group. ``uses`` names the resources that each of its calls takes; ``algorithm`` None leaves the default."""

    name: str
    origin: str
    nodes: tuple[Node, ...]
    algorithm: str | None = None
    hash_on: Hash | None = None
    static_weights: bool = False
    resources: tuple[Amount, ...] = ()
    uses: tuple[str, ...] = ()


def node_name(uri: SipUri, taken: Container[str]) -> str:
    """A name for the node at this address that none in ``taken`` has: the host, and the port where it is not 5060."""
    host = f"ip6-{uri.host.replace(':', '-')}" if ":" in uri.host else uri.host
    port = f"-{uri.port}" if uri.port not in {None, 5060} else ""
    base = f"{host[: 63 - len(port)]}{port}".strip("-._")
    return _free(base, taken, 63)


def resource_name(text: str, taken: Container[str]) -> str:
    """The nearest name that a resource may have and that none in ``taken`` has."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", text)
    if not name[:1].isalpha():
        name = f"r{name}"
    return _free(name[:32], taken, 32)


def _free(base: str, taken: Container[str], longest: int) -> str:
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base[: longest - len(str(number)) - 1]}-{number}"
    return name
