"""What may be asked of where a SIP host is, and what the answer is (RFC 3263). Values only; asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from switchtender_api.v1alpha1.endpoints import Transport

SHORTEST: Final = 1.0
LONGEST: Final = 3600.0
"""Bounds of how long an answer holds, seconds, whatever its TTL."""
DEFAULT_PORT: Final = 5060

Lookup = Literal["Address", "Service", "Any"]
"""How much the URI left open: nothing but the address; host and port; the transport, too (RFC 3263 §4.1, §4.2)."""


@dataclass(frozen=True, slots=True)
class Name:
    """What is asked for. ``port`` and ``transport`` hold as far as ``lookup`` does not ask for them."""

    host: str
    port: int = DEFAULT_PORT
    transport: Transport = "UDP"
    lookup: Lookup = "Address"


@dataclass(frozen=True, slots=True)
class Target:
    """A place to send to. ``rank``: those of a higher one are for when all of a lower one have failed."""

    address: str
    port: int
    transport: Transport
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The targets in the order in which they are to be tried, and for how many seconds that holds."""

    targets: tuple[Target, ...]
    holds: float


class NotFoundError(Exception):
    """DNS names no target, or could not be asked; the text says which. ``holds``: seconds until asking again pays."""

    def __init__(self, text: str, holds: float = SHORTEST) -> None:
        super().__init__(text)
        self.holds = holds
