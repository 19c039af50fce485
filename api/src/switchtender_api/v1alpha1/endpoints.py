"""Where something is reached: host and port, SIP URIs of nodes, fs:// URLs of Event Sockets.

A password lives in an EslUrl as a SecretStr; no text, error or dump made here ever holds it, save EslUrl.reveal().
Knows no document; resolves no name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import SecretStr

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.cel import UNJUDGED
from switchtender_api.v1alpha1.units import IpAddress, Parsed, Text

Transport = Literal["UDP", "TCP"]

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_HOST_ACCEPTED = "an IPv4 address, an IPv6 address (in brackets within a URI) or a host name"
_WIRE_BREAKERS = frozenset("\r\n\0")


def parse_host(text: str) -> str:
    """Return a host in its one spelling: an IP address without brackets, or a host name in lower case.

    Host names are RFC 1123's; one whose last label is a number is refused, for it is a mistyped address.
    Raises Refusal, whose message does not repeat the text (it may hold a misplaced password).
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is not None:
        if "%" in text:
            raise Refusal("a zone is not accepted in an address", accepted=_HOST_ACCEPTED)
        return str(address)
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise Refusal("the host is neither an IP address nor a host name", accepted=_HOST_ACCEPTED)
    return name


def host_address(host: str) -> IpAddress | None:
    """Return the address that a host is, None for a host name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def parse_endpoint(text: str) -> tuple[str, int | None]:
    """Return host and port of "host", "host:port", "[v6]" or "[v6]:port"; the port is None where none stands.

    Raises Refusal, whose message does not repeat the text.
    """
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        host = parse_host(inside)
        if not bracket or ":" not in host:
            raise Refusal("brackets hold an IPv6 address and nothing else", accepted=_HOST_ACCEPTED)
        if rest and not rest.startswith(":"):
            raise Refusal("only a port may follow the bracket", accepted=_HOST_ACCEPTED)
        port = rest[1:] if rest else None
    else:
        if text.count(":") > 1:
            raise Refusal("an IPv6 address stands in brackets here", accepted="such as [2001:db8::1]:5060")
        name, colon, digits = text.partition(":")
        host = parse_host(name)
        port = digits if colon else None
    if port is None:
        return host, None
    if re.fullmatch(r"[0-9]{1,5}", port) is None or not 1 <= int(port) <= 65535:
        raise Refusal("the port is out of range", accepted="a port from 1 to 65535")
    return host, int(port)


def format_endpoint(host: str, port: int | None) -> str:
    """Return "host:port" with brackets around an IPv6 address; without the port where it is None."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host (address without brackets, or name) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_endpoint(self.host, self.port)


def parse_full_endpoint(text: str) -> Endpoint:
    """Return the endpoint that "host:port" names; the port must stand. Raises Refusal."""
    host, port = parse_endpoint(text)
    if port is None:
        raise Refusal("the port is missing", accepted="host:port, such as 10.0.0.6:8080")
    return Endpoint(host, port)


def parse_advertised_host(text: str) -> str:
    """Return a host that may stand in a header: any but a wildcard or multicast address. Raises Refusal."""
    return _reachable(parse_host(text))


def _reachable(host: str) -> str:
    address = host_address(host)
    if address is not None and (address.is_unspecified or address.is_multicast):
        raise Refusal("nobody can be reached at this address", accepted="the address or name of one host")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        raise Refusal("an IPv4 address within an IPv6 one", accepted="the IPv4 address itself")
    return host


@dataclass(frozen=True, slots=True)
class SipUri:
    """Where a node takes SIP: host, and port and transport where the URI names them."""

    host: str
    port: int | None = None
    transport: Transport | None = None

    def __str__(self) -> str:
        parameter = f";transport={self.transport.lower()}" if self.transport else ""
        return f"sip:{format_endpoint(self.host, self.port)}{parameter}"


def parse_sip_uri(text: str) -> SipUri:
    """Return the node address that `sip:host[:port][;transport=udp|tcp]` names.

    A subset of RFC 3261 §19.1: a node's address has no user part, no headers and no other parameter. Raises Refusal.
    """
    accepted = "sip:host[:port][;transport=udp|tcp], such as sip:192.0.2.7 or sip:[2001:db8::7]:5080"
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() != "sip":
        reason = "TLS is not built" if scheme.lower() == "sips" else "not a sip URI"
        raise Refusal(reason, accepted=accepted)
    if "@" in rest:
        raise Refusal("a node's address has no user part", accepted=accepted)
    if "?" in rest:
        raise Refusal("a node's address has no headers", accepted=accepted)
    authority, *parameters = rest.split(";")
    host, port = parse_endpoint(authority)
    transport: Transport | None = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        known: dict[str, Transport] = {"udp": "UDP", "tcp": "TCP"}
        if name.lower() != "transport" or value.lower() not in known or transport is not None:
            raise Refusal("the only parameter is transport, once", accepted=accepted)
        transport = known[value.lower()]
    return SipUri(_reachable(host), port, transport)


