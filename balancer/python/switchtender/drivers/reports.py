"""What a load driver tells about its node, and what a driver is.

Values only, the border between the protocols that nodes speak and the load model. Must not know any of those
protocols (Event Socket or other), nor what is made of the numbers.

Times called `received`, `sent` and `since` are seconds on our own monotonic clock (`time.monotonic`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Transport = Literal["UDP", "TCP"]

Source = Literal["heartbeat", "poll"]
"""How a report came: pushed by the node, or as the answer to our question."""

LinkState = Literal[
    "connecting",
    "authenticated",
    "acl_rejected",
    "auth_failed",
    "unreachable",
    "silent",
    "protocol_error",
    "closed",
    "reset",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One measurement of a node's load.

    `sessions` and `max_sessions` count legs, not calls, both ≥ 0; `sessions` may exceed `max_sessions`. Every
    other figure is None where the node did not say.

    * `core_uuid`: identity of the node's process; `uptime_ms`: its age. A new one, or a falling one, is a restart.
    * `sessions_since_startup`: monotonic count of legs made by that process.
    * `sessions_per_second_limit`: configured; `sessions_per_second_last`: asked for in the last second, refused
      ones included.
    * `idle_cpu`: percent, 0 to 100, of the node's host.
    * `stamp`: the node's own wall clock when it measured, seconds since the epoch.
    * `received`: when the report reached us.
    * `sent`: polls only: when the question left us. The node measured after that, so it bounds the report's age.
    """

    source: Source
    sessions: int
    max_sessions: int
    received: float
    core_uuid: str | None = None
    uptime_ms: int | None = None
    sessions_since_startup: int | None = None
    sessions_per_second_limit: int | None = None
    sessions_per_second_last: int | None = None
    idle_cpu: float | None = None
    stamp: float | None = None
    sent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the node takes new calls at all, which its load figures do not say.

    * `ready`: it is booted, not shutting down, and not paused both ways.
    * `paused_inbound`: an operator paused new calls towards it. None: the node does not let us ask.
    * `shutdown_requested`: it will stop when its last call has ended. None: the node does not let us ask.
    """

    ready: bool
    received: float
    paused_inbound: bool | None = None
    shutdown_requested: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The connection to the node changed its state; `since` is when.

    * `connecting`, `authenticated`: on the way up.
    * `acl_rejected`, `auth_failed`: the node refuses us; a fault of configuration, retried slowly.
    * `unreachable`: no connection. `silent`: connected, but no answer in time. `protocol_error`: what came is not
      the protocol. `closed`: the node ended the connection in order. `reset`: it broke.

    `detail` is one line for people. It never holds a password.
    """

    state: LinkState
    detail: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """The node announces its end: `requested` when the last call has ended, else at once."""

    requested: bool
    received: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseAnswer:
    """The node was asked to pause inbound calls, or to resume them, and did so (`accepted`) or refused.

    `detail` is one line for people: the node's own words.
    """

    accepted: bool
    detail: str
    received: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PollTimeout:
    """Two polls in a row went unanswered; a `Link` in state `silent` follows."""

    received: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One OPTIONS to the node's SIP side, and what came of it.

    * `answered`: a final response that counts came in time; `status` is its code, also of one that does not count.
    * `detail`: one line for people.
    * `sent`: when it left first; `received`: when its outcome was known.
    """

    answered: bool
    sent: float
    received: float
    status: int | None = None
    detail: str = ""

    @property
    def round_trip(self) -> float | None:
        """Seconds until the answer; None where none came."""
        return None if self.status is None else self.received - self.sent


Event = Report | Readiness | Link | Shutdown | PauseAnswer | PollTimeout | Probe
"""All that a driver delivers."""

Listener = Callable[[Event], None]
"""Called in the event loop's thread, in the order things happened. Must not block."""


class Driver(Protocol):
    """Watches one node and delivers what it learns to the listener it was made with."""

    async def run(self) -> None:
        """Connect, watch and reconnect until canceled; canceling says goodbye to the node first.

        A failing node never ends it. An exception of the listener does.
        """
