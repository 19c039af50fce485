"""``switchtender check --connect``: log in to the nodes and say what to change in their settings.

The one part of ``check`` that opens connections. It listens for a few seconds and sends nothing but what the balancer
sends itself, `sofia status`, and one OPTIONS where the node's SIP address is known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from switchtender.config.plan import EslTarget, Plan
from switchtender.drivers.dns.names import Name, NotFoundError
from switchtender.drivers.dns.names import Target as Place
from switchtender.drivers.esl import profiles
from switchtender.drivers.esl.advice import SHIPPED_PASSWORD, Advice, Observation, advise
from switchtender.drivers.esl.ask import AskError, ask
from switchtender.drivers.esl.driver import EslDriver
from switchtender.drivers.esl.wire import Credentials
from switchtender.drivers.options.agenda import Target
from switchtender.drivers.options.prober import Prober
from switchtender.drivers.reports import Probe
from switchtender_api.constants import DEFAULT_ESL_PORT
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.endpoints import format_endpoint, host_address, parse_esl_url, parse_password

_AT_ONCE = 64
"""Nodes that are asked at the same time."""

_LOOK = 0.05
_OPTIONS_TIMEOUT = 2.0
_ASK_TIMEOUT = 5.0
_ANY = {False: "0.0.0.0", True: "::"}
"""The wildcard of IPv4, and that of IPv6."""

PASSWORD_VARIABLE = "ESL_PASSWORD"  # noqa: S105 - the name of a variable
"""Where the password of ``--node`` comes from when its URL holds none: an argument can be seen by every process."""


class NoPasswordError(Exception):
    """A node was named without a password, and the environment holds none."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node to be checked; ``sip`` is None where only its Event Socket is known. ``advertised``: the hosts by which
    callers know the balancer.
    """

    name: str
    esl: EslTarget
    legs_per_call: int = 1
    sip: Name | None = None
    advertised: tuple[str, ...] = ()


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
            "sip": None if self.node.sip is None else format_endpoint(self.node.sip.host, self.node.sip.port),
            "usable": not self.problem,
            "findings": [entry.as_dict() for entry in self.advice],
        }


def nodes_of(plan: Plan) -> list[Node]:
    """The nodes of a configuration that have an Event Socket, each once."""
    found: dict[tuple[str, int], Node] = {}
    listeners = plan.documents.config.spec.listeners
    advertised = tuple(entry.advertise.host if entry.advertise else str(entry.address) for entry in listeners)
    for entry in plan.groups:
        for member in entry.members:
            target = plan.esl.get(member.uid)
            if target is not None:
                name = f"{entry.group.key}/{member.name}"
                sip = Name(member.addresses[0], member.sip.port, member.sip.transport, member.sip.lookup)
                node = Node(name, target, entry.group.spec.capacity.legs_per_call, sip, advertised)
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
            found = await asyncio.gather(_watch(node, wait), _options(node), _addresses(node))
            return Verdict(node, tuple(entry for part in found for entry in part))

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


async def _options(node: Node) -> list[Advice]:
    """What the node says to an OPTIONS; nothing where its SIP address is not known."""
    if node.sip is None:
        return []
    setting = "sip-ip, sip-port"
    change = f"give the address and port of a sofia profile that takes calls, and open {node.sip.transport} to it"
    try:
        place = await _located(node.sip)
    except NotFoundError as error:
        return [Advice("problem", setting, f"{node.sip.host}: {error}", "give a name that DNS knows, or an address")]
    endpoint = format_endpoint(place.address, place.port)
    probe = await _probe(
        Target(address=(place.address, place.port), transport=place.transport, timeout=_OPTIONS_TIMEOUT)
    )
    if probe.status is None:
        found = f"{endpoint}: no answer to OPTIONS over {place.transport}: {probe.detail}"
        return [Advice("problem", setting, found, change)]
    return [Advice("ok", setting, f"OPTIONS to {endpoint} over {place.transport}: {probe.detail}")]


async def _located(name: Name) -> Place:
    """Where the name is. Raises NotFoundError."""
    if host_address(name.host) is not None:
        return Place(name.host, name.port, name.transport)
    from switchtender.drivers.dns.rfc3263 import Names

    return (await Names().find(name)).targets[0]


async def _probe(target: Target) -> Probe:
    outcome: asyncio.Future[Probe] = asyncio.get_running_loop().create_future()

    def tell(_: str, probe: Probe) -> None:
        if not outcome.done():
            outcome.set_result(probe)

    prober = Prober(_ANY[":" in target.address[0]], tell)
    try:
        prober.set_targets({"": target}, at_once=True)
        return await outcome
    finally:
        await prober.close()


async def _addresses(node: Node) -> list[Advice]:
    """What the node tells peers of its addresses; nothing where its user may not ask, or nobody answers."""
    if node.sip is None or node.esl.password is None:
        return []
    credentials = Credentials(node.esl.password.get_secret_value(), node.esl.user)
    try:
        outputs = await ask(node.esl.host, node.esl.port, credentials, profiles.question, _ASK_TIMEOUT)
    except AskError:
        return []  # what is wrong with the Event Socket stands in its own finding
    return profiles.advise(profiles.profiles(outputs), (node.sip.host, node.sip.port), node.advertised)


_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


def findings(found: Iterable[Verdict], *, wide: bool = False) -> RenderableType:
    """The findings for people: each node, where it was asked if ``wide``, its settings, and what to change."""
    lines = Text()
    for verdict in found:
        lines.append(verdict.node.name, style="bold")
        lines.append(f"{_asked_at(verdict.node)}\n" if wide else "\n")
        for entry in verdict.advice:
            lines.append(f"  {entry.level:<8}", style=_COLORS[entry.level])
            lines.append(f"{entry.setting}: {entry.found}\n")
            if entry.change:
                lines.append(f"          {entry.change}\n", style="italic")
    lines.rstrip()
    return lines


def _asked_at(node: Node) -> str:
    sip = "" if node.sip is None else f", {node.sip.transport} {format_endpoint(node.sip.host, node.sip.port)}"
    return f"  Event Socket {format_endpoint(node.esl.host, node.esl.port)}{sip}"


__all__ = ["NoPasswordError", "Node", "Refusal", "Verdict", "findings", "node_at", "nodes_of", "verdicts"]
