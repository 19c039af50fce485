"""The screen of ``switchtender top``. It shows what a feed gives it, and asks the balancer nothing itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from switchtender.cli.top import rows
from switchtender.cli.top.feed import Gone, Seen, Take
from switchtender_api.exit_status import ExitStatus

_EVENTS = 1000
"""Events kept for the details of nodes."""
_DETAIL_EVENTS = 3

_HELP = """\
 Tab        from groups to nodes and back
 Enter      on a node: its details; on a group: only its nodes, and all again
 < >        sort by another column; a click on its title does it, too
 r          sort the other way round
 /          filter: words in name, group, state or reason; Enter keeps it, Esc ends it
 p, Space   pause, and go on
 q          leave

 SESSIONS as reported, of the node's own limit. LOAD is what the balancer reckons
 with: reported sessions and its own calls since, of what the node may take.
 AGE of the last report; FOR so long in this state.

 Esc closes this."""


class _Table(DataTable[Text]):
    """Rows by key; only what changed is drawn. No two rows have the same in the columns ``names``."""

    def __init__(self, columns: Sequence[rows.Column], name: str, names: tuple[str, ...]) -> None:
        super().__init__(id=name, cursor_type="row", cell_padding=1)
        self._shown = columns
        self._names = [index for index, column in enumerate(columns) if column.title in names]
        self._order: list[str] = []
        self._cells: dict[str, tuple[Text, ...]] = {}

    def on_mount(self) -> None:
        for column in self._shown:
            self.add_column(column.title, width=column.width, key=column.title)

    def mark(self, sorted_by: rows.Column, *, backwards: bool) -> None:
        """Show in the titles what the rows are sorted by."""
        for column in self._shown:
            arrow = ("▲" if backwards else "▼") if column is sorted_by else ""
            label = Text(f"{column.title}{arrow}", justify="right" if column.number else "left")
            known = next(known for known in self.columns.values() if known.key == column.title)
            if known.label != label:
                known.label = label
                self._order = []  # sorting draws the titles anew

    def show(self, entries: list[rows.Entry], keys: list[str]) -> None:
        """Show these, in this order; the cursor stays with its row."""
        at = self.current
        fresh = {
            key: tuple(column.cell(entry) for column in self._shown) for key, entry in zip(keys, entries, strict=True)
        }
        for key in [key for key in self._cells if key not in fresh]:
            self.remove_row(key)
        for key, new_cells in fresh.items():
            before = self._cells.get(key)
            if before is None:
                self.add_row(*new_cells, key=key)
                continue
            for column, old, new in zip(self._shown, before, new_cells, strict=True):
                if old != new:
                    self.update_cell(key, column.title, new)
        self._widen(fresh)
        place = {key: index for index, key in enumerate(keys)}
        self._cells = fresh
        if keys != self._order:
            self._order = keys
            by_name = {self._named(row): place[key] for key, row in fresh.items()}
            self.sort(key=lambda row: by_name[self._named(row)])
        if at in place:
            self.move_cursor(row=place[at], animate=False, scroll=False)

    def _named(self, cells: tuple[Text, ...]) -> tuple[str, ...]:
        return tuple(cells[index].plain for index in self._names)

    def _widen(self, fresh: dict[str, tuple[Text, ...]]) -> None:
        """Give each column the width of what stands in it, and no less than its own."""
        for index, column in enumerate(self._shown):
            known = next(one for one in self.columns.values() if one.key == column.title)
            known.width = max([column.width, *(cells[index].cell_len for cells in fresh.values())])

    @property
    def current(self) -> str | None:
        """The key of the row under the cursor."""
        if not self.row_count:
            return None
        return self.coordinate_to_cell_key(Coordinate(self.cursor_row, 0)).row_key.value


class _Help(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        yield Static(_HELP, markup=False)


class Source(Protocol):
    """What gives the screen something to show; see ``feed.Feed``."""

    def start(self, take: Take) -> None:
        """Begin to give, from any thread."""

    def stop(self) -> None:
        """Give no more."""


class TopApp(App[int]):
    """Groups above, nodes below, details of a node when they are asked for."""

    CSS = """
    #status { height: 1; padding: 0 1; }
    _Table { scrollbar-size-horizontal: 0; }
    #groups { height: auto; max-height: 6; }
    #nodes { height: 1fr; }
    #detail { display: none; height: auto; max-height: 10; padding: 0 1; border-top: solid $primary; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    _Help { align: center middle; }
    _Help Static { width: auto; height: auto; padding: 1 2; border: round $primary; background: $surface; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("p,space", "pause", "Pause", key_display="p"),
        Binding("less_than_sign,comma", "sort(-1)", "Sort", key_display="<"),
        Binding("greater_than_sign,full_stop", "sort(1)", "Sort", key_display=">"),
        Binding("r", "reverse", "Reverse"),
        Binding("escape", "close", "Close", show=False),
        Binding("ctrl+c", "interrupt", "Interrupt", show=False, priority=True),
    ]

    class Fed(Message):
        """Something came from the feed."""

        def __init__(self, what: Seen | Gone) -> None:
            super().__init__()
            self.what = what

    def __init__(self, feed: Source, group: str | None = None) -> None:
        super().__init__()
        self.animation_level = "none"
        self._feed = feed
        self._group = group
        self._words = ""
        self._column, self._backwards = rows.NODES[0], False
        self._paused = False
        self._gone: str | None = None
        self._view: dict[str, Any] | None = None
        self._shown: dict[str, Any] | None = None
        self._shown_at = 0.0
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self._detailed: str | None = None

    def compose(self) -> ComposeResult:
        """The panes."""
        yield Static("waiting for the balancer", id="status", markup=False)
        yield _Table(rows.GROUPS, "groups", ("GROUP",))
        yield _Table(rows.NODES, "nodes", ("NODE", "GROUP"))
        yield Static(id="detail", markup=False)
        yield Input(placeholder="words in name, group, state or reason", id="filter", compact=True)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to listen."""
        self.query_one("#nodes", _Table).focus()
        self.set_interval(1.0, self._tell_age)
        self._feed.start(lambda what: self.post_message(self.Fed(what)))

    def on_unmount(self) -> None:
        """Listen no more."""
        self._feed.stop()

    @on(Fed)
    def _take(self, message: Fed) -> None:
        what = message.what
        if isinstance(what, Gone):
            self._gone = what.reason
        else:
            self._events.extend(what.events)
            if what.view is None:
                return
            self._gone, self._view = None, what.view
            if not self._paused:
                self._shown, self._shown_at = what.view, time.monotonic()
                self._draw()
        self._draw_status()

    def _draw(self) -> None:
        view = self._shown
        if view is None:
            return
        groups = sorted(view["groups"], key=rows.group_of)
        nodes = rows.in_order(
            rows.chosen(view["nodes"], self._group, self._words), self._column, backwards=self._backwards
        )
        with self.batch_update():
            self.query_one("#groups", _Table).show(groups, [rows.group_of(group) for group in groups])
            table = self.query_one("#nodes", _Table)
            table.mark(self._column, backwards=self._backwards)
            table.show(nodes, [rows.key_of(node) for node in nodes])
            self._draw_detail()

    def _draw_status(self) -> None:
        line = Text() if self._shown is None else rows.headline(self._shown)
        age = time.monotonic() - self._shown_at
        if self._gone is not None:
            old = "" if self._shown is None else f" What stands here is {age:.0f} s old."
            line = Text(f"{self._gone}.{old}", style="bold red")
        elif self._paused:
            line = Text(f"PAUSED {age:.0f} s ago · ", style="bold yellow") + line
        for what in (self._group, self._words):
            if what:
                line.append(f" · only {what}", style="cyan")
        self.query_one("#status", Static).update(line)

    def _tell_age(self) -> None:
        if self._gone is not None or self._paused:
            self._draw_status()

    def _draw_detail(self) -> None:
        pane = self.query_one("#detail", Static)
        nodes = [] if self._shown is None else self._shown["nodes"]
        node = next((node for node in nodes if rows.key_of(node) == self._detailed), None)
        pane.display = node is not None
        if node is not None:
            about = [event for event in self._events if rows.about(event, node)]
            pane.update(rows.detail(node, about[-_DETAIL_EVENTS:]))

    @on(DataTable.RowSelected, "#nodes")
    def _toggle_detail(self, message: DataTable.RowSelected) -> None:
        key = message.row_key.value
        self._detailed = None if self._detailed == key else key
        self._draw_detail()

    @on(DataTable.RowHighlighted, "#nodes")
    def _move_detail(self) -> None:
        if self._detailed is not None:
            self._detailed = self.query_one("#nodes", _Table).current
            self._draw_detail()

    @on(DataTable.RowSelected, "#groups")
    def _toggle_group(self, message: DataTable.RowSelected) -> None:
        key = message.row_key.value
        self._group = None if self._group == key else key
        self._redraw()

    @on(DataTable.HeaderSelected, "#nodes")
    def _sort_by(self, message: DataTable.HeaderSelected) -> None:
        column = next(column for column in rows.NODES if column.title == message.column_key)
        self._backwards = not self._backwards if column is self._column else False
        self._column = column
        self._redraw()

    @on(Input.Changed, "#filter")
    def _choose(self, message: Input.Changed) -> None:
        self._words = message.value
        self._redraw()

    @on(Input.Submitted, "#filter")
    def _keep_filter(self) -> None:
        self._end_filter()

    def _end_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self.query_one("#nodes", _Table).focus()

    def _redraw(self) -> None:
        self._draw()
        self._draw_status()

    def action_help(self) -> None:
        """Show which keys there are."""
        self.push_screen(_Help())

    def action_filter(self) -> None:
        """Ask for words."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_pause(self) -> None:
        """Hold what is shown, or go on with the newest."""
        self._paused = not self._paused
        if not self._paused and self._view is not self._shown:
            self._shown, self._shown_at = self._view, time.monotonic()
        self._redraw()

    def action_sort(self, step: int) -> None:
        """Sort by the next column, or the one before."""
        at = rows.NODES.index(self._column)
        self._column, self._backwards = rows.NODES[(at + step) % len(rows.NODES)], False
        self._redraw()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._backwards = not self._backwards
        self._redraw()

    def action_close(self) -> None:
        """End the filter, then the details."""
        field = self.query_one("#filter", Input)
        if field.display or self._words:
            field.value = ""
            self._end_filter()
        elif self._detailed is not None:
            self._detailed = None
            self._draw_detail()

    async def action_quit(self) -> None:
        """Leave."""
        self.exit(ExitStatus.DONE)

    def action_interrupt(self) -> None:
        """Leave as by a signal."""
        self.exit(ExitStatus.INTERRUPTED)
