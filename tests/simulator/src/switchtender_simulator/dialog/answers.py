"""The texts a FreeSWITCH sends: header order and wording as captured from 1.11.1, byte for byte where it matters.

Pure functions from a request to the bytes of a response. Which response is due is none of this module's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate

from switchtender_simulator.sip_message import Request, split_list, tag_of, uri_of

ALLOW = "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY\r\n"
SUPPORTED = "Supported: timer, path, replaces\r\n"
ACCEPT = "Accept: application/sdp\r\n"
ALLOW_EVENTS = "Allow-Events: talk, hold, conference, refer\r\n"
EMPTY = "Content-Length: 0\r\n"

SHORT = ALLOW + SUPPORTED  # answers within a dialog, REGISTER, methods that do not exist
PLAIN = SHORT + ALLOW_EVENTS  # 410, 487, OPTIONS in standby
FULL = ACCEPT + PLAIN  # everything else that answers an INVITE

NORMAL_CLEARING = 'Q.850;cause=16;text="NORMAL_CLEARING"'
SYSTEM_SHUTDOWN = 'SIP;cause=701;text="SYSTEM_SHUTDOWN"'
OUT_OF_ORDER = 'Q.850;cause=27;text="DESTINATION_OUT_OF_ORDER"'

_PHRASES = {
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone",
    415: "Unsupported Media Type", 420: "Bad Extension", 480: "Temporarily Unavailable",
    481: "Call Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete",
    485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Time-out", 513: "Message Too Large", 600: "Busy Everywhere", 603: "Decline",
    604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip
# What FreeSWITCH writes as the Reason of a failed call.
_CAUSES = {
    403: '21;text="CALL_REJECTED"', 404: '1;text="UNALLOCATED_NUMBER"', 408: '102;text="RECOVERY_ON_TIMER_EXPIRE"',
    410: '22;text="NUMBER_CHANGED"', 480: '19;text="NO_ANSWER"', 484: '28;text="INVALID_NUMBER_FORMAT"',
    486: '17;text="USER_BUSY"', 488: '88;text="INCOMPATIBLE_DESTINATION"', 502: '27;text="DESTINATION_OUT_OF_ORDER"',
    503: '41;text="NORMAL_TEMPORARY_FAILURE"', 600: '17;text="USER_BUSY"', 603: '21;text="CALL_REJECTED"',
    604: '1;text="NO_ROUTE_DESTINATION"',
}  # fmt: skip


def phrase_of(status: int) -> str:
    """The reason phrase of a status code."""
    return _PHRASES.get(status, "Unknown")


def cause_of(status: int) -> str:
    """The `Reason` header value of a call that the dial plan or the far end refused with `status`."""
    return "Q.850;cause=" + _CAUSES.get(status, '31;text="NORMAL_UNSPECIFIED"')


@dataclass(frozen=True, slots=True)
class Identity:
    """How a node writes itself: its SIP address and its switch name."""

    name: str
    host: str
    port: int

    @property
    def agent(self) -> str:
        """The User-Agent line."""
        return f"User-Agent: FreeSWITCH-{self.name}\r\n"

    @property
    def sent_by(self) -> str:
        """Via sent-by and default Contact host: as measured, without a port where it is 5060."""
        return self.host if self.port == 5060 else f"{self.host}:{self.port}"

    def contact(self, user: str) -> str:
        """The Contact line of a dialog."""
        return f"Contact: <sip:{user}@{self.host}:{self.port};transport=udp>\r\n"


def _with_tag(to: str, tag: str) -> str:
    return to if tag_of(to) else f"{to};tag={tag}"


def _prelude(status: str, request: Request, to: str, *, record_route: bool) -> str:
    text = f"SIP/2.0 {status}\r\nVia: " + "\r\nVia: ".join(request.vias) + "\r\n"
    if record_route and (routes := request.headers.get("record-route")):
        text += "Record-Route: " + "\r\nRecord-Route: ".join(routes) + "\r\n"
    return (
        f"{text}From: {request.from_}\r\nTo: {to}\r\nCall-ID: {request.call_id}\r\n"
        f"CSeq: {request.cseq} {request.method}\r\n"
    )


def trying(request: Request, identity: Identity) -> bytes:
    """100: only the topmost Via, no tag."""
    top = request.vias[0].partition(",")[0]
    return (
        f"SIP/2.0 100 Trying\r\nVia: {top}\r\nFrom: {request.from_}\r\nTo: {request.to}\r\n"
        f"Call-ID: {request.call_id}\r\nCSeq: {request.cseq} INVITE\r\n{identity.agent}{EMPTY}\r\n"
    ).encode("latin-1")


def _party(request: Request) -> str:
    """The Remote-Party-ID line that FreeSWITCH adds after Content-Length."""
    user = request.user
    _, at, rest = uri_of(request.to).partition("@")
    host = rest.partition(";")[0] if at else uri_of(request.to).partition(":")[2]
    return f'Remote-Party-ID: "{user}" <sip:{user}@{host}>;party=calling;privacy=off;screen=no\r\n'


def progress(status: str, request: Request, identity: Identity, tag: str, sdp: str = "") -> bytes:
    """180, 183 and the 200 of an INVITE: Record-Route copied in order, SDP when there is one."""
    head = _prelude(status, request, _with_tag(request.to, tag), record_route=True)
    if sdp:
        body = f"Content-Type: application/sdp\r\nContent-Disposition: session\r\nContent-Length: {len(sdp)}\r\n"
    else:
        body = EMPTY
    text = f"{head}{identity.contact(request.user)}{identity.agent}{FULL}{body}{_party(request)}\r\n{sdp}"
    return text.encode("latin-1")


def simple(
    status: str, request: Request, identity: Identity, tag: str, *, features: str = SHORT, extra: str = "",
    before_agent: str = "", record_route: bool = False,
) -> bytes:  # fmt: skip
    """A response without a body: prelude, `before_agent` lines, User-Agent, `features`, `extra`, Content-Length."""
    head = _prelude(status, request, _with_tag(request.to, tag), record_route=record_route)
    return f"{head}{before_agent}{identity.agent}{features}{extra}{EMPTY}\r\n".encode("latin-1")


def busy(request: Request, identity: Identity, tag: str) -> bytes:
    """FreeSWITCH's own refusal, whatever the cause: no 100 before it, no Reason, no Record-Route."""
    return simple(
        "503 Maximum Calls In Progress", request, identity, tag, features=FULL, before_agent="Retry-After: 300\r\n"
    )


