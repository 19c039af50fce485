"""A caller that measures: places SIP calls over UDP, holds them and keeps account of each.

A small user agent of its own (RFC 3261 §17.1 client transactions over UDP, the dialog's route set of §12), so that
what stands between it and the nodes is measured from outside. It knows nothing of that but the address it calls.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

T1 = 0.5
TRANSACTION_TIMEOUT = 64 * T1

_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)
_CONTACT_HOST = re.compile(r"<sip:(?:[^@>]*@)?([^:;>]+)")


class Outcome(Enum):
    """How a call ended, as its caller saw it."""

    SET_UP = "being set up"
    ANSWERED = "answered"
    ENDED = "ended"
    FAILED = "failed"
    CUT = "its node was killed while it rang or stood"


@dataclass
class Call:
    """One call: its identity, what was measured, how it stands. Times are the event loop's, in seconds."""

    number: int
    call_id: str = field(default_factory=lambda: secrets.token_hex(8))
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    placed: float = 0.0
    heard: bool = False
    """A provisional response came: the INVITE is not repeated any more (RFC 3261 §17.1.1.2)."""
    ringing: float | None = None
    answered: bool = False
    outcome: Outcome = Outcome.SET_UP
    status: int | None = None
    node: str | None = None
    peer: str = ""
    target: str = ""
    routes: tuple[str, ...] = ()
    retransmissions: int = 0

    def was_cut(self) -> bool:
        """Its node was killed under it."""
        return self.outcome is Outcome.CUT

    @property
    def post_dial_delay(self) -> float | None:
        """Seconds from the INVITE to the first ringing or answer; None when there was neither."""
        return None if self.ringing is None else self.ringing - self.placed


@dataclass(frozen=True)
class Response:
    """What the caller reads of a response."""

    status: int
    call_id: str
    cseq: int
    method: str
    headers: dict[str, list[str]]

    @staticmethod
    def parse(data: bytes) -> Response | None:
        """The response in ``data``; None when it is none."""
        head = data.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
        if not head[0].startswith("SIP/2.0 "):
            return None
        headers: dict[str, list[str]] = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        cseq, method = headers["cseq"][0].split(maxsplit=1)
        return Response(int(head[0].split()[1]), headers["call-id"][0], int(cseq), method, headers)


def _node(response: Response) -> str | None:
    """The host in Contact: the node itself, since the balancer leaves Contact alone."""
    found = _CONTACT_HOST.search(response.headers.get("contact", [""])[0])
    return found[1] if found else None


