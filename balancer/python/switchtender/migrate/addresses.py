"""OpenSIPS' addresses to ours: destination URIs, and fs:// URLs as OpenSIPS reads them.

Its fs:// is not quite ours: nothing is percent-decoded there, the first @ ends the credentials, and events or a path
may follow. No text made here holds a password. Pure; resolves no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from switchtender_api.constants import DEFAULT_ESL_PORT, DEFAULT_SIP_PORT
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.endpoints import (
    EslUrl,
    SipUri,
    Transport,
    format_endpoint,
    parse_endpoint,
    parse_esl_user,
    parse_password,
    parse_sip_uri,
)

SCHEME = "fs://"
_TRANSPORTS: Mapping[str, Transport] = {"udp": "UDP", "tcp": "TCP"}


@dataclass(frozen=True, slots=True)
class Destination:
    """A node's SIP address, and what of the URI was left away."""

    uri: SipUri
    dropped: tuple[str, ...] = ()

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port, whatever the transport: what tells nodes apart."""
        return self.uri.host, self.uri.port or DEFAULT_SIP_PORT


def destination(text: str) -> Destination:
    """The node that a destination URI names. Raises Refusal, whose message does not repeat the text.

    User part, headers and parameters besides the transport are dropped, as OpenSIPS drops them for routing.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in {"sip", "sips"}:
        raise Refusal("the destination is not a SIP URI")
    if scheme.lower() == "sips":
        raise Refusal("nodes are reached over UDP or TCP, not over TLS")
    dropped = []
    rest, mark, _ = rest.partition("?")
    if mark:
        dropped.append("headers")
    user, at, rest = rest.rpartition("@")
    if at:
        dropped.append("password" if ":" in user else "user part")
    authority, *parameters = rest.split(";")
    transport: Transport | None = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "transport":
            dropped.append(f"parameter {name.strip()}" if re.fullmatch(r"\s*[\w.-]{1,30}\s*", name) else "a parameter")
            continue
        transport = _TRANSPORTS.get(value.strip().lower())
        if transport is None:
            raise Refusal("nodes are reached over UDP or TCP, not over another transport")
    host, port = parse_endpoint(authority.strip())
    uri = SipUri(host, port, transport)
    return Destination(parse_sip_uri(str(uri)), tuple(dropped))


@dataclass(frozen=True, slots=True)
class EventSocket:
    """What one fs:// URL says; ``password`` is None where it names none."""

    host: str
    port: int
    user: str | None = None
    password: SecretStr | None = field(default=None, repr=False)
    dropped: tuple[str, ...] = ()

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port: what tells Event Sockets apart."""
        return self.host, self.port


def event_socket(text: str) -> EventSocket:
    """What an fs:// URL means to OpenSIPS. Raises Refusal, whose message does not repeat the text.

    `[fs://][[user][:password]@]host[:port][/…][?EVENTS]`: the first @ ends the credentials, the first colon in them
    ends the user; neither is percent-decoded. IPv6 literals, which OpenSIPS cannot read, are accepted in brackets.
    """
    rest = text.removeprefix(SCHEME)
    credentials, at, location = rest.partition("@")
    if not at:
        credentials, location = "", rest
    dropped = []
    location, mark, _ = location.partition("?")
    if mark:
        dropped.append("list of events")
    location, slash, _ = location.partition("/")
    if slash:
        dropped.append("path")
    if "," in location:
        raise Refusal("several hosts in one fs:// URL")
    host, port = parse_endpoint(location)
    user, colon, password = credentials.partition(":")
    return EventSocket(
        host,
        port or DEFAULT_ESL_PORT,
        parse_esl_user(user) if user else None,
        parse_password(password) if colon and password else None,
        tuple(dropped),
    )


@dataclass(frozen=True, slots=True)
class Pool:
    """What all rows together say of the boxes: the Event Socket of a box, and its login.

    A box is one node whatever tables and groups name it, so an Event Socket belongs to one SIP address: the first on
    its own host, else the first that names it; and the other way round.
    """

    logins: Mapping[tuple[str, int], EventSocket]
    sockets: Mapping[tuple[str, int], tuple[str, int]]
    contested: tuple[str, ...] = ()
    """Event Sockets for which rows name different passwords."""

    def load(self, node: tuple[str, int]) -> EslUrl | None:
        """Where the node at this SIP address reports its load; None where no row knows a socket and password."""
        where = self.sockets.get(node)
        login = self.logins.get(where) if where is not None else None
        if login is None or login.password is None:
            return None
        port = None if login.port == DEFAULT_ESL_PORT else login.port
        return EslUrl(login.host, port, login.user, login.password)


def pool(pairs: Iterable[tuple[Destination, EventSocket]]) -> Pool:
    """What these pairs of a destination and its Event Socket say together.

    As in OpenSIPS, a later URL of the same host and port replaces the login; its password only where it has one.
    """
    logins: dict[tuple[str, int], EventSocket] = {}
    sockets: dict[tuple[str, int], tuple[str, int]] = {}
    contested: dict[str, None] = {}
    named = list(pairs)
    for _, socket in named:
        known = logins.get(socket.endpoint)
        if known is not None and socket.password not in {None, known.password}:
            contested[format_endpoint(*socket.endpoint)] = None
        password = socket.password or (known.password if known else None)
        logins[socket.endpoint] = EventSocket(socket.host, socket.port, socket.user, password)
    owned: set[tuple[str, int]] = set()
    for node, socket in sorted(named, key=lambda pair: pair[0].uri.host != pair[1].host):
        if node.endpoint not in sockets and socket.endpoint not in owned:
            sockets[node.endpoint] = socket.endpoint
            owned.add(socket.endpoint)
    return Pool(logins, sockets, tuple(contested))
