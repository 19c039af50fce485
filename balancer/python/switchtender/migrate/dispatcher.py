"""Rows of OpenSIPS' dispatcher to groups: a set is a group, a destination a node. Pure; knows no format and no YAML.

What a column means there is OpenSIPS' table version 9; what is done with it here stands in the notes each row gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from switchtender.migrate.addresses import SCHEME, Destination, EventSocket, Pool, destination, event_socket
from switchtender.migrate.groups import LARGEST_TIER, LARGEST_WEIGHT, Group, Hash, Node, node_name
from switchtender.migrate.report import GroupNotes, Note, Outcome, Place
from switchtender.migrate.row_notes import (
    is_whole,
    needed,
    number_of_group,
    on_addresses,
    on_attrs,
    on_load,
    remark,
    whole,
)
from switchtender.migrate.tables import Record, Shape
from switchtender_api.problems import Refusal

_VERSION_8 = ("id", "setid", "destination", "socket", "state", "weight", "priority", "attrs", "description")
SHAPE = Shape(
    "dispatcher",
    ("setid", "destination"),
    {
        5: ("id", "setid", "destination", "weight", "priority"),
        9: _VERSION_8,
        10: (*_VERSION_8[:5], "probe_mode", *_VERSION_8[5:]),
    },
)

_LARGEST_THERE = 65_535
_HASHES = {0: "CallID", 1: "From", 2: "To", 3: "RequestURI", 5: "AuthUser"}
_ALGORITHMS = {4: "Weighted", 6: "Random", 8: "First"}


@dataclass(frozen=True, slots=True)
class Choices:
    """What the table does not tell: how sets were used. ``algorithm`` is the number given to ds_select_dst."""

    algorithm: int | None = None
    keep_weights: bool = False
    max_freeswitch_weight: int = 100


@dataclass(frozen=True, slots=True)
class DispatcherRow:
    """A row that can be a node. ``weight`` is None where an fs:// URL stands in its place."""

    place: Place
    set: int
    destination: Destination
    weight: int | None
    socket: EventSocket | None
    priority: int
    inactive: bool
    remark: str
    notes: tuple[Note, ...]


def parse(place: Place, record: Record) -> DispatcherRow | Outcome:
    """The row, or that it was left out and why. The reason repeats no cell but numbers."""
    try:
        number = number_of_group(record, "setid")
        where = destination(needed(record, "destination"))
        weight, socket = _weight(record.text("weight"))
        priority = whole(record, "priority") or 0
        state = whole(record, "state") or 0
    except Refusal as refusal:
        return Outcome(place, None, None, (Note("cannot", f"left out: {refusal.message}"),))
    return DispatcherRow(
        place,
        number,
        where,
        weight,
        socket,
        priority,
        state == 1,
        remark(record),
        tuple(_row_notes(record, where, socket, state)),
    )


def _weight(text: str | None) -> tuple[int | None, EventSocket | None]:
    if text is None:
        return 1, None
    if text.startswith(SCHEME):
        return None, event_socket(text)
    if not is_whole(text):
        raise Refusal("weight is neither a whole number nor an fs:// URL; OpenSIPS refuses the whole table for it")
    return int(text), None


def _row_notes(record: Record, where: Destination, socket: EventSocket | None, state: int) -> Iterator[Note]:
    yield from on_addresses(where, socket)
    if state == 1:
        yield Note(
            "maps", "state 1 (inactive) is a drain: no new calls until `drain` is taken away; calls that stand go on"
        )
    elif state not in {0, 2}:
        yield Note("changes", f"state {state} is none that OpenSIPS knows: taken for active")
    if state == 2:
        yield Note("changes", "state 2 (probing) is not kept: whether a node answers is found out anew")
    if record.text("socket") is not None:
        yield Note(
            "cannot",
            "socket: the address towards nodes is one for all of them, BalancerConfig spec.nodeSide, with an "
            "advertised address per network",
        )
    yield from on_attrs(record)


def groups(
    rows: Iterable[DispatcherRow], pool: Pool, choices: Choices, now: datetime
) -> tuple[list[Group], list[GroupNotes], list[Outcome]]:
    """The sets as groups, in the order of their numbers, and what became of each row. ``now`` is when drains begin."""
    sets: dict[int, list[DispatcherRow]] = {}
    for row in rows:
        # As in OpenSIPS: an Event Socket that nobody can log in to has weight 1.
        known = row.socket is None or pool.logins[row.socket.endpoint].password is not None
        sets.setdefault(row.set, []).append(row if known else replace(row, weight=1))
    made: list[Group] = []
    notes: list[GroupNotes] = []
    outcomes: list[Outcome] = []
    for number, members in sorted(sets.items()):
        group, said, became = _group(number, members, pool, choices, now)
        made.append(group)
        notes.append(GroupNotes(group.name, group.origin, len(group.nodes), tuple(said)))
        outcomes.extend(became)
    return made, notes, outcomes


