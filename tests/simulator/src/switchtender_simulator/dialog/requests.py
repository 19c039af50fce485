"""Requests that a node sends within a dialog (BYE, re-INVITE), each a client transaction of RFC 3261 §17.1."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from switchtender_simulator.dialog.answers import SHORT, Identity
from switchtender_simulator.sip_message import Address, Request, Response, host_port, split_list, tag_of, uri_of
from switchtender_simulator.timers import Timer, Timers

T2 = 4.0


@dataclass(slots=True, eq=False)
class Pending:
    """One request without a final response."""

    data: bytes
    destination: Address
    method: str
    interval: float
    give_up: float
    done: Callable[[Response | None, float], None]
    timer: Timer | None = None


class Requester:
    """Sends in-dialog requests and repeats them until a final response or 64*T1 (Timers A/B and E/F)."""

    def __init__(
        self,
        *,
        identity: Identity,
        timers: Timers,
        send: Callable[[bytes, Address], None],
        t1: float,
        token: Callable[[], str],
    ) -> None:
        self._identity = identity
        self._timers = timers
        self._send = send
        self._t1 = t1
        self._token = token
        self._pending: dict[str, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def send(
        self, invite: Request, tag: str, method: str, cseq: int, now: float, *,
        done: Callable[[Response | None, float], None], extra: str = "", body: str = "",
    ) -> None:  # fmt: skip
        """Send `method` to the caller of `invite`; `done` gets the final response, or None after 64*T1."""
        branch = f"z9hG4bK{self._token()}"
        data, destination = self.build(invite, tag, method, cseq, branch, extra=extra, body=body)
        pending = Pending(data, destination, method, self._t1, now + 64 * self._t1, done)
        self._pending[branch] = pending
        self._send(data, destination)
        pending.timer = self._timers.at(now + self._t1, partial(self._repeat, branch))

    def build(
        self, invite: Request, tag: str, method: str, cseq: int, branch: str, *, extra: str = "", body: str = ""
    ) -> tuple[bytes, Address]:
        """The request as captured from FreeSWITCH, and where it goes: the top Record-Route, else the Contact."""
        identity = self._identity
        routes = split_list(invite.headers.get("record-route", []))
        target = uri_of(invite.first("contact", invite.from_))
        route_lines = "".join(f"Route: {route}\r\n" for route in routes)
        own = invite.to if tag_of(invite.to) else f"{invite.to};tag={tag}"
        tail = f"{extra}Content-Length: {len(body)}\r\n"
        if method != "ACK":
            contact = identity.contact(invite.user) if method == "INVITE" else ""
            tail = f"{contact}{identity.agent}{SHORT}{tail}"
        text = (
            f"{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {identity.sent_by};rport;branch={branch}\r\n{route_lines}"
            f"Max-Forwards: 70\r\nFrom: {own}\r\nTo: {invite.from_}\r\nCall-ID: {invite.call_id}\r\n"
            f"CSeq: {cseq} {method}\r\n{tail}\r\n{body}"
        )
        return text.encode("latin-1"), _destination(uri_of(routes[0]) if routes else target) or invite.source

    def acknowledge(self, invite: Request, tag: str, cseq: int) -> None:
        """ACK the 200 of a re-INVITE."""
        self._send(*self.build(invite, tag, "ACK", cseq, f"z9hG4bK{self._token()}"))

    def _repeat(self, branch: str, now: float) -> None:
        pending = self._pending.get(branch)
        if pending is None:
            return
        if now >= pending.give_up:
            del self._pending[branch]
            pending.done(None, now)
            return
        self._send(pending.data, pending.destination)
        pending.interval = 2 * pending.interval if pending.method == "INVITE" else min(2 * pending.interval, T2)
        pending.timer = self._timers.at(min(now + pending.interval, pending.give_up), partial(self._repeat, branch))

    def receive(self, response: Response, now: float) -> bool:
        """A response came; False when it belongs to nothing."""
        pending = self._pending.get(response.branch)
        if pending is None or pending.method != response.method:
            return False
        if response.status >= 200:
            del self._pending[response.branch]
            if pending.timer is not None:
                pending.timer.cancel()
            pending.done(response, now)
        return True


def _destination(uri: str) -> Address | None:
    """Where a URI points; None when the host is a name: the simulator asks no DNS."""
    address = host_port(uri)
    if address is None:
        return None
    try:
        ipaddress.ip_address(address[0].strip("[]"))
    except ValueError:
        return None
    return address[0].strip("[]"), address[1]
