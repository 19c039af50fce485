"""Rows of OpenSIPS' load_balancer to groups: resources become limits of nodes. Pure; knows no format and no YAML.

A resource whose capacity is an fs:// URL is the sessions that the node reports; it may stand beside limits of its own,
which OpenSIPS drops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from switchtender.migrate.addresses import SCHEME, Destination, EventSocket, Pool, destination, event_socket
from switchtender.migrate.groups import LARGEST_LIMIT, Amount, Group, Node, node_name, resource_name
from switchtender.migrate.report import GroupNotes, Note, Outcome, Place
from switchtender.migrate.row_notes import is_whole, needed, number_of_group, on_addresses, on_attrs, on_load, remark
from switchtender.migrate.tables import Record, Shape
from switchtender_api.problems import Refusal

SHAPE = Shape(
    "load_balancer",
    ("group_id", "dst_uri", "resources"),
    {
        4: ("id", "group_id", "dst_uri", "resources"),
        6: ("id", "group_id", "dst_uri", "resources", "probe_mode", "description"),
        7: ("id", "group_id", "dst_uri", "resources", "probe_mode", "attrs", "description"),
    },
)


@dataclass(frozen=True, slots=True)
class LoadBalancerRow:
    """A row that can be a node. ``limits``: of each resource as OpenSIPS names it, None where an fs:// URL stands."""

    place: Place
    group: int
    destination: Destination
    limits: Mapping[str, int | None]
    socket: EventSocket | None
    remark: str
    notes: tuple[Note, ...]


def parse(place: Place, record: Record) -> LoadBalancerRow | Outcome:
    """The row, or that it was left out and why. The reason repeats no cell but numbers."""
    try:
        number = number_of_group(record, "group_id", absent=0)
        where = destination(needed(record, "dst_uri"))
        limits, sockets, notes = _resources(record.text("resources"))
    except Refusal as refusal:
        return Outcome(place, None, None, (Note("cannot", f"left out: {refusal.message}"),))
    socket = sockets[-1] if sockets else None
    said = (*on_addresses(where, socket), *notes, *on_attrs(record))
    return LoadBalancerRow(place, number, where, limits, socket, remark(record), said)


def _resources(text: str | None) -> tuple[dict[str, int | None], list[EventSocket], list[Note]]:
    limits: dict[str, int | None] = {}
    sockets: list[EventSocket] = []
    notes: list[Note] = []
    for part in (text or "").split(";"):
        if not part.strip():
            continue
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise Refusal("resources is not a list of name=number or name=fs://… with semicolons between")
        base, shared = _unshared(name)
        if base in limits:
            notes.append(Note("changes", f"{base} is named twice: the last one counts"))
        if value.startswith(SCHEME):
            sockets.append(event_socket(value))
            limits[base] = None
        elif is_whole(value):
            limits[base] = min(int(value), LARGEST_LIMIT)
        else:
            raise Refusal("the capacity of a resource is neither a whole number nor an fs:// URL")
        if shared:
            notes.append(
                Note("changes", f"{name}: no suffix is needed, replicas hold the limit together: the name is {base}")
            )
    if not limits:
        raise Refusal("it has no resources, so no call could use it")
    if len({socket.endpoint for socket in sockets}) > 1:
        notes.append(Note("changes", "several fs:// URLs: a node has one Event Socket, the last one, as in OpenSIPS"))
    if sockets and any(limit is not None for limit in limits.values()):
        kept = " and ".join(name for name, limit in limits.items() if limit is not None)
        notes.append(Note("changes", f"{kept} is kept beside what the node reports; OpenSIPS drops it from such a row"))
    return limits, sockets, notes


def _unshared(name: str) -> tuple[str, bool]:
    """A resource's name without the mark by which OpenSIPS shares its counter, and whether it had one."""
    base, slash, mark = name.rpartition("/")
    return (base, True) if slash and base and mark in {"s", "b"} else (name, False)


def groups(rows: Iterable[LoadBalancerRow], pool: Pool) -> tuple[list[Group], list[GroupNotes], list[Outcome]]:
    """The groups in the order of their numbers, and what became of each row."""
    by_number: dict[int, list[LoadBalancerRow]] = {}
    for row in rows:
        by_number.setdefault(row.group, []).append(row)
    made: list[Group] = []
    notes: list[GroupNotes] = []
    outcomes: list[Outcome] = []
    for number, members in sorted(by_number.items()):
        group, said, became = _group(number, members, pool)
        made.append(group)
        notes.append(GroupNotes(group.name, group.origin, len(group.nodes), tuple(said)))
        outcomes.extend(became)
    return made, notes, outcomes


@dataclass(slots=True)
class _Box:
    """The rows of one address in one group, gathered."""

    node: Node
    limits: dict[str, int | None] = field(default_factory=dict)

    def add(self, limits: Mapping[str, int | None]) -> None:
        """Further capacity of the same box."""
        for name, limit in limits.items():
            if name in self.limits and limit is not None:
                before = self.limits[name]
                self.limits[name] = None if before is None else min(before + limit, LARGEST_LIMIT)
            else:
                self.limits[name] = limit