@dataclass(frozen=True, slots=True)
class EslUrl:
    """Where a node's Event Socket is, and the credentials, where the URL names them.

    `user` None means FreeSWITCH's `auth`, else `userauth` (written user@domain); `password` None means that
    the group's passwordFrom gives it; `port` None means the group's ESL port.
    """

    host: str
    port: int | None = None
    user: str | None = None
    password: SecretStr | None = None

    def __str__(self) -> str:
        return self._text("********")

    def reveal(self) -> str:
        """Return the URL whole, the password percent-encoded: never for a log or a dump."""
        return self._text(quote(self.password.get_secret_value(), safe="") if self.password else "")

    def _text(self, password: str) -> str:
        user = quote(self.user or "", safe="")
        secret = f":{password}" if self.password else ""
        at = "@" if user or secret else ""
        return f"fs://{user}{secret}{at}{format_endpoint(self.host, self.port)}"


_ESL_ACCEPTED = "fs://[user]:password@host[:port], special characters of user and password as %XX"


def parse_esl_url(text: str) -> EslUrl:
    """Return the Event Socket that `fs://[[user][:password]@]host[:port]` names.

    OpenSIPS' spelling, with RFC 3986 percent-encoding (UTF-8) in user and password and IPv6 literals beside. The
    first colon ends the user, so further ones in a password need no encoding; a second @ does. Raises Refusal, whose
    message repeats no part of the text.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or scheme != "fs":
        raise Refusal("not an fs:// URL", accepted=_ESL_ACCEPTED)
    credentials, at, authority = rest.rpartition("@")
    if "@" in credentials:
        raise Refusal("a @ in the user or password is written %40", accepted=_ESL_ACCEPTED)
    if "?" in authority or "/" in authority:
        raise Refusal("nothing follows host and port", accepted=_ESL_ACCEPTED)
    try:
        host, port = parse_endpoint(authority)
        _reachable(host)
    except Refusal as refusal:
        hint = "" if at else "; is the @ after the password missing?"
        raise Refusal(refusal.message + hint, accepted=_ESL_ACCEPTED) from None
    user, colon, password = credentials.partition(":")
    if at and not colon and not user:
        raise Refusal("nothing stands before the @", accepted=_ESL_ACCEPTED)
    return EslUrl(
        host,
        port,
        _decode_user(user) if user else None,
        parse_password(_decode(password)) if colon else None,
    )


def parse_password(text: str) -> SecretStr:
    """Return an Event Socket password; an empty one, or one that would break the line it is sent in, is refused.

    Raises Refusal, whose message does not repeat the text.
    """
    if not text:
        raise Refusal("the password is empty", accepted=_ESL_ACCEPTED)
    if _WIRE_BREAKERS & set(text):
        raise Refusal("the password holds a line break or NUL", accepted="a password of one line")
    return SecretStr(text)


def parse_esl_user(text: str) -> str:
    """Return a user of `userauth`: one line without a colon, which would end the user there. Raises Refusal."""
    if not text or _WIRE_BREAKERS & set(text) or ":" in text:
        raise Refusal("the user is empty or holds a colon, a line break or NUL", accepted="user or user@domain")
    return text


def _decode_user(text: str) -> str:
    return parse_esl_user(_decode(text))


def _decode(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise Refusal("a % begins two hexadecimal digits; % itself is written %25", accepted=_ESL_ACCEPTED)
    try:
        encoded = text.encode()
        return re.sub(rb"%(..)", lambda match: bytes([int(match[1], 16)]), encoded, flags=re.DOTALL).decode()
    except UnicodeError:
        raise Refusal("the percent-encoded bytes are not UTF-8", accepted=_ESL_ACCEPTED) from None


_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?"
NODE_URI = f"^[Ss][Ii][Pp]:{_HOST}(;[Tt][Rr][Aa][Nn][Ss][Pp][Oo][Rr][Tt]=([Uu][Dd][Pp]|[Tt][Cc][Pp]))?$"
"""What a node's URI is, as far as a pattern can say."""

ESL_WITHOUT_PASSWORD = f"^fs://([^@:]+@)?{_HOST}$"
"""What an Event Socket's URL is in Kubernetes, where a password never stands in a document."""

PROBE_FROM = r"^[Ss][Ii][Pp]:([A-Za-z0-9_.!~*()&=+$,;?/%-]+@)?" + _HOST + "$"
"""What a URI in From of our own requests is: a user part or none, no parameters."""

RequestHost = Annotated[str, Parsed((str,), parse_host, _HOST_ACCEPTED)]
ProbeFrom = Annotated[str, Text(PROBE_FROM, "sip:[user@]host[:port]", 300)]
AdvertisedHost = Annotated[str, Parsed((str,), parse_advertised_host, _HOST_ACCEPTED)]
HostPort = Annotated[Endpoint, Parsed((Endpoint,), parse_full_endpoint, "host:port, such as 10.0.0.6:8080")]
NodeUri = Annotated[
    SipUri,
    Parsed(
        (SipUri,),
        parse_sip_uri,
        "sip:host[:port][;transport=udp|tcp]",
        longest=300,
        schema={"pattern": "^[Ss][Ii][Pp]:", **UNJUDGED},
    ),
]
EslLocation = Annotated[
    EslUrl, Parsed((EslUrl,), parse_esl_url, _ESL_ACCEPTED, longest=512, schema={"pattern": "^fs://", **UNJUDGED})
]
EslUser = Annotated[
    str, Parsed((str,), parse_esl_user, "user or user@domain", rule=r"self.matches(r'^[^:\r\n\x00]+$')")
]
