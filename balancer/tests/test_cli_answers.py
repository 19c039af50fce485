"""The forms of answers, how commands end, and what completes them: on a server that speaks the HTTP interface."""

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from switchtender.cli import events, listing, main, tables
from switchtender.cli.events import Choice, History
from switchtender.cli.server_events import parsed
from switchtender.load.states import STATES
from switchtender_api.exit_status import MEANINGS, ExitStatus

NODE = {
    "namespace": "voice",
    "group": "ivr",
    "node": "fs1",
    "state": "ready",
    "reason": "Reporting",
    "sessions": 12,
    "maxSessions": 100,
    "effective": 12.5,
    "capacity": 97.0,
    "free": 84.5,
    "utilization": 0.125,
    "share": 0.5,
    "assigned": 40,
    "callsPerSecond": 1.0,
    "reportAge": 0.4,
    "resources": {"conf": {"inUse": 1, "limit": 3}},
}
FULL = NODE | {"node": "fs2", "state": "full", "utilization": 1.0, "sessions": 99}
DOWN = NODE | {"node": "fs3", "group": "conf", "state": "down", "capacity": 0, "utilization": 1.0, "sessions": None}
GROUP = {
    "namespace": "voice",
    "group": "ivr",
    "algorithm": "LeastLoad",
    "nodes": 3,
    "eligible": 1,
    "states": {"ready": 1, "full": 2, "down": 0},
    "sessions": 111,
    "effective": 112.0,
    "capacity": 194.0,
    "utilization": 0.58,
    "assigned": 80,
    "generation": 4,
    "callsPerSecond": 3.5,
    "rejectedPerSecond": 0.25,
    "calls": {"answered": 70, "failed": 0},
    "rejected": {"full": 3, "rate": 2},
    "failovers": {"timeout": 1},
    "resources": {},
    "unresolved": ["a.example.com"],
}


def event(number, **more):
    return {
        "id": number,
        "time": 1_700_000_000.0 + number,
        "type": "NodeState",
        "severity": "info",
        "namespace": "voice",
        "group": "ivr",
        "node": "fs1",
        "reason": "Reporting",
        "message": "node is ready",
        "count": 1,
        "details": {},
    } | more


TRACE = {"id": 3, "callId": "a@b", "until": time.time() + 1000, "entries": 2, "leftOut": 1}
MESSAGE = {
    "id": 1,
    "time": 1_700_000_000.5,
    "worker": 0,
    "direction": "received",
    "transport": "UDP",
    "local": "192.0.2.1:5060",
    "peer": "192.0.2.9:5060",
    "text": "INVITE sip:1@a SIP/2.0\r\nSubject: \x1b[31m\r\n\r\n",
}
PLACED = {
    "id": 2,
    "time": 1_700_000_001.0,
    "worker": 0,
    "decision": "placed",
    "group": "voice/ivr",
    "uid": "u1",
    "node": "fs1",
    "address": "192.0.2.11:5060",
    "details": {"algorithm": "LeastLoad", "attempt": 1},
}


class Balancer:
    """Speaks as much of the HTTP interface as the commands ask for; every stream ends after what there is."""

    def __init__(self):
        self.nodes, self.groups, self.events = [NODE, FULL, DOWN], [GROUP], []
        self.instance, self.first, self.streams = "one", 1, []
        self.status, self.asked, self.traced = 200, [], []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path, _, query = self.path.partition("?")
                if served.status != 200:
                    self.say({"error": "away"}, served.status)
                elif path == "/api/v1/nodes":
                    self.say({"nodes": served.nodes})
                elif path == "/api/v1/groups":
                    self.say({"groups": served.groups})
                elif path == "/api/v1/events":
                    asked = dict(part.split("=") for part in query.split("&") if part)
                    after = asked.get("after") or self.headers["Last-Event-ID"]
                    self.tell_events(int(after), int(asked.get("limit", 200)))
                elif path == "/api/v1/traces/3" and served.traced:
                    self.stream(served.traced.pop(0))
                else:
                    self.say({"error": "Not Found"}, 404)

            def tell_events(self, after, limit):
                found = [one for one in served.events if one["id"] > after]
                if "event-stream" not in self.headers.get("Accept", ""):
                    last = served.events[-1]["id"] if served.events else 0
                    known = {"events": found[:limit], "last": last, "first": served.first}
                    self.say(known | {"instance": served.instance})
                    return
                self.stream([("event", one) for one in found])

            def stream(self, told):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(b"retry: 2000\n\n:\n\n")
                for name, one in told:
                    self.wfile.write(f"id: {one.get('id', '')}\nevent: {name}\ndata: {json.dumps(one)}\n\n".encode())
                served.streams.append(self.headers["Last-Event-ID"])

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                served.asked.append((self.command, self.path, body and json.loads(body), self.headers["Authorization"]))
                self.say(TRACE, 201 if self.command == "POST" else 200)

            def do_DELETE(self):
                self.do_POST()

            def say(self, document, status=200):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://{}:{}".format(*self.server.server_address)


