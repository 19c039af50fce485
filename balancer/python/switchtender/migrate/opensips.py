"""OpenSIPS' dispatcher and load_balancer tables to BalancerGroups, with a report of what became of every row. Pure.

The tables say where calls may go; which call goes to which set, and by what algorithm, stood in the script. What the
tables do not tell is written so that it runs, and the report says where to decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from switchtender.migrate import dispatcher, formats, load_balancer
from switchtender.migrate.addresses import Pool, pool
from switchtender.migrate.dispatcher import Choices, DispatcherRow
from switchtender.migrate.documents import Form, render
from switchtender.migrate.groups import Group
from switchtender.migrate.load_balancer import LoadBalancerRow
from switchtender.migrate.report import GroupNotes, Input, Note, Outcome, Place, Report
from switchtender.migrate.tables import Record, Shape, UnreadableError, records, select


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read, and what it is called."""

    file: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Imported:
    """The documents as YAML, passwords in them, and the report, without any."""

    documents: str
    report: Report


def convert(
    dispatchers: Iterable[Source], load_balancers: Iterable[Source], *, form: Form, choices: Choices, now: datetime
) -> Imported:
    """The documents and the report of these files; several of one kind count as one table after the other.

    ``now`` is when inactive destinations are said to have been drained. Raises UnreadableError, which names the file.
    """
    inputs: list[Input] = []
    left_out: list[Outcome] = []
    sets: list[DispatcherRow] = []
    boxes: list[LoadBalancerRow] = []
    for place, record in _read(dispatchers, dispatcher.SHAPE, inputs):
        row = dispatcher.parse(place, record)
        sets.append(row) if isinstance(row, DispatcherRow) else left_out.append(row)
    for place, record in _read(load_balancers, load_balancer.SHAPE, inputs):
        line = load_balancer.parse(place, record)
        boxes.append(line) if isinstance(line, LoadBalancerRow) else left_out.append(line)
    both: list[DispatcherRow | LoadBalancerRow] = [*sets, *boxes]
    known = pool([(row.destination, row.socket) for row in both if row.socket is not None])
    one, one_notes, one_rows = dispatcher.groups(sets, known, choices, now)
    other, other_notes, other_rows = load_balancer.groups(boxes, known)
    groups = [*one, *other]
    notes = [_with_calls(entry, first=number == 0) for number, entry in enumerate([*one_notes, *other_notes])]
    report = Report(
        tuple(inputs), tuple(notes), (*one_rows, *other_rows, *left_out), tuple(_overall(groups, known, form))
    )
    return Imported(render(groups, form), report)


def _read(sources: Iterable[Source], shape: Shape, inputs: list[Input]) -> list[tuple[Place, Record]]:
    """Every row of these files with its place; what was read is noted in ``inputs``."""
    rows: list[tuple[Place, Record]] = []
    for source in sources:
        try:
            form, tables = formats.read(source.data)
            found = records(select(tables, shape), shape)
        except UnreadableError as error:
            raise UnreadableError(f"{source.file}: {error}") from None
        inputs.append(Input(shape.name, source.file, form, len(found)))
        for record in found:
            number = record.text("id")
            shown = number if number is not None and number.isdigit() else None
            rows.append((Place(shape.name, source.file, record.line, shown), record))
    return rows


def _with_calls(entry: GroupNotes, *, first: bool) -> GroupNotes:
    """Say first which calls the group gets."""
    if first:
        note = Note("changes", "the script chose the set: here this group takes every call that no other group takes")
    else:
        note = Note(
            "changes",
            f"the script chose the set: until you write match.rules, only calls to sip:{entry.group}@… come here",
        )
    return replace(entry, notes=(note, *entry.notes))


def _overall(groups: list[Group], known: Pool, form: Form) -> list[Note]:
    notes = [
        Note("changes", f"rows name different passwords for the Event Socket {where}: the last one stands, as there")
        for where in known.contested
    ]
    if not form.kubernetes and any(node.load for group in groups for node in group.nodes):
        notes.append(
            Note(
                "maps",
                "passwords stand in the documents, as they stood in the table: keep the file to yourself (chmod 600). "
                "--kubernetes writes them without",
            )
        )
    if form.kubernetes:
        notes.append(
            Note(
                "changes",
                "passwords are left away: put the Event Socket's into a Secret named esl, key password, in the "
                "namespace of the groups",
            )
        )
        passwords = {entry.password.get_secret_value() for entry in known.logins.values() if entry.password}
        if len(passwords) > 1:
            notes.append(
                Note("cannot", "the nodes have different passwords, and a group has one Secret: make them equal")
            )
    return notes
