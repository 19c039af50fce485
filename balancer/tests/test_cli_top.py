"""`switchtender top`: the screen on a feed of the test's own, and the whole command in a terminal."""

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest
from click.testing import CliRunner
from serve_stand import Group, Layout, Node, serving, write_config
from textual.widgets import DataTable, Input, Static

from switchtender.cli import main
from switchtender.cli.top import rows
from switchtender.cli.top.app import TopApp
from switchtender.cli.top.feed import Gone, Seen

NODE = {
    "namespace": "default",
    "group": "ivr",
    "node": "fs1",
    "sip": "192.0.2.1:5060",
    "transport": "UDP",
    "esl": "192.0.2.1:8021",
    "state": "ready",
    "reason": "Reporting",
    "stateSeconds": 200.0,
    "sessions": 12,
    "maxSessions": 100,
    "effective": 12.5,
    "capacity": 97.0,
    "free": 84.5,
    "utilization": 0.129,
    "callsPerSecond": 2.5,
    "callShare": 0.5,
    "reportAge": 0.4,
    "probe": {"status": 200, "detail": "200 OK", "roundTrip": 0.0012},
    "link": "loggedIn",
    "linkDetail": None,
    "eslErrors": {"ConnectionRefused": 3},
    "sessionRate": 4,
    "sessionsPerSecondLimit": 30,
    "weight": 1.0,
    "priority": 0,
    "admin": {"state": None},
    "ejectedSeconds": 0.0,
}
BUSY = NODE | {"node": "fs2", "utilization": 0.95, "sessions": 92, "callsPerSecond": 0.5, "reportAge": 3.0}
DOWN = NODE | {"node": "fs3", "state": "down", "reason": "AccessDenied", "capacity": 0, "utilization": 1.0}
DOWN |= {"group": "conf", "sessions": None, "maxSessions": None, "reportAge": None, "callShare": None}
GROUP = {
    "namespace": "default",
    "group": "ivr",
    "states": {"ready": 2, "down": 0},
    "sessions": 104,
    "effective": 105.0,
    "capacity": 194.0,
    "utilization": 0.54,
    "callsPerSecond": 3.0,
    "rejectedPerSecond": 0.0,
    "failovers": {"timeout": 2},
}
PROCESS = {
    "callsPerSecond": 3.0,
    "dialogs": 104,
    "transactionsOpen": 7,
    "eventsLost": 0,
    "datagramsDropped": 0,
    "overloaded": False,
}
EVENT = {
    "id": 7,
    "time": 1_700_000_000.0,
    "type": "NodeState",
    "severity": "error",
    "namespace": "default",
    "group": "conf",
    "node": "fs3",
    "reason": "AccessDenied",
    "message": "node is down: AccessDenied",
    "count": 1,
    "details": {},
}


def view(*nodes, **process):
    return {
        "balancer": "edge",
        "version": "0.1.0",
        "ready": True,
        "notReady": None,
        "process": PROCESS | process,
        "groups": [GROUP, GROUP | {"group": "conf", "states": {"down": 1}}],
        "nodes": list(nodes or (NODE, BUSY, DOWN)),
    }


class Feed:
    """Gives what the test says."""

    def start(self, take):
        self.take = take

    def stop(self):
        self.take = lambda _: None


class Screen:
    """The app while a test drives it."""

    def __init__(self, app, feed, pilot):
        self.app, self.feed, self.pilot = app, feed, pilot

    async def sees(self, what):
        self.feed.take(what)
        await self.pilot.pause()

    async def press(self, *keys):
        await self.pilot.press(*keys)
        await self.pilot.pause()

    def table(self, name="nodes"):
        table = self.app.query_one(f"#{name}", DataTable)
        return [[cell.plain for cell in table.get_row_at(row)] for row in range(table.row_count)]

    def names(self):
        return [row[0] for row in self.table()]

    def text(self, name):
        return str(self.app.query_one(f"#{name}", Static).render())


@pytest.fixture
def screen():
    """Runs a check on the app with a first view; gives what the app returned."""

    async def run(check, size=(120, 40), group=None):
        feed = Feed()
        app = TopApp(feed, group=group)
        async with app.run_test(size=size) as pilot:
            driven = Screen(app, feed, pilot)
            await driven.sees(Seen(view=view(), events=(EVENT,)))
            await check(driven)
        return app.return_value

    return run


