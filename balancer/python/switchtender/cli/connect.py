"""``switchtender check --connect``: log in to the nodes and say what to change in their settings.

The one part of ``check`` that opens connections. It listens for a few seconds and sends nothing but what the balancer
sends itself, and one OPTIONS where the node's SIP address is known.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from switchtender.config.plan import EslTarget, Plan
from switchtender.drivers.esl.advice import SHIPPED_PASSWORD, Advice, Observation, advise
from switchtender.drivers.esl.driver import EslDriver
from switchtender.drivers.esl.wire import Credentials
from switchtender_api.constants import DEFAULT_ESL_PORT
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.endpoints import format_endpoint, parse_esl_url, parse_password

_AT_ONCE = 64
"""Nodes that are asked at the same time."""

_LOOK = 0.05
_OPTIONS_TIMEOUT = 2.0

PASSWORD_VARIABLE = "ESL_PASSWORD"  # noqa: S105 - the name of a variable
"""Where the password of ``--node`` comes from when its URL holds none: an argument can be seen by every process."""


class NoPasswordError(Exception):
    """A node was named without a password, and the environment holds none."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node to be checked; ``sip`` is None where only its Event Socket is known."""

    name: str
    esl: EslTarget
    legs_per_call: int = 1
    sip: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A node and what was found."""

    node: Node
    advice: tuple[Advice, ...]

    @property
    def problem(self) -> bool:
        """Whether the node cannot be used as it stands."""
        return any(entry.level == "problem" for entry in self.advice)

    def as_dict(self) -> dict[str, object]:
        """As JSON; no password is in it."""
        return {
            "node": self.node.name,
            "esl": format_endpoint(self.node.esl.host, self.node.esl.port),
            "sip": None if self.node.sip is None else format_endpoint(*self.node.sip),
            "usable": not self.problem,
            "findings": [entry.as_dict() for entry in self.advice],
        }


def nodes_of(plan: Plan) -> list[Node]:
    """The nodes of a configuration that have an Event Socket, each once."""
    found: dict[tuple[str, int], Node] = {}
    for entry in plan.groups:
        for member in entry.members:
            target = plan.esl.get(member.uid)
            if target is not None:
                name = f"{entry.group.key}/{member.name}"
                sip = (member.addresses[0], member.sip.port) if member.sip.transport == "UDP" else None
                node = Node(name, target, entry.group.spec.capacity.legs_per_call, sip)
                found.setdefault((target.host, target.port), node)
    return list(found.values())


def node_at(url: str, environ: Mapping[str, str]) -> Node:
    """The node behind an ``fs://`` URL. Raises Refusal for a bad URL or password, NoPasswordError."""
    where = parse_esl_url(url)
    given = environ.get(PASSWORD_VARIABLE)
    password = where.password or (parse_password(given) if given else None)
    if password is None:
        raise NoPasswordError(f"no password for {where}: write fs://:PASSWORD@host, or set {PASSWORD_VARIABLE}")
    port = where.port or DEFAULT_ESL_PORT
    return Node(format_endpoint(where.host, port), EslTarget(where.host, port, where.user, password))


async def verdicts(nodes: Iterable[Node], wait: float) -> list[Verdict]:
    """Ask all nodes, for at most ``wait`` seconds each; in the order given."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(node: Node) -> Verdict:
        async with turns:
            watched, answered = await asyncio.gather(_watch(node, wait), _options(node))
            return Verdict(node, (*watched, *answered))

    return list(await asyncio.gather(*(one(node) for node in nodes)))


async def _watch(node: Node, wait: float) -> list[Advice]:
    """Be logged in until two heartbeats came, the connection failed or the time is over."""
    esl = node.esl
    password = "" if esl.password is None else esl.password.get_secret_value()
    seen = Observation(esl.port, password == SHIPPED_PASSWORD, node.legs_per_call)
    driver = EslDriver(esl.host, esl.port, Credentials(password, esl.user), seen.take, node=node.name)
    watching = asyncio.ensure_future(driver.run())
    until = time.monotonic() + wait
    while time.monotonic() < until and len(seen.heartbeats) < 2 and not seen.failed:
        await asyncio.wait([watching], timeout=_LOOK)
    advice = advise(seen, wait)
    watching.cancel()
    await asyncio.wait([watching])
    return advice


class _Answer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Keep the status line of the first answer."""
        if not self.first.done():
            line = data.partition(b"\r\n")[0].decode("utf-8", "replace")
            self.first.set_result("".join(character if character.isprintable() else "?" for character in line[:100]))

    def error_received(self, exc: Exception) -> None:
        """The port is closed."""
        if not self.first.done():
            self.first.set_exception(exc)


async def _options(node: Node) -> list[Advice]:
    """What the node says to an OPTIONS; nothing where its SIP address is not known."""
    if node.sip is None:
        return []
    endpoint = format_endpoint(*node.sip)
    setting = "sip-ip, sip-port"
    change = "give the address and port of a sofia profile that takes calls, and open UDP to it"
    try:
        transport, answer = await asyncio.get_running_loop().create_datagram_endpoint(_Answer, remote_addr=node.sip)
    except OSError as error:
        return [Advice("problem", setting, f"{endpoint}: {error.strerror or error}", change)]
    try:
        host, port = transport.get_extra_info("sockname")[:2]
        transport.sendto(_request(format_endpoint(host, port), endpoint))
        status = await asyncio.wait_for(asyncio.shield(answer.first), _OPTIONS_TIMEOUT)
    except TimeoutError:
        return [Advice("problem", setting, f"no answer to OPTIONS from {endpoint} over UDP", change)]
    except OSError as error:
        return [Advice("problem", setting, f"{endpoint}: {error.strerror or error}", change)]
    finally:
        transport.close()
    if not status.startswith("SIP/2.0 "):
        return [Advice("problem", setting, f"what answers at {endpoint} is not SIP: {status}", change)]
    return [Advice("ok", setting, f"OPTIONS to {endpoint}: {status.removeprefix('SIP/2.0 ')}")]


def _request(local: str, remote: str) -> bytes:
    """An OPTIONS outside of dialogs (RFC 3261 §11)."""
    branch, tag, call = (secrets.token_hex(8) for _ in range(3))
    return (
        f"OPTIONS sip:{remote} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {local};rport;branch=z9hG4bK{branch}\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:switchtender@{local}>;tag={tag}\r\n"
        f"To: <sip:{remote}>\r\n"
        f"Call-ID: {call}\r\n"
        "CSeq: 1 OPTIONS\r\n"
        f"Contact: <sip:switchtender@{local}>\r\n"
        "Accept: application/sdp\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


def findings(found: Iterable[Verdict]) -> RenderableType:
    """The findings for people: each node, its settings, and below each what to change."""
    lines = Text()
    for verdict in found:
        lines.append(f"{verdict.node.name}\n", style="bold")
        for entry in verdict.advice:
            lines.append(f"  {entry.level:<8}", style=_COLORS[entry.level])
            lines.append(f"{entry.setting}: {entry.found}\n")
            if entry.change:
                lines.append(f"          {entry.change}\n", style="italic")
    lines.rstrip()
    return lines


__all__ = ["NoPasswordError", "Node", "Refusal", "Verdict", "findings", "node_at", "nodes_of", "verdicts"]