@pytest.fixture
def balancer():
    made = Balancer()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def run(balancer):
    runner = CliRunner()

    def invoke(*arguments, **environ):
        env = {"SWITCHTENDER_URL": balancer.url} | environ
        return runner.invoke(main, arguments, prog_name="switchtender", catch_exceptions=False, env=env)

    return invoke


@pytest.mark.parametrize(("command", "known"), [("nodes", "nodes"), ("groups", "groups"), ("events", "events")])
def test_json_and_yaml_hold_the_objects_of_the_api_unchanged(run, balancer, command, known):
    balancer.events = [event(1, message="ünïcode: yes", details={"on": "no"}), event(2)]
    assert json.loads(run(command, "-o", "json").stdout) == getattr(balancer, known)
    assert yaml.safe_load(run(command, "-o", "yaml").stdout) == getattr(balancer, known)


def test_wide_adds_columns_and_loses_none(run):
    for command in ("nodes", "groups"):
        narrow = run(command).stdout.splitlines()[0].split()
        wide = run(command, "-o", "wide").stdout.splitlines()[0].split()
        assert wide[: len(narrow)] == narrow
        assert len(wide) > len(narrow) + 5


def test_groups_show_load_states_calls_and_what_was_refused(run):
    [_, line] = run("groups").stdout.splitlines()
    assert " ".join(line.split()) == "voice/ivr 58% 111 112.0 194.0 3 1 1 ready, 2 full 3.5 0.2 5 1"
    assert run("groups", "--group", "voice/other").stdout.count("\n") == 1


def test_nodes_are_chosen_by_state_and_sorted_the_most_first(run):
    def names(*arguments):
        return [line.split()[1] for line in run("nodes", *arguments).stdout.splitlines()[1:]]

    assert names("--state", "full", "--state", "down") == ["fs2", "fs3"]
    assert names("--sort", "state") == ["fs3", "fs2", "fs1"]
    assert names("--sort", "sessions") == ["fs2", "fs1", "fs3"]
    assert names("--group", "voice/conf") == ["fs3"]


def test_a_node_without_capacity_has_no_load(run):
    assert run("nodes", "--state", "down").stdout.splitlines()[1].split()[4:6] == ["-", "-/100"]


def test_there_is_no_room_on_a_node_that_takes_no_calls():
    assert tables.room(NODE) == "84.5"
    assert tables.room(NODE | {"state": "full", "free": 0.0}) == "0.0"
    assert [tables.room(NODE | {"state": state}) for state in ("draining", "stale", "down")] == ["-", "-", "-"]


def test_a_node_that_is_not_heard_has_no_load():
    assert (tables.load(NODE), tables.load(NODE | {"heard": False})) == ("12%", "-")


def test_every_state_can_be_asked_for_and_has_its_color():
    assert set(listing.STATES) == set(STATES) == set(tables.COLORS)


def in_terminal(command, **environ):
    """What the command writes to a terminal."""
    primary, secondary = os.openpty()
    with subprocess.Popen(command, stdout=secondary, stdin=secondary, stderr=secondary, env=os.environ | environ):
        os.close(secondary)
        said = b""
        with contextlib.suppress(OSError):
            while part := os.read(primary, 65536):
                said += part
    os.close(primary)
    return said