async def test_it_shows_groups_nodes_states_in_words_and_load(screen):
    async def check(screen):
        assert screen.names() == ["fs1", "fs2", "fs3"]
        first, _, third = screen.table()
        assert first[1:3] == ["ready", "Reporting"]
        assert first[3].startswith("█")
        assert first[3].endswith("13%")
        assert third[1:5] == ["down", "AccessDenied", "-", "-/-"]
        assert [row[0] for row in screen.table("groups")] == ["default/conf", "default/ivr"]
        assert screen.table("groups")[1][2] == "2 ready"
        assert screen.text("status") == "edge 0.1.0 · ready · 3.0 calls/s · 104 calls up · 7 transactions"

    await screen(check)


async def test_on_a_small_terminal_state_reason_and_load_can_be_seen(screen):
    async def check(screen):
        shown = "\n".join("".join(part.text for part in line) for line in screen.app.screen._compositor.render_strips())
        for word in ("NODE", "STATE", "REASON", "LOAD", "AccessDenied", "Reporting", "95%", "Quit", "Help"):
            assert word in shown, shown
        assert len(shown.splitlines()) == 24

    await screen(check, size=(80, 24))


async def test_sorting_by_keys_and_by_a_click_follows_the_row_under_the_cursor(screen):
    async def check(screen):
        await screen.press("down")
        await screen.press(">")
        assert screen.names() == ["fs3", "fs1", "fs2"]
        table = screen.app.query_one("#nodes", DataTable)
        assert table.cursor_row == 2
        await screen.press(">", ">")
        assert screen.names() == ["fs2", "fs1", "fs3"]
        await screen.press("r")
        assert screen.names() == ["fs3", "fs1", "fs2"]
        titles = [column.label.plain for column in table.ordered_columns]
        assert "LOAD▲" in titles
        await screen.pilot.click("#nodes", offset=(2, 0))
        assert screen.names() == ["fs1", "fs2", "fs3"]
        await screen.pilot.click("#nodes", offset=(2, 0))
        assert screen.names() == ["fs3", "fs2", "fs1"]

    await screen(check)


async def test_a_view_changes_cells_adds_and_removes_rows(screen):
    async def check(screen):
        full = NODE | {"state": "full", "reason": "NoRoom", "utilization": 1.0}
        await screen.sees(Seen(view=view(full, NODE | {"node": "[b]fs4"})))
        assert screen.names() == ["[b]fs4", "fs1"]
        assert screen.table()[1][1:3] == ["full", "NoRoom"]
        await screen.sees(Seen(view=view(NODE)))
        assert screen.table()[0][1] == "ready"

    await screen(check)


async def test_the_filter_chooses_by_words_and_escape_ends_it(screen):
    async def check(screen):
        await screen.press("/", *"conf down")
        assert screen.app.query_one("#filter", Input).value == "conf down"
        assert screen.names() == ["fs3"]
        await screen.press("enter")
        assert "only conf down" in screen.text("status")
        await screen.sees(Seen(view=view()))
        assert screen.names() == ["fs3"]
        await screen.press("escape")
        assert len(screen.names()) == 3

    await screen(check)


async def test_a_group_chosen_above_leaves_its_nodes_below(screen):
    async def check(screen):
        assert len(screen.names()) == 2
        await screen.press("shift+tab", "down", "enter")
        assert screen.app._group is None
        await screen.press("up", "enter")
        assert screen.names() == ["fs3"]

    await screen(check, group="default/ivr")


async def test_what_is_paused_stands_until_it_goes_on(screen):
    async def check(screen):
        await screen.press("p")
        await screen.sees(Seen(view=view(NODE | {"node": "new"})))
        assert screen.names() == ["fs1", "fs2", "fs3"]
        assert "PAUSED" in screen.text("status")
        await screen.press("p")
        assert screen.names() == ["new"]
        assert "PAUSED" not in screen.text("status")

    await screen(check)


async def test_a_balancer_that_is_away_is_told_of_and_what_was_seen_stands(screen):
    async def check(screen):
        await screen.sees(Gone("no balancer answers at http://x"))
        said = r"no balancer answers at http://x\. What stands here is \d+ s old\."
        assert re.match(said, screen.text("status"))
        assert len(screen.names()) == 3
        await screen.sees(Seen(view=view(NODE)))
        assert "ready" in screen.text("status")
        assert screen.names() == ["fs1"]

    await screen(check)


async def test_details_of_a_node_have_its_reason_probe_event_socket_and_events(screen):
    async def check(screen):
        await screen.press("down", "down", "enter")
        told = screen.text("detail")
        for part in ("default/conf/fs3", "down AccessDenied", "OPTIONS: 200 OK in 1.2 ms", "ConnectionRefused 3"):
            assert part in told
        assert "NodeState AccessDenied: node is down" in told
        assert screen.app.query_one("#detail").display
        await screen.press("up")
        assert "default/ivr/fs2" in screen.text("detail")
        assert "NodeState" not in screen.text("detail")
        await screen.press("escape")
        assert not screen.app.query_one("#detail").display

    await screen(check)


