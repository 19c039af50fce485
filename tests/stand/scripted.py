"""A balancer in front of nodes that a test plays itself, and calls whose every message the test writes.

The nodes report no load, so every one of them takes calls from the first moment. A call goes to the group whose name is
the first word of its Request-URI's user part, so that one balancer process serves tests that must not share nodes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stand.agent import Address, Agent, Dialog, Message, first_of, request, unique, user_of
from tests.stand.balancer import Balancer, Group, Layout, serving, write_config
from tests.stand.process import ask, read_text, until

FAILOVER = {
    "attempts": 3,
    "firstResponseTimeout": "20s",
    "progressTimeout": "20s",
    "coolDown": {"min": "0s", "max": "0s"},
}
"""No time matters in a test that is not about time, however busy the machine; every group may have its own."""


def group(name: str, nodes: Sequence[Address], failover: Mapping[str, Any] | None = None, **spec: Any) -> Group:
    """A group of scripted nodes for calls to ``name-…``."""
    static = [{"name": f"{name}-{i}", "sip": f"sip:{host}:{port}"} for i, (host, port) in enumerate(nodes)]
    routing = {"algorithm": "RoundRobin", "failover": {**FAILOVER, **(failover or {})}}
    match = {"rules": [{"requestUri": {"userPattern": f"^{name}-"}}]}
    # A scripted node answers what its test is about, and a probe in between is no part of that.
    health = {"options": None}
    return Group(
        name, [], {"members": {"static": static}, "match": match, "routing": routing, "health": health, **spec}
    )


@dataclass
class Stand:
    """A running balancer, and where the nodes of its groups are to be played."""

    balancer: Balancer
    groups: Mapping[str, Sequence[Address]]

    @property
    def target(self) -> Address:
        """Where callers send."""
        layout = self.balancer.layout
        return layout.address, layout.sip

    @property
    def node_side(self) -> Address:
        """Where nodes send what is not a response."""
        layout = self.balancer.layout
        return layout.address, layout.node_side

    @contextlib.contextmanager
    def nodes(self, name: str) -> Iterator[list[Agent]]:
        """The nodes of a group, bound until the block ends."""
        self.rested()
        with contextlib.ExitStack() as stack:
            uri = f"sip:{name}-1@example.com"
            yield [stack.enter_context(Agent(*address, uri)) for address in self.groups[name]]

    def rested(self) -> None:
        """Wait until no node's budget of a second is used up: a test before may have sent more calls than 29."""

        def within_budget() -> bool:
            nodes = ask(f"{self.balancer.layout.url}/api/v1/nodes")["nodes"]
            return all(node["verdict"] not in ("RateLimited", "RequestBudget") for node in nodes)

        until(within_budget, "nodes within their budgets")

    def settled(self) -> None:
        """Wait until every node is ready; those of most stands are from the first moment."""
        until(lambda: set(self.balancer.states().values()) == {"ready"}, "nodes that are all ready")

    def alive(self, agent: Agent) -> None:
        """The balancer answers an OPTIONS of ``agent`` (RFC 3261 §11.2), and with it has handled all that it sent."""
        host, port = self.target
        branch = unique("z9hG4bK")
        agent.send(request("OPTIONS", f"sip:{host}:{port}", agent, branch=branch, contact=""), self.target)
        while (answer := agent.receive()).status != 200 or answer.branch != branch:
            pass

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        total = 0.0
        for line in read_text(f"{self.balancer.layout.url}/metrics").splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
            if found and found[1] == name:
                have = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                if all(have.get(label) == value for label, value in labels.items()):
                    total += float(found[3])
        return total

    def resident(self) -> int:
        """Bytes of memory that the balancer holds."""
        status = Path(f"/proc/{self.balancer.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024


@contextlib.contextmanager
def scripted(
    folder: Path, layout: Layout, groups: Mapping[str, Sequence[Address]], documents: Sequence[Group], **spec: Any
) -> Iterator[Stand]:
    """Run a balancer with these groups until the block ends."""
    config = folder / f"scripted{layout.http}.yaml"
    write_config(config, layout, documents, folder / f"state{layout.http}", **spec)
    with serving(config, layout, settled=False) as balancer:
        yield Stand(balancer, groups)


@dataclass
class Call:
    """A call that stands, with both of its sides."""

    caller: Agent
    node: Agent
    invite: bytes
    offered: Message
    """The INVITE as the node received it."""
    answer: Message
    """The 200 as the caller received it."""
    up: Dialog
    """The caller's side."""
    down: Dialog
    """The node's side."""


def establish(
    stand: Stand,
    caller: Agent,
    nodes: Sequence[Agent],
    *,
    invite: bytes | None = None,
    to: Address | None = None,
    contact: str | None = None,
    **parts: Any,
) -> Call:
    """Place a call and let it be answered and acknowledged. ``parts`` go into the INVITE."""
    to = to or stand.target
    sent = caller.send(invite or request("INVITE", nodes[0].uri, caller, **parts), to)
    caller.expect(100)
    node, offered = first_of(nodes)
    assert offered.method == "INVITE", offered.text
    tag = unique("n")
    node.reply(offered, 200, "OK", tag=tag, contact=contact)
    answer = caller.next(200)
    up = Dialog.of_caller(caller, answer)
    up.first_hop = to
    down = Dialog.of_node(node, offered, tag)
    up.send("ACK")
    node.next("ACK")
    return Call(caller, node, sent, offered, answer, up, down)


def token_of(message: Message) -> str:
    """The token in the top Record-Route."""
    return user_of(message.list("Record-Route")[0].strip("<>"))
