"""Remarks on single pods and nodes that a group's author should read: they stand in a condition and become Events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NODE_LEFT_OUT = "NodeLeftOut"
POD_UNREADABLE = "PodUnreadable"
BAD_ANNOTATION = "BadAnnotation"
DUPLICATE_NODE = "DuplicateNode"
SHARED_NODE = "SharedNode"

REASONS: Mapping[str, str] = {
    NODE_LEFT_OUT: "A pod that the selector matches, or a static node, is where no node may be or has no usable "
    "address.",
    POD_UNREADABLE: "A part of a pod could not be read; it goes by the rest.",
    BAD_ANNOTATION: "An annotation of a pod holds what it may not; the default is in force.",
    DUPLICATE_NODE: "Two members of the group are at the same endpoint; one of them counts.",
    SHARED_NODE: "A member shares its Event Socket with another group's under another identity: one node with one "
    "load.",
}
"""Every reason of a remark with what it means."""

HARMLESS = frozenset({SHARED_NODE})
"""Reasons of remarks that are for information; the others are about something to put right."""

MOST_SHOWN = 10
_LONGEST = 500
"""Characters of one remark: an annotation holds up to 256 KiB, and a condition's message 32."""


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """One remark; `text` begins with the name of the pod or node. `harmless` ones are for information."""

    harmless: bool
    text: str
    reason: str


def remark(reason: str, text: str) -> Note:
    """Return a remark of one of REASONS."""
    return Note(harmless=reason in HARMLESS, text=_writable(text), reason=reason)


def _writable(text: str) -> str:
    """Return a text as the API server takes it: bounded, and whole Unicode, for JSON may hold half of a pair."""
    whole = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return whole.encode(errors="replace").decode()


def shown(notes: Iterable[Note]) -> tuple[tuple[Note, ...], int]:
    """Return the notes that a message has room for, warnings first, then by text; and how many more there are."""
    ordered = sorted(set(notes))
    return tuple(ordered[:MOST_SHOWN]), max(0, len(ordered) - MOST_SHOWN)