async def test_help_opens_and_closes_and_q_leaves_with_0(screen):
    async def check(screen):
        await screen.press("?")
        assert len(screen.app.screen_stack) == 2
        await screen.press("escape")
        assert len(screen.app.screen_stack) == 1
        await screen.press("q")

    assert await screen(check) == 0


async def test_an_interrupt_leaves_with_130(screen):
    async def check(screen):
        await screen.press("ctrl+c")

    assert await screen(check) == 130


def test_what_is_wrong_with_the_process_stands_in_the_headline():
    line = rows.headline(view(overloaded=True, eventsLost=2) | {"ready": False, "notReady": "starting"}).plain
    assert "not ready: starting" in line
    assert line.endswith("2 events lost · overloaded")


@pytest.mark.parametrize(
    ("part", "drawn"), [(0.0, ""), (0.5, "█████"), (0.55, "█████▌"), (1.0, "██████████"), (7.0, "██████████")]
)
def test_a_bar_is_as_long_as_the_load(part, drawn):
    assert rows.bar(NODE | {"utilization": part}).plain.split(" ")[0] == drawn


def test_without_a_terminal_it_names_what_to_use():
    result = CliRunner().invoke(main, ["top"], prog_name="switchtender")
    assert result.exit_code == 2
    assert result.stderr == (
        "switchtender: top needs a terminal; for a pipe there are switchtender nodes, and top --once\n"
    )


def test_events_are_a_nodes_in_each_of_its_groups():
    event = EVENT | {"details": {"groups": ["default/ivr", "default/conf"]}, "node": "fs1"}
    assert rows.about(event, NODE)
    assert not rows.about(EVENT, NODE)


class Terminal:
    """A command in a terminal of 80 by 24."""

    def __init__(self, *command):
        self.primary, secondary = os.openpty()
        fcntl.ioctl(self.primary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environ = os.environ | {"TERM": "xterm-256color"}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            environ.pop(name, None)
        self.process = subprocess.Popen(command, stdin=secondary, stdout=secondary, stderr=secondary, env=environ)
        os.close(secondary)
        self.said = b""

    def shows(self, *words):
        """Wait until each of these was drawn since the last call."""
        deadline = time.monotonic() + 60
        while not all(word in self.said for word in words):
            assert time.monotonic() < deadline, self.said.decode(errors="replace")
            if select.select([self.primary], [], [], 0.1)[0]:
                self.said += os.read(self.primary, 65536)
        self.said = b""

    def end(self):
        """What is drawn until the command ends, and its status."""
        with contextlib.suppress(OSError):  # the other side is closed
            while os.read(self.primary, 65536):
                pass
        return self.process.wait(60)

    def close(self):
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait(60)
        os.close(self.primary)


def test_in_a_real_terminal_it_outlives_the_balancer(tmp_path):
    layout = Layout(address="127.0.0.88", sip=15880, node_side=15881, worker_ports=(15882, 15889), http=18880)
    path = tmp_path / "balancer.yaml"
    write_config(path, layout, [Group("ivr", [Node("fs1", 250, {}, net=88)])], tmp_path / "state")
    command = (sys.executable, "-m", "switchtender", "top", "--url", layout.url)
    with contextlib.ExitStack() as stack:
        with serving(path, layout):
            terminal = stack.enter_context(contextlib.closing(Terminal(*command)))
            terminal.shows(b"default/ivr", b"fs1", b"down", b"ConnectionRefused", b"ready")
            once = subprocess.run([*command, "--once"], capture_output=True, text=True, check=True)
            assert "fs1   down   ConnectionRefused" in once.stdout
        terminal.shows(b"What stands here is")
        with serving(path, layout):
            terminal.shows(b"ready", b"calls/s")
            os.write(terminal.primary, b"q")
            assert terminal.end() == 0


def test_groups_are_ordered_by_what_the_column_shows():
    column = next(column for column in rows.GROUPS if column.title == "FAILOVERS")
    quiet = {"namespace": "voice", "group": "a", "nodes": 9, "failovers": {"Timeout": 1}}
    busy = {"namespace": "voice", "group": "b", "nodes": 1, "failovers": {"Timeout": 2, "Refused": 3}}
    assert rows.in_order([quiet, busy], column, backwards=False) == [busy, quiet]
    assert column.cell(busy).plain == "5"
