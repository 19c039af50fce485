"""What a node's settings should be changed to, from what it showed on one connection. Pure: opens nothing.

Each finding names the setting as FreeSWITCH does, the file that holds it, and what to write there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from switchtender.drivers.reports import Event, Link, LinkState, Readiness, Report

Level = Literal["ok", "warning", "problem"]
"""A problem keeps the node from being used as configured; a warning makes it worse than it could be."""

SHIPPED_PASSWORD = "ClueCon"  # noqa: S105 - the one that FreeSWITCH ships, known to everybody
SHIPPED_MAX_SESSIONS = 1000
SHIPPED_SESSIONS_PER_SECOND = 30

_EVENT_SOCKET = "event_socket.conf.xml"
_SWITCH = "switch.conf.xml"


@dataclass(frozen=True, slots=True)
class Advice:
    """One setting: what was seen of it, and what to change; an empty `change` where it is well."""

    level: Level
    setting: str
    found: str
    change: str = ""

    def as_dict(self) -> dict[str, str]:
        """As JSON."""
        return {"level": self.level, "setting": self.setting, "found": self.found, "change": self.change}


@dataclass(slots=True)
class Observation:
    """What one connection showed: gather events, then ask for advice."""

    port: int
    shipped_password: bool
    legs_per_call: int
    links: list[Link] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    readiness: Readiness | None = None

    def take(self, event: Event) -> None:
        """Note one event of the driver."""
        if isinstance(event, Link):
            self.links.append(event)
        elif isinstance(event, Report):
            self.reports.append(event)
        elif isinstance(event, Readiness):
            self.readiness = event

    @property
    def heartbeats(self) -> list[Report]:
        """The reports that the node sent by itself."""
        return [report for report in self.reports if report.source == "heartbeat"]

    @property
    def failed(self) -> bool:
        """Whether the connection came to an end: there is nothing more to wait for."""
        return bool(self.links) and self.links[-1].state not in ("connecting", "authenticated")


def advise(seen: Observation, waited: float) -> list[Advice]:
    """What the observation says of the node's settings, after so many seconds of watching."""
    link = seen.links[-1] if seen.links else None
    if link is None or link.state != "authenticated":
        return [_unreached(seen, link)]
    return [
        Advice("ok", "listen-ip, listen-port, apply-inbound-acl", "the Event Socket answers and admits this address"),
        _password(shipped=seen.shipped_password),
        *_load(seen),
        _heartbeat(seen, waited),
        *_readiness(seen.readiness),
    ]


_REMEDIES: dict[LinkState, tuple[str, str]] = {
    "unreachable": (
        "listen-ip, listen-port",
        (
            f"in {_EVENT_SOCKET} set listen-ip to the node's own address (as shipped, some versions listen on loopback "
            "only), listen-port to this port, and open TCP to it between balancer and node"
        ),
    ),
    "acl_rejected": (
        "apply-inbound-acl",
        (
            f"in {_EVENT_SOCKET} name a list of acl.conf.xml that allows this address; without the setting only "
            "loopback is admitted"
        ),
    ),
    "auth_failed": (
        "password",
        (
            f"make the password here and in {_EVENT_SOCKET} the same; a directory user also needs esl-allowed-events "
            "HEARTBEAT SHUTDOWN SHUTDOWN_REQUESTED and esl-allowed-api status fsctl"
        ),
    ),
    "silent": (
        "listen-port",
        (
            "something listens there and says nothing: check that the port is mod_event_socket's, and that no client "
            "of it has stopped reading, which freezes the node"
        ),
    ),
    "protocol_error": ("listen-port", "what answers is no Event Socket: give the port of mod_event_socket"),
    "closed": ("listen-port", "the other side hangs up: look into the node's log"),
    "reset": ("listen-port", "the other side hangs up: look into the node's log"),
}


def _unreached(seen: Observation, link: Link | None) -> Advice:
    state: LinkState = "silent" if link is None or link.state == "connecting" else link.state
    setting, change = _REMEDIES[state]
    return Advice("problem", setting, f"port {seen.port}: {link.detail if link else 'no answer'}", change)


def _password(*, shipped: bool) -> Advice:
    if shipped:
        change = f"set another in {_EVENT_SOCKET}: whoever reaches the port rules the node"
        return Advice("warning", "password", "it is the one that FreeSWITCH ships", change)
    return Advice("ok", "password", "accepted, and not the one that FreeSWITCH ships")


def _load(seen: Observation) -> Iterator[Advice]:
    if not seen.reports:
        yield Advice("problem", "max-sessions", "the node tells no load", "let this user run 'status' or get HEARTBEAT")
        return
    report = seen.reports[-1]
    usable = max(0, report.max_sessions - 1)
    found = f"{report.max_sessions}, of which {usable} can be used; {report.sessions} in use"
    if usable < seen.legs_per_call:
        change = f"in {_SWITCH} set at least {seen.legs_per_call + 1}: a call takes {seen.legs_per_call} sessions"
        yield Advice("problem", "max-sessions", found, change)
    elif report.max_sessions == SHIPPED_MAX_SESSIONS:
        change = f"{SHIPPED_MAX_SESSIONS} is what FreeSWITCH ships: in {_SWITCH} set what this machine can carry"
        yield Advice("warning", "max-sessions", found, change)
    else:
        yield Advice("ok", "max-sessions", found)
    rates = [report.sessions_per_second_limit for report in seen.reports if report.sessions_per_second_limit]
    if rates:
        yield _rate(rates[-1])


def _rate(limit: int) -> Advice:
    found = f"{limit}, of which {limit - 1} are admitted"
    if limit < 2:
        return Advice("problem", "sessions-per-second", found, f"in {_SWITCH} set at least 2: 1 admits nobody")
    if limit == SHIPPED_SESSIONS_PER_SECOND:
        change = f"{limit} is what FreeSWITCH ships: in {_SWITCH} set what this machine can start in a second"
        return Advice("warning", "sessions-per-second", found, change)
    return Advice("ok", "sessions-per-second", found)


def _heartbeat(seen: Observation, waited: float) -> Advice:
    beats = seen.heartbeats
    if not beats:
        change = f"in {_SWITCH} set event-heartbeat-interval to 1 (as shipped it is 20)"
        return Advice("warning", "event-heartbeat-interval", f"no heartbeat within {waited:.0f} s", change)
    if len(beats) < 2:
        return Advice("ok", "event-heartbeat-interval", f"a heartbeat within {waited:.0f} s")
    gap = (beats[-1].received - beats[0].received) / (len(beats) - 1)
    return Advice("ok", "event-heartbeat-interval", f"a heartbeat every {gap:.1f} s")


def _readiness(readiness: Readiness | None) -> Iterator[Advice]:
    if readiness is None:
        return
    if readiness.shutdown_requested:
        yield Advice("warning", "fsctl shutdown", "the node is shutting down", "fsctl shutdown cancel takes it back")
    elif readiness.paused_inbound:
        yield Advice("warning", "fsctl pause", "inbound calls are paused", "fsctl resume inbound lets them in again")
    elif not readiness.ready:
        yield Advice(
            "warning", "fsctl ready_check", "the node is not ready", "fsctl resume, or wait until it has booted"
        )
    if readiness.paused_inbound is None or readiness.shutdown_requested is None:
        change = "allow the user the api command fsctl"
        yield Advice("warning", "esl-allowed-api", "whether the node is paused or draining cannot be asked", change)