def test_colors_are_for_terminals_and_only_where_they_are_wanted(balancer):
    command = [sys.executable, "-m", "switchtender", "nodes", "--url", balancer.url]
    environ = {"TERM": "xterm", "NO_COLOR": "", "COLUMNS": "120"}
    assert b"\x1b[32mready" in in_terminal(command, **environ)
    assert b"\x1b[3" not in in_terminal([*command, "--no-color"], **environ)
    assert b"\x1b[3" not in in_terminal(command, **environ | {"NO_COLOR": "1"})
    piped = subprocess.run(command, capture_output=True, env=os.environ | environ | {"FORCE_COLOR": "1"}, check=True)
    assert b"\x1b" not in piped.stdout


def test_a_reader_that_goes_away_ends_a_command_in_silence(balancer):
    balancer.nodes, balancer.groups = [NODE | {"node": f"fs{number}"} for number in range(1500)], []
    for output in ("table", "json"):
        command = [sys.executable, "-m", "switchtender", "nodes", "--url", balancer.url, "-o", output]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == ExitStatus.DONE


def test_an_interrupt_ends_a_command_with_130_in_silence(balancer):
    balancer.events = [event(1)]
    command = [sys.executable, "-m", "switchtender", "events", "--follow", "--url", balancer.url]
    # Whoever runs the tests in the background may have SIGINT ignored, and a child inherits that.
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, preexec_fn=heeding) as process:
        assert b"Reporting" in process.stdout.readline()
        while not balancer.streams:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == ExitStatus.INTERRUPTED


def test_every_way_to_end_is_explained():
    assert set(MEANINGS) == set(ExitStatus)


