"""What a node answers in which state of its life: the tables of a real FreeSWITCH as pure functions.

Knows neither sockets nor timers; `node` moves the phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Literal

Direction = Literal["inbound", "outbound"]


class Phase(StrEnum):
    """Where in its life a node stands, in this order."""

    STOPPED = "stopped"  # no process: SIP gets ICMP refused, ESL gets RST
    DEAF = "deaf"  # booting: the SIP socket is bound, nobody reads it yet
    BOOTING = "booting"  # SIP answers (503 to INVITE), ESL is still closed
    RUNNING = "running"
    STOPPING = "stopping"  # SHUTDOWN was fired, calls are being hung up
    TEARDOWN = "teardown"  # the SIP profile is being dismantled: 410 to everything
    CLOSED = "closed"  # SIP sockets closed, ESL still up for a moment


class Verdict(Enum):
    """What happens to a SIP request outside of a dialog."""

    SERVE = "serve"
    BUSY = "busy"  # 503 Maximum Calls In Progress, Retry-After: 300
    STANDBY = "standby"  # 503 System Paused
    GONE = "gone"  # 410


@dataclass(slots=True)
class Status:
    """The flags of one node that `fsctl` and the life cycle change."""

    phase: Phase = Phase.STOPPED
    paused_inbound: bool = False
    paused_outbound: bool = False
    standby: bool = False
    shutdown_requested: str | None = None  # "elegant", "asap"
    options_respond_503: bool = False  # before 1.11.1 OPTIONS met the same check as INVITE

    @property
    def paused(self) -> bool:
        """Both directions: only then FreeSWITCH itself says that it is not ready."""
        return self.paused_inbound and self.paused_outbound

    @property
    def ready(self) -> bool:
        """`fsctl ready_check`, and the word in `status`."""
        return self.phase is Phase.RUNNING and not self.paused

    def pause_check(self, direction: Direction | None) -> bool:
        """`fsctl pause_check [inbound|outbound]`; always false once the node is shutting down."""
        if self.phase is not Phase.RUNNING:
            return False
        if direction == "inbound":
            return self.paused_inbound
        return self.paused_outbound if direction == "outbound" else self.paused

    @property
    def shutdown_check(self) -> bool:
        """`fsctl shutdown_check`: true for a *requested* shutdown, false again once it runs."""
        return self.phase is Phase.RUNNING and self.shutdown_requested is not None

    def set_paused(self, direction: Direction | None, *, paused: bool) -> None:
        """`fsctl pause|resume [inbound|outbound]`."""
        if direction != "outbound":
            self.paused_inbound = paused
        if direction != "inbound":
            self.paused_outbound = paused

    def request_shutdown(self, mode: str) -> None:
        """`fsctl shutdown elegant|asap`: elegant goes on accepting calls, asap does not."""
        self.shutdown_requested = mode
        if mode == "asap":
            self.set_paused(None, paused=True)

    def cancel_shutdown(self) -> None:
        """`fsctl shutdown cancel`."""
        if self.shutdown_requested == "asap":
            self.set_paused(None, paused=False)
        self.shutdown_requested = None

    def verdict(self, method: str) -> Verdict:
        """What a request outside of a dialog meets; the session limit is not looked at here."""
        if self.phase in {Phase.TEARDOWN, Phase.CLOSED, Phase.STOPPED}:
            return Verdict.GONE
        if self.standby and method in {"INVITE", "OPTIONS"}:
            return Verdict.STANDBY
        if self.phase is Phase.RUNNING and not self.paused_inbound:
            return Verdict.SERVE
        if method in {"INVITE", "REGISTER", "NOTIFY", "INFO"} or (method == "OPTIONS" and self.options_respond_503):
            return Verdict.BUSY
        return Verdict.SERVE