def standby(request: Request, identity: Identity, tag: str) -> bytes:
    """`sofia global standby on`."""
    features = FULL if request.method == "INVITE" else PLAIN
    return simple("503 System Paused", request, identity, tag, features=features)


def gone(request: Request, identity: Identity, tag: str) -> bytes:
    """What everybody gets while the profile is torn down."""
    return simple("410 Gone", request, identity, tag, features=PLAIN)


def options_ok(request: Request, identity: Identity, tag: str) -> bytes:
    """OPTIONS outside of a dialog; Record-Route is copied."""
    contact = f"Contact: <sip:{identity.sent_by}>\r\n"
    return simple("200 OK", request, identity, tag, features=FULL, before_agent=contact, record_route=True)


def cancelled(request: Request, tag: str) -> bytes:
    """200 to a CANCEL: the one response without User-Agent."""
    head = _prelude("200 OK", request, _with_tag(request.to, tag), record_route=False)
    return f"{head}{EMPTY}\r\n".encode("latin-1")


def failed(status: int, request: Request, identity: Identity, tag: str, *, reason: str) -> bytes:
    """A call that the dial plan or the far end refused, after a 100: with Reason, without Retry-After.

    As captured: Max-Forwards comes along from the request, Remote-Party-ID stands after Content-Length.
    """
    head = _prelude(f"{status} {phrase_of(status)}", request, _with_tag(request.to, tag), record_route=False)
    via_end = head.index("From: ")
    hops = f"Max-Forwards: {request.first('max-forwards', '70')}\r\n"
    contact = identity.contact(request.user) if status < 400 else ""
    return (
        f"{head[:via_end]}{hops}{head[via_end:]}{contact}{identity.agent}{FULL}Reason: {reason}\r\n{EMPTY}"
        f"{_party(request)}\r\n"
    ).encode("latin-1")


def registered(request: Request, identity: Identity, tag: str) -> bytes:
    """REGISTER 200: the contacts with their lifetime, Path is not echoed."""
    default = request.first("expires", "3600")
    lines = "".join(
        f"Contact: {value if ';expires=' in value else f'{value};expires={default}'}\r\n"
        for value in split_list(request.headers.get("contact", []))
        if value != "*"
    )
    date = f"Date: {formatdate(usegmt=True)}\r\n"
    return simple("200 OK", request, identity, tag, before_agent=lines + date)


def session_description(identity: Identity, session: int, rtp_port: int) -> str:
    """The SDP of an answer: PCMU and telephone events, as captured."""
    return (
        f"v=0\r\no=FreeSWITCH {session} {session + 1} IN IP4 {identity.host}\r\ns=FreeSWITCH\r\n"
        f"c=IN IP4 {identity.host}\r\nt=0 0\r\nm=audio {rtp_port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
    )