class Caller(asyncio.DatagramProtocol):
    """Places calls to ``balancer`` and holds each for ``hold`` seconds."""

    def __init__(self, balancer: tuple[str, int], hold: float) -> None:
        self.calls: list[Call] = []
        self._balancer = balancer
        self._hold = hold
        self._open: dict[tuple[str, int], asyncio.Future[Response | None]] = {}
        self._by_id: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is bound."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        host, port = transport.get_extra_info("sockname")[:2]
        self._address = f"{host}:{port}"

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Sort a datagram to its call: a response to one of ours, or a BYE from the node."""
        response = Response.parse(data)
        if response is not None:
            self._on_response(response)
        elif data.startswith(b"BYE "):
            self._on_bye(data, (str(addr[0]), int(addr[1])))

    def place(self) -> Call:
        """Start one call; it goes on by itself to its end."""
        call = Call(len(self.calls) + 1)
        self.calls.append(call)
        self._by_id[call.call_id] = call
        task = asyncio.get_running_loop().create_task(self._run(call))
        self._tasks.add(task)
        return call

    async def finish(self) -> None:
        """Wait until every call has come to its end. Raises what broke the caller itself."""
        await asyncio.gather(*self._tasks)

    def node_killed(self, host: str) -> None:
        """Calls that stand on the node at ``host`` or ring there are cut by it, not failed by the balancer.

        A call that rings cannot be offered to another node: its caller has heard it ring (RFC 3261 §16.7 step 5).
        """
        for call in self.calls:
            if call.outcome in (Outcome.SET_UP, Outcome.ANSWERED) and call.node == host:
                call.outcome = Outcome.CUT
                future = self._open.get((call.call_id, 1))
                if future is not None and not future.done():
                    future.set_result(None)

    async def _run(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        call.placed = loop.time()
        final = await self._transaction(call, 1, self._invite(call), "INVITE")
        if call.was_cut():
            return
        call.status = final.status if final else 408
        if final is None or final.status >= 300:
            call.outcome = Outcome.FAILED
            return
        self._answered(call, final, loop.time())
        await asyncio.sleep(self._hold)
        if call.outcome is Outcome.ENDED:
            return
        bye = await self._transaction(call, 2, self._in_dialog(call, "BYE", 2), "BYE")
        if call.was_cut():
            return
        call.outcome = Outcome.ENDED if bye is not None and bye.status < 300 else Outcome.FAILED
        call.status = bye.status if bye else 408

    def _answered(self, call: Call, final: Response, now: float) -> None:
        call.outcome = Outcome.ANSWERED
        call.answered = True
        call.ringing = call.ringing or now
        call.peer = final.headers["to"][0]
        call.routes = tuple(
            route.strip() for line in final.headers.get("record-route", []) for route in line.split(",")
        )[::-1]
        contact = final.headers["contact"][0]
        call.target = contact[contact.index("<") + 1 : contact.index(">")]
        call.node = _node(final)
        self._send(self._in_dialog(call, "ACK", 1))

    async def _transaction(self, call: Call, cseq: int, request: str, method: str) -> Response | None:
        """Send ``request`` until it is answered; None on a time-out or when its node is gone.

        RFC 3261 §17.1.1.2 timers A and B, §17.1.2.2 timers E and F.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Response | None] = loop.create_future()
        self._open[call.call_id, cseq] = future
        deadline, wait, sent = loop.time() + TRANSACTION_TIMEOUT, T1, False
        try:
            while loop.time() < deadline:
                if not (method == "INVITE" and call.heard):
                    self._send(request)
                    call.retransmissions += sent
                    sent = True
                done, _ = await asyncio.wait({future}, timeout=min(wait, deadline - loop.time()))
                if done:
                    return future.result()
                wait = wait * 2 if method == "INVITE" else min(wait * 2, 4.0)
            return None
        finally:
            self._open.pop((call.call_id, cseq), None)

    def _on_response(self, response: Response) -> None:
        call = self._by_id.get(response.call_id)
        if call is None:
            return
        if response.status < 200:
            call.heard = True
            if response.status > 100 and call.ringing is None:
                call.ringing = asyncio.get_running_loop().time()
                call.node = _node(response)
            return
        if response.method == "INVITE":
            if response.status >= 300:
                self._send(self._ack_refusal(call, response))
            elif call.outcome is not Outcome.SET_UP:
                self._send(self._in_dialog(call, "ACK", 1))
        future = self._open.get((response.call_id, response.cseq))
        if future is not None and not future.done():
            future.set_result(response)

    def _on_bye(self, data: bytes, source: tuple[str, int]) -> None:
        head = data.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
        kept = [
            line
            for line in head[1:]
            if line.partition(":")[0].strip().lower() in {"via", "from", "to", "call-id", "cseq"}
        ]
        call_id = next(line.partition(":")[2].strip() for line in kept if line.lower().startswith("call-id"))
        call = self._by_id.get(call_id)
        if call is not None and call.outcome is Outcome.ANSWERED:
            call.outcome = Outcome.ENDED
        assert self._transport is not None
        self._transport.sendto("\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]).encode(), source)

    def _invite(self, call: Call) -> str:
        lines = [
            f"INVITE sip:service@{self._balancer[0]}:{self._balancer[1]} SIP/2.0",
            self._via(f"{call.call_id}1"),
            "Max-Forwards: 70",
            f"From: <sip:demo@{self._address}>;tag={call.tag}",
            f"To: <sip:service@{self._balancer[0]}>",
            f"Call-ID: {call.call_id}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:demo@{self._address}>",
            "Content-Type: application/sdp",
            f"Content-Length: {len(_SDP)}",
            "",
            _SDP,
        ]
        return "\r\n".join(lines)

    def _in_dialog(self, call: Call, method: str, cseq: int) -> str:
        lines = [
            f"{method} {call.target} SIP/2.0",
            self._via(f"{call.call_id}{method}"),
            *(f"Route: {route}" for route in call.routes),
            "Max-Forwards: 70",
            f"From: <sip:demo@{self._address}>;tag={call.tag}",
            f"To: {call.peer}",
            f"Call-ID: {call.call_id}",
            f"CSeq: {cseq} {method}",
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""])

    def _ack_refusal(self, call: Call, refusal: Response) -> str:
        """The ACK of a non-2xx final response repeats the INVITE's branch (RFC 3261 §17.1.1.3)."""
        lines = [
            f"ACK sip:service@{self._balancer[0]}:{self._balancer[1]} SIP/2.0",
            self._via(f"{call.call_id}1"),
            "Max-Forwards: 70",
            f"From: <sip:demo@{self._address}>;tag={call.tag}",
            f"To: {refusal.headers['to'][0]}",
            f"Call-ID: {call.call_id}",
            "CSeq: 1 ACK",
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""])

    def _via(self, branch: str) -> str:
        return f"Via: SIP/2.0/UDP {self._address};branch=z9hG4bK{branch};rport"

    def _send(self, text: str) -> None:
        assert self._transport is not None
        self._transport.sendto(text.encode(), self._balancer)