def _group(number: int, rows: list[LoadBalancerRow], pool: Pool) -> tuple[Group, list[Note], list[Outcome]]:
    name = f"lb-{number}"
    boxes: dict[tuple[str, int], _Box] = {}
    outcomes = []
    for row in rows:
        box = boxes.get(row.destination.endpoint)
        if box is not None:
            box.add(row.limits)
            again = Note(
                "changes", "the group names this address before: one node, which has the resources of both rows"
            )
            outcomes.append(Outcome(row.place, name, box.node.name, (*row.notes, again)))
            continue
        node = Node(
            name=node_name(row.destination.uri, {box.node.name for box in boxes.values()}),
            sip=row.destination.uri,
            load=pool.load(row.destination.endpoint),
            remark=row.remark,
        )
        boxes[row.destination.endpoint] = _Box(node, dict(row.limits))
        measured = on_load(row.destination, row.socket, pool)
        outcomes.append(Outcome(row.place, name, node.name, (*row.notes, *([measured] if measured else []))))
    amounts, uses, notes = _amounts([box.limits for box in boxes.values()])
    nodes = tuple(replace(box.node, resources=_own(amounts, box.limits)) for box in boxes.values())
    group = Group(
        name=name,
        origin=f"group {number} of load_balancer",
        nodes=nodes,
        resources=tuple(Amount(resource.name, resource.common) for resource in amounts),
        uses=uses,
    )
    return group, [*notes, *_group_notes(rows)], outcomes


@dataclass(frozen=True, slots=True)
class _Resource:
    """A resource of the group: its name here and there, and the limit of nodes that do not say another.

    ``common`` None: the sessions that a node reports, or a number of its own. ``beside`` such a one of the same name,
    it keeps calls off the nodes that have none of it, and lets the others be.
    """

    name: str
    there: str
    common: int | None
    beside: bool = False

    def limit(self, limits: Mapping[str, int | None]) -> int | None:
        """The limit on a node with these resources; None for what it reports."""
        if self.there not in limits:
            return self.common and 0
        return LARGEST_LIMIT if self.beside else limits[self.there]


def _own(amounts: Iterable[_Resource], limits: Mapping[str, int | None]) -> tuple[Amount, ...]:
    """What a node says of its own, where it differs from the group."""
    return tuple(
        Amount(resource.name, resource.limit(limits))
        for resource in amounts
        if resource.limit(limits) != resource.common
    )


def _amounts(nodes: list[Mapping[str, int | None]]) -> tuple[list[_Resource], tuple[str, ...], list[Note]]:
    """The group's resources, those that each call uses, and what there is to say of them."""
    resources: list[_Resource] = []
    notes: list[Note] = []
    taken: set[str] = set()
    for there in dict.fromkeys(name for node in nodes for name in node):
        values = [node[there] for node in nodes if there in node]
        name = resource_name(there, taken)
        taken.add(name)
        if name != there:
            notes.append(Note("changes", f"the resource {there!r} is named {name}"))
        limits = [value for value in values if value is not None]
        everywhere = len(values) == len(nodes)
        if len(limits) == len(values):
            resources.append(_Resource(name, there, min(limits) if everywhere else 0))
            notes.append(Note("maps", f"{name} is a limit per node; a node whose row does not name it has none of it"))
            continue
        resources.append(_Resource(name, there, None))
        notes.append(Note("maps", f"{name} is the sessions that nodes report (source: Reported)"))
        if not everywhere:
            beside = resource_name(f"{name}-limit", taken)
            taken.add(beside)
            resources.append(_Resource(beside, there, 0, beside=True))
            notes.append(Note("changes", f"not every row has {name}: {beside} keeps calls that use it off the others"))
    shared = [
        there for there in dict.fromkeys(resource.there for resource in resources) if all(there in n for n in nodes)
    ]
    uses = tuple(resource.name for resource in resources if resource.there in shared)
    if all(resource.common is None for resource in resources if resource.name in uses):
        uses = ()  # a call takes what is reported anyway
    return resources, uses, [*notes, *_use_notes(resources, uses)]


def _use_notes(resources: Iterable[_Resource], uses: tuple[str, ...]) -> Iterator[Note]:
    if uses:
        yield Note(
            "changes",
            f"every call uses {', '.join(uses)}, which all rows have: the script told lb_start which. Name fewer in "
            "match.rules[].resources where that is too strict",
        )
    unused = [resource.name for resource in resources if resource.common is not None and resource.name not in uses]
    if unused:
        yield Note(
            "changes",
            f"no call uses {', '.join(unused)} until a rule names it in match.rules[].resources, as the script "
            "did for lb_start",
        )


def _group_notes(rows: list[LoadBalancerRow]) -> Iterator[Note]:
    if any(row.socket for row in rows):
        yield Note(
            "changes",
            "room is sessions at the last report and what was placed since; OpenSIPS forgets the latter at each "
            "recount, and multiplies the whole limit by Idle-CPU, which here is shown only",
        )
    yield Note(
        "changes",
        "a call is placed on the less utilized of two nodes drawn by size, which is lb_start's flag r without its "
        "errors; ties and replicas do not herd on the first row",
    )
    yield Note(
        "changes",
        "nodes are probed by OPTIONS from the start, whatever probe_mode said, with thresholds both ways: "
        "spec.health.options",
    )