def _group(
    number: int, rows: list[DispatcherRow], pool: Pool, choices: Choices, now: datetime
) -> tuple[Group, list[Note], list[Outcome]]:
    name = f"dispatcher-{number}"
    weights = _Weights.of(rows, choices)
    tiers = _tiers(rows)
    nodes: dict[tuple[str, int], Node] = {}
    outcomes = []
    for row in rows:
        known = nodes.get(row.destination.endpoint)
        weight, weighed = weights.weigh(row)
        if known is not None:
            merged = min(known.weight + weight, LARGEST_WEIGHT) if row.weight else known.weight
            nodes[row.destination.endpoint] = replace(
                known,
                weight=merged,
                priority=max(known.priority, tiers[row.priority]),
                backup=known.backup and row.weight == 0,
            )
            again = Note("changes", f"the set names this address before: one node, with weight {merged}")
            outcomes.append(Outcome(row.place, name, known.name, (*row.notes, again)))
            continue
        measured = on_load(row.destination, row.socket, pool)
        node = Node(
            name=node_name(row.destination.uri, {node.name for node in nodes.values()}),
            sip=row.destination.uri,
            load=pool.load(row.destination.endpoint),
            weight=weight,
            priority=tiers[row.priority],
            backup=weights.last_resort(row),
            drain=now if row.inactive else None,
            remark=row.remark,
        )
        nodes[row.destination.endpoint] = node
        outcomes.append(Outcome(row.place, name, node.name, (*row.notes, *([measured] if measured else []), *weighed)))
    algorithm, hash_on, said = _algorithm(choices)
    group = Group(
        name=name,
        origin=f"set {number} of dispatcher",
        nodes=tuple(nodes.values()),
        algorithm=algorithm,
        hash_on=hash_on,
        static_weights=algorithm == "Weighted" and all(row.weight is not None for row in rows),
    )
    return group, [*said, *_group_notes(rows)], outcomes


@dataclass(frozen=True, slots=True)
class _Weights:
    """How the weights of one set become ours: 1 to 10000."""

    measured: int
    clamp: int
    scale: float
    all_zero: bool

    @classmethod
    def of(cls, rows: list[DispatcherRow], choices: Choices) -> _Weights:
        static = [row.weight for row in rows if row.weight is not None]
        mixed = 0 < len(static) < len(rows)
        clamp = choices.max_freeswitch_weight if mixed else max(static, default=1)
        highest = max(1, *(min(weight, clamp) for weight in static), 1)
        measured = choices.max_freeswitch_weight if mixed else 1
        scale = min(1.0, LARGEST_WEIGHT / max(highest, measured))
        return cls(measured, clamp, scale, bool(static) and not mixed and not any(static))

    def last_resort(self, row: DispatcherRow) -> bool:
        """Whether the row has weight 0 among others that have more."""
        return row.weight == 0 and not self.all_zero

    def weigh(self, row: DispatcherRow) -> tuple[int, list[Note]]:
        """The row's weight, and what there is to say of it."""
        if row.weight is None:
            return max(1, round(self.measured * self.scale)), []
        weight = max(1, round(min(row.weight, self.clamp) * self.scale))
        if self.last_resort(row):
            return 1, [
                Note(
                    "changes",
                    "weight 0 is a backup: used once no other node can take the call. There it still gets a call per "
                    "turn of algorithm 4",
                )
            ]
        notes = []
        if row.weight > _LARGEST_THERE:
            notes.append(
                Note("changes", f"weight {row.weight} wraps in OpenSIPS' 16 bits: here it is {weight} of 10000")
            )
        elif weight != row.weight and row.weight:
            notes.append(
                Note("changes", f"weight {row.weight} is {weight}, in proportion to the other nodes of the set")
            )
        elif not self.all_zero:
            notes.append(Note("maps", f"weight {row.weight} multiplies the node's share"))
        return weight, notes


def _tiers(rows: list[DispatcherRow]) -> Mapping[int, int]:
    """Our tier of each priority: the same number where all of them are within bounds, else their rank."""
    priorities = sorted({row.priority for row in rows})
    if not priorities or (priorities[0] >= 0 and priorities[-1] <= LARGEST_TIER):
        return {priority: priority for priority in priorities}
    return {priority: min(rank, LARGEST_TIER) for rank, priority in enumerate(priorities)}


def _algorithm(choices: Choices) -> tuple[str | None, Hash | None, list[Note]]:
    number = choices.algorithm
    if number in _HASHES:
        key = _HASHES[number]
        text = (
            f"algorithm {number} is Hash on {key}: a node that fails moves its own keys only, and a report moves none"
        )
        return "Hash", Hash(key), [Note("maps", text)]
    if number in _ALGORITHMS:
        name = _ALGORITHMS[number]
        turns = ": in turns that are mixed, not in runs of equal calls" if number == 4 else ""
        return name, None, [Note("maps", f"algorithm {number} is {name}{turns}")]
    if number == 7:
        return (
            None,
            None,
            [Note("cannot", "algorithm 7 hashes what the script puts together: see routing.hashOn, type Header")],
        )
    if number in {9, 10}:
        return None, None, [Note("cannot", f"algorithm {number} asks the script for an order: see routing.score")]
    if choices.keep_weights:
        return "Weighted", None, [Note("maps", "calls are placed by OpenSIPS' weights: algorithm Weighted")]
    said = (
        "the script chose the algorithm; here a call goes where the most room is (LeastLoad), and full nodes get none"
    )
    return (
        None,
        None,
        [Note("changes", f"{said}. --keep-algorithms writes Weighted, --algorithm what ds_select_dst was given")],
    )


def _group_notes(rows: list[DispatcherRow]) -> Iterator[Note]:
    if any(row.socket for row in rows):
        yield Note(
            "changes",
            "room is sessions at the last report and what was placed since; OpenSIPS' weight forgets the latter, and "
            "is 65535 for a node above its limit. Idle-CPU is shown and does not multiply",
        )
    if len({row.priority for row in rows}) > 1:
        yield Note(
            "changes",
            "priority is a tier: lower ones get calls once no higher one has room. There it orders fail-over and "
            "algorithm 8 alone: set all to 0 if the script used another",
        )
    yield Note(
        "changes",
        "nodes are probed by OPTIONS from the start, beside what the Event Socket says, and one that fails comes back "
        "by itself: spec.health.options",
    )
