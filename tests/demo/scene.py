"""The scene of the demonstration: four nodes of unlike size, what happens to them, how fast calls come.

One node is loaded from outside, one is killed and one is drained on the way. What stays has room for every call, so
that each failed call is the balancer's fault.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.stand.nodes import Node

RATE = 22.0
"""Calls a second."""

HOLD = 7.0
"""Seconds that each call lasts."""

PLACING = 21.0
"""Seconds in which calls are placed."""


@dataclass(frozen=True)
class Turn:
    """Something that happens to a node, ``at`` seconds after the first call."""

    at: float
    node: str
    action: str
    words: str


NODES = (
    Node("large", 11, {"max-sessions": 150}),
    Node("medium", 12, {"max-sessions": 80}),
    Node("small", 13, {"max-sessions": 24}),
    Node("busy", 14, {"max-sessions": 80, "background-sessions": 60}),
)

TURNS = (
    Turn(8.0, "medium", "crash", "medium is killed (SIGKILL)"),
    Turn(14.0, "small", "pause?direction=inbound", "small is drained (fsctl pause inbound)"),
)

KILLED = next(turn.node for turn in TURNS if turn.action == "crash")


def room(node: Node) -> int:
    """Sessions a caller can get on the node at the start: FreeSWITCH admits Max-Sessions − 1, outside load included."""
    return int(node.settings["max-sessions"]) - 1 - int(node.settings.get("background-sessions", 0))