def test_help_of_the_program_needs_nothing_of_the_balancer():
    heavy = ("textual", "rich", "pydantic", "yaml", "aiohttp", "urllib.request", "asyncio", "switchtender._core")
    code = (
        "import sys; from switchtender.cli import main; main(['--help'], standalone_mode=False); "
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_says_what_it_is_for_and_gives_an_example():
    context = main.make_context("switchtender", [], resilient_parsing=True)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command.get_short_help_str(200).endswith("."), name
        for one in getattr(command, "commands", {name: command}).values():
            assert "Examples:\n  " in one.epilog, name
            assert all(getattr(option, "help", "") for option in one.params if option.param_type_name == "option"), name


# Events.


def test_events_are_a_line_each_with_time_place_and_count(run, balancer):
    balancer.events = [event(1), event(2, severity="error", count=3, node=None, message="two\nlines")]
    first, second = run("events", TZ="UTC").stdout.splitlines()
    assert first.split(" ", 1)[1] == "info    voice/ivr/fs1  NodeState Reporting: node is ready"
    assert second.split(" ", 1)[1] == "error   voice/ivr  NodeState Reporting: two?lines (3 times)"


def test_nothing_of_an_event_moves_the_cursor(run, balancer):
    balancer.events = [event(1, message="a\x1b[2Jb", details={"callId": "c\x1b[2Jd"})]
    [line] = run("events", "-o", "wide", TZ="UTC").stdout.splitlines()
    assert line.endswith("NodeState Reporting: a?[2Jb  callId=c?[2Jd")


def test_events_begin_after_an_id_or_some_time_ago(run, balancer):
    now = time.time()
    balancer.events = [event(1, time=now - 100), event(2, time=now - 10), event(3, time=now)]

    def ids(*arguments):
        return [one["id"] for one in json.loads(run("events", "-o", "json", *arguments).stdout)]

    assert ids("--since", "1") == [2, 3]
    assert ids("--since", "1m") == [2, 3]
    assert ids() == [1, 2, 3]
    refused = run("events", "--since", "soon")
    assert (refused.exit_code, "such as 500ms, 2s, 3m, 1h or 1d" in refused.stderr) == (2, True)


def test_events_are_read_whole_however_many_there_are(run, balancer):
    balancer.events = [event(number) for number in range(1, 2001)]
    assert len(json.loads(run("events", "-o", "json").stdout)) == 2000


@pytest.mark.parametrize(
    ("choice", "held"),
    [
        (Choice(), True),
        (Choice(group="voice/ivr"), True),
        (Choice(group="voice/conf"), False),
        (Choice(node="fs2"), False),
        (Choice(types=("Order", "NodeState")), True),
        (Choice(types=("Order",)), False),
        (Choice(severity="info"), True),
        (Choice(severity="warning"), False),
        (Choice(since=1_700_000_002.0), False),
    ],
)
def test_events_are_chosen_by_each_condition(choice, held):
    assert choice.holds(event(1)) is held


def test_an_event_is_in_every_group_that_it_names():
    assert Choice(group="voice/conf").holds(event(1, details={"groups": ["voice/ivr", "voice/conf"]}))


def test_a_type_that_there_is_not_is_refused(run):
    result = run("events", "--type", "NodeStat")
    assert (result.exit_code, "accepted: NodeState" in result.stderr) == (2, True)
    assert run("events", "--type", "nodestate").exit_code == 0


def followed(balancer, between, count):
    """What a follower reads and is told when the stream ends and ``between`` happens meanwhile, ``count`` events."""
    from switchtender.cli.client import BalancerApi

    told = []
    history = History(BalancerApi(balancer.url), pause=lambda _: between())
    read = [one["id"] for one in history.after(0)]
    coming = history.coming(told.append)
    return read + [next(coming)["id"] for _ in range(count)], told


def test_nothing_is_lost_while_the_connection_is(balancer):
    balancer.events = [event(1), event(2)]
    steps = iter([lambda: setattr(balancer, "status", 503), lambda: setattr(balancer, "status", 200)])

    def between():
        next(steps, lambda: None)()
        balancer.events += [event(len(balancer.events) + 1)]

    read, told = followed(balancer, between, 2)
    assert read == [1, 2, 3, 4]
    assert told[0] == "the balancer ended the stream; trying again"
    assert not any("lost" in line for line in told)


def test_what_the_ring_forgot_meanwhile_is_told(balancer):
    balancer.events = [event(1)]

    def between():
        balancer.events, balancer.first = [event(2500), event(2501)], 2500

    read, told = followed(balancer, between, 2)
    assert read == [1, 2500, 2501]
    assert "events are lost: 1 was the last one read, 2500 is the first one kept" in told


def test_ids_that_repeats_left_behind_are_no_loss(balancer):
    balancer.events = [event(1)]

    def between():
        balancer.events, balancer.first = [event(5, count=5)], 5

    read, told = followed(balancer, between, 1)
    assert read == [1, 5]
    assert not any("lost" in line for line in told)


def test_a_restart_is_told_and_read_from_its_first_event(balancer):
    balancer.events = [event(8), event(9)]

    def between():
        balancer.instance, balancer.events = "two", [event(1), event(2)]

    read, told = followed(balancer, between, 2)
    assert read == [8, 9, 1, 2]
    assert any(line.startswith("the balancer was restarted") for line in told)


def test_following_in_json_is_a_line_each_and_in_yaml_a_document_each(run, balancer, monkeypatch):
    balancer.events = [event(1), event(2)]
    monkeypatch.setattr(events.History, "coming", lambda *_: iter([event(3)]))
    assert [json.loads(line)["id"] for line in run("events", "-f", "-o", "json").stdout.splitlines()] == [1, 2, 3]
    assert [one["id"] for one in yaml.safe_load_all(run("events", "-f", "-o", "yaml").stdout)] == [1, 2, 3]


FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))


@given(st.lists(st.tuples(FIELD, st.lists(FIELD, min_size=1), st.integers(0, 10**18))))
def test_server_sent_events_are_read_as_they_were_written(sent):
    text = "".join(
        f": comment\nid: {number}\nevent: {name}\n" + "".join(f"data: {line}\n" for line in data) + "\n"
        for name, data, number in sent
    )
    lines = text.encode().splitlines(keepends=True)
    found = [(one.name, one.data.split("\n"), int(one.id)) for one in parsed(lines)]
    assert found == [(name, data, number) for name, data, number in sent]


def test_a_server_sent_event_that_breaks_off_is_none():
    assert [one.data for one in parsed([b"data: 1\r\n", b"\r\n", b"data: 2\n"])] == ["1"]


# Traces.


def test_a_trace_shows_messages_and_decisions_as_they_come_over_lost_connections(run, balancer, monkeypatch):
    monkeypatch.setattr("switchtender.cli.trace._PAUSE", 0.0)
    balancer.traced = [[("entry", MESSAGE)], [("entry", PLACED), ("end", TRACE)]]
    result = run("trace", "a@b", "--for", "2m", SWITCHTENDER_TOKEN="secret", TZ="UTC")
    assert result.exit_code == 0
    assert balancer.asked == [
        ("POST", "/api/v1/traces", {"callId": "a@b", "seconds": 120, "messagesPerSecond": 20}, "Bearer secret")
    ]
    assert balancer.streams == ["0", "1"]
    first, start, subject, _, placed = result.stdout.splitlines()
    assert first.endswith("received UDP 192.0.2.1:5060 <- 192.0.2.9:5060")
    assert (start, subject) == ("INVITE sip:1@a SIP/2.0", "Subject: ?[31m")
    assert placed.endswith("placed voice/ivr to fs1 (192.0.2.11:5060) algorithm=LeastLoad attempt=1")
    assert "2 entries, 1 left out" in result.stderr


def test_a_trace_as_json_is_what_the_balancer_told(run, balancer):
    balancer.traced = [[("entry", MESSAGE), ("entry", PLACED), ("end", TRACE)]]
    result = run("trace", "a@b", "-o", "json", SWITCHTENDER_TOKEN="secret")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [MESSAGE, PLACED]


def test_an_interrupted_trace_is_ended_at_the_balancer(run, balancer, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("switchtender.cli.trace._told", interrupted)
    result = run("trace", "a@b", SWITCHTENDER_TOKEN="secret")
    assert result.exit_code == 130
    assert balancer.asked[1] == ("DELETE", "/api/v1/traces/3", b"", "Bearer secret")


@pytest.mark.parametrize("span", ["0s", "11m", "soon"])
def test_a_trace_lasts_as_long_as_it_may(run, balancer, span):
    result = run("trace", "a@b", "--for", span)
    assert (result.exit_code, balancer.asked) == (2, [])
    assert "accepted" in result.stderr


# Completion.


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_names_of_the_running_balancer(balancer, tmp_path):
    program = tmp_path / "switchtender"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m switchtender "$@"\n')
    program.chmod(0o755)
    lines = ["dra", "drain f", "nodes --group voice/", "nodes --sta", "resize fs1 c", "events --type Ord"]
    asked = "\n".join(
        f"COMP_WORDS=(switchtender {line}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); COMPREPLY=(); "
        'compopt() { :; }; _switchtender_completion switchtender; echo "${COMPREPLY[@]}"'
        for line in lines
    )
    script = f'eval "$(switchtender completion bash)"\n{asked}\n'
    environ = os.environ | {"SWITCHTENDER_URL": balancer.url, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=environ, check=True)
    assert (done.stderr, done.stdout.splitlines()) == (
        "",
        ["drain", "fs1 fs2 fs3", "voice/ivr", "--state", "conf", "Order"],
    )


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "COMPREPLY"), ("zsh", "#compdef switchtender"), ("fish", "complete")]
)
def test_each_shell_has_its_script(run, shell, word):
    result = run("completion", shell)
    assert (result.exit_code, word in result.stdout) == (0, True)


def test_where_nobody_answers_nothing_is_completed_and_nothing_is_said(balancer):
    balancer.status = 500
    environ = {"_SWITCHTENDER_COMPLETE": "bash_complete", "COMP_WORDS": "switchtender drain f", "COMP_CWORD": "2"}
    result = CliRunner().invoke(main, [], prog_name="switchtender", env=environ | {"SWITCHTENDER_URL": balancer.url})
    assert (result.exit_code, result.output.strip()) == (0, "")
