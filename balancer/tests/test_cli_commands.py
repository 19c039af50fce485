"""The commands that ask a running balancer, against a server that answers what the test wants; and `check`."""

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from click.testing import CliRunner

from switchtender.cli import main, tables

NODE = {
    "namespace": "voice",
    "group": "ivr",
    "node": "fs1",
    "state": "ready",
    "reason": "Reporting",
    "sessions": 12,
    "maxSessions": 100,
    "effective": 12.5,
    "free": 84.5,
    "utilization": 0.125,
    "share": 0.5,
    "assigned": 40,
    "reportAge": 0.4,
}
OTHER = {**NODE, "group": "conf", "node": "fs2", "state": "unknown", "reason": "NoReportYet", "sessions": None}
OTHER |= {"maxSessions": None, "reportAge": None}
CANDIDATE = {
    "name": "fs1",
    "state": "ready",
    "verdict": "Eligible",
    "effective": 1.0,
    "capacity": 97.0,
    "free": 96.0,
    "utilization": 0.01,
    "weight": 1.0,
    "priority": 0,
}
ANSWER = {
    "group": {"namespace": "voice", "name": "ivr"},
    "candidates": [CANDIDATE],
    "choice": {"name": "fs1", "sip": "127.0.0.11:5060"},
    "reason": None,
}


class Stub:
    """A balancer that answers from a table: path → (status, text)."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # the name that the base class looks for
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                stub.asked.append((self.command, self.path, json.loads(body) if body else None))
                status, text = stub.answers.get(self.path, (404, '{"error": "Not Found"}'))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def do_POST(self):
                self.do_GET()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://{}:{}".format(*self.server.server_address)

    def gives(self, path, document, status=200):
        self.answers[path] = status, document if isinstance(document, str) else json.dumps(document)


@pytest.fixture
def stub():
    made = Stub()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def run():
    runner = CliRunner()
    return lambda *arguments, **rest: runner.invoke(
        main, arguments, prog_name="switchtender", catch_exceptions=False, **rest
    )


def one_line(result):
    assert result.exit_code == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    return line


def test_nodes_as_json_are_exactly_the_list_of_the_api(run, stub):
    stub.gives("/api/v1/nodes", {"nodes": [NODE, OTHER]})
    result = run("nodes", "--url", stub.url, "--output", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [NODE, OTHER]


def test_nodes_as_a_table_have_a_line_each_and_nothing_is_cut_off_in_a_pipe(run, stub):
    long = {**NODE, "node": "freeswitch-" + "x" * 50, "group": "g" * 60, "reason": "AuthenticationFailed"}
    stub.gives("/api/v1/nodes", {"nodes": [NODE, OTHER, long]})
    result = run("nodes", "--url", stub.url, env={"COLUMNS": "80"})
    assert result.exit_code == 0
    header, first, second, third = result.stdout.splitlines()
    assert header.split()[:4] == ["GROUP", "NODE", "STATE", "REASON"]
    assert " ".join(first.split()) == "voice/ivr fs1 ready Reporting 12% 12/100 12.5 84.5 - - 0.4s - -"
    assert second.split()[5] == "-/-"
    assert third.split()[:4] == [f"voice/{long['group']}", long["node"], "ready", "AuthenticationFailed"]


def test_hosts_without_an_address_are_told_of_beside_the_table(run, stub):
    stub.gives("/api/v1/nodes", {"nodes": [NODE]})
    groups = [
        {"namespace": "voice", "group": "ivr", "unresolved": ["a.example.com", "b.example.com"]},
        {"namespace": "voice", "group": "conf", "unresolved": []},
        {"namespace": "voice", "group": "old"},
    ]
    stub.gives("/api/v1/groups", {"groups": groups})
    result = run("nodes", "--url", stub.url)
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == "voice/ivr: no address is known of a.example.com, b.example.com\n"
    assert run("nodes", "--url", stub.url, "--group", "voice/conf").stderr == ""


def test_nodes_of_one_group(run, stub):
    stub.gives("/api/v1/nodes", {"nodes": [NODE, OTHER]})
    result = run("nodes", "--url", stub.url, "-o", "json", "--group", "voice/conf")
    assert json.loads(result.stdout) == [OTHER]


def test_a_state_of_a_later_version_is_shown_as_it_is(run, stub):
    stub.gives("/api/v1/nodes", {"nodes": [{**NODE, "state": "ejected"}]})
    result = run("nodes", "--url", stub.url)
    assert (result.exit_code, "ejected" in result.stdout) == (0, True)


def test_names_are_not_taken_for_markup(run, stub):
    stub.gives("/api/v1/nodes", {"nodes": [{**NODE, "node": "[red]fs[/]"}]})
    assert "[red]fs[/]" in run("nodes", "--url", stub.url).stdout


def test_the_url_may_come_from_the_environment_and_no_proxy_is_asked(run, stub):
    stub.gives("/api/v1/nodes", {"nodes": [NODE]})
    env = {"SWITCHTENDER_URL": stub.url, "http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    assert run("nodes", env=env).exit_code == 0


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_nobody_there_is_one_line(run):
    line = one_line(run("nodes", "--url", f"http://127.0.0.1:{closed_port()}"))
    assert "no balancer answers at http://127.0.0.1:" in line
    assert "Connection refused" in line
    assert "--url" in line


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", "file:///etc/passwd"])
def test_a_url_that_is_none_is_one_line(run, url):
    for command in (["nodes"], ["explain", "--request-uri", "sip:1@a"]):
        assert "accepted: an http or https address" in one_line(run(*command, "--url", url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:port", "http://[::1", "http://127.0.0.1:99999", "http://a b/"])
def test_a_url_that_leads_nowhere_is_one_line(run, url):
    assert "no balancer answers" in one_line(run("nodes", "--url", url))


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", '{"nodes": 7}', '"nodes"'])
def test_what_is_no_balancer_is_one_line(run, stub, text):
    stub.gives("/api/v1/nodes", text)
    assert "no balancer of this version" in one_line(run("nodes", "--url", stub.url))
    stub.gives("/api/v1/explain", text)
    assert "no balancer of this version" in one_line(run("explain", "--url", stub.url, "--request-uri", "sip:1@a"))


def test_an_answer_that_breaks_off_is_one_line(run):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        thread = threading.Thread(target=hang_up)
        thread.start()
        line = one_line(run("nodes", "--url", "http://{}:{}".format(*server.getsockname())))
        thread.join()
    assert "no balancer answers" in line


def test_an_error_of_the_server_is_one_line_with_its_status(run, stub):
    stub.gives("/api/v1/nodes", {"error": "internal error; the log says more"}, 500)
    assert "answers 500: internal error" in one_line(run("nodes", "--url", stub.url))
    stub.gives("/api/v1/nodes", "no json", 503)
    assert "answers 503" in one_line(run("nodes", "--url", stub.url))


def test_watch_and_json_do_not_go_together(run, stub):
    result = run("nodes", "--url", stub.url, "--watch", "-o", "json")
    assert result.exit_code == 2
    assert "--watch" in result.stderr


def test_watch_shows_what_changes_goes_on_over_a_restart_and_ends_when_interrupted(run, stub, monkeypatch):
    stub.gives("/api/v1/nodes", {"nodes": [NODE]})
    steps = iter(
        [
            lambda: stub.gives("/api/v1/nodes", {"error": "away for a moment"}, 503),
            lambda: stub.gives("/api/v1/nodes", {"nodes": [{**NODE, "state": "draining"}]}),
            lambda: None,
        ]
    )

    def rest(_):
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(tables, "time", type("Clock", (), {"sleep": staticmethod(rest)}))
    result = run("nodes", "--url", stub.url, "--watch")
    assert result.exit_code == 130
    assert len(stub.asked) == 4
    assert "draining" in result.stdout


def test_watch_without_a_balancer_is_one_line(run):
    assert "no balancer answers" in one_line(run("nodes", "--watch", "--url", f"http://127.0.0.1:{closed_port()}"))


def test_explain_asks_what_was_given_and_no_more(run, stub):
    stub.gives("/api/v1/explain", ANSWER)
    result = run("explain", "--url", stub.url, "--request-uri", "sip:1@a", "--source", "192.0.2.1", "--call-id", "x")
    assert result.exit_code == 0
    question = {"requestUri": "sip:1@a", "source": "192.0.2.1", "callId": "x"}
    assert stub.asked == [("POST", "/api/v1/explain", question)]
    assert result.stdout.splitlines()[0] == "group voice/ivr: every call is its"
    assert "goes to fs1 (127.0.0.11:5060)" in result.stdout


def test_nodes_show_what_operators_want_what_options_came_to_and_what_is_in_use(run, stub):
    more = {
        "admin": {"state": "Drained", "weight": 3, "resources": {"conf": 2}},
        "transport": "TCP",
        "probe": {"status": 503},
        "resources": {"conf": {"inUse": 1, "limit": 2}, "rec": {"inUse": 4, "limit": None}},
    }
    silent = {
        **NODE,
        "transport": "UDP",
        "probe": {"status": None},
        "admin": {"state": None, "weight": None, "resources": {}},
    }
    stub.gives("/api/v1/nodes", {"nodes": [{**NODE, **more}, silent]})
    _, first, _ = run("nodes", "--url", stub.url).stdout.splitlines()
    assert " ".join(first.split()).endswith("0.4s - drained, weight 3, conf 2")
    _, first, second = run("nodes", "--url", stub.url, "-o", "wide").stdout.splitlines()
    assert " ".join(first.split()).endswith("- TCP 503 - - conf 1/2, rec 4/-")
    assert " ".join(second.split()).endswith("- UDP no answer - - -")


def test_explain_takes_every_attribute(run, stub):
    stub.gives("/api/v1/explain", ANSWER)
    arguments = ["--request-uri", "sip:1@a", "--method", "REGISTER", "--from", "sip:a@b", "--to", "<sip:c@d>"]
    arguments += [
        "--listener",
        "public",
        "--group",
        "voice/ivr",
        "--header",
        "X-Class: gold ",
        "--header",
        "Subject:a:b",
    ]
    assert run("explain", "--url", stub.url, *arguments).exit_code == 0
    [(_, _, question)] = stub.asked
    assert question == {
        "requestUri": "sip:1@a",
        "method": "REGISTER",
        "from": "sip:a@b",
        "to": "<sip:c@d>",
        "listener": "public",
        "group": "voice/ivr",
        "headers": {"X-Class": "gold", "Subject": "a:b"},
    }


MESSAGE = "INVITE sip:1@a SIP/2.0\r\nFrom: \u00e4\r\n\r\n"


def test_explain_takes_a_pasted_message(run, stub, tmp_path):
    stub.gives("/api/v1/explain", ANSWER)
    file = tmp_path / "invite.txt"
    file.write_bytes(MESSAGE.encode())
    assert run("explain", "--url", stub.url, str(file), "--source", "192.0.2.1").exit_code == 0
    assert run("explain", "--url", stub.url, "-", input=MESSAGE.encode()).exit_code == 0
    assert [question for _, _, question in stub.asked] == [
        {"message": MESSAGE, "source": "192.0.2.1"},
        {"message": MESSAGE},
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --request-uri, or a file"),
        (["-", "--request-uri", "sip:1@a"], "give --request-uri, or a file"),
        (["-", "--to", "sip:1@a"], "leave the other options out"),
        (["--request-uri", "sip:1@a", "--header", "X-Class"], "X-Class: accepted: NAME:VALUE"),
        (["nowhere.txt"], "nowhere.txt"),
    ],
)
def test_a_question_that_makes_no_sense_is_not_asked(run, stub, arguments, said):
    result = run("explain", "--url", stub.url, *arguments, input=b"")
    assert (result.exit_code, stub.asked) == (2, [])
    assert said in result.stderr


def test_explain_says_rule_algorithm_and_why(run, stub):
    candidate = CANDIDATE | {"score": 0.5, "resources": {"conf": {"in_use": 1, "limit": 2}}, "why": "takes the call"}
    told = {
        **ANSWER,
        "matches": True,
        "rule": 2,
        "algorithm": "Hash",
        "hash": "00ff",
        "wanted": {"legs": 2, "resources": ["conf"], "emergency": True},
        "candidates": [candidate],
        "spill": {"group": {"namespace": "voice", "name": "rest"}, "candidates": []},
    }
    stub.gives("/api/v1/explain", told)
    lines = run("explain", "--url", stub.url, "--request-uri", "sip:1@a").stdout.splitlines()
    assert lines[:3] == [
        "group voice/ivr: by its rule 2",
        "algorithm Hash, hash key 00ff",
        "wants 2 sessions, 1 conf; an emergency call",
    ]
    assert " ".join(lines[4].split()) == "fs1 ready Eligible 1.0 97.0 96.0 1% 1 0.5 0 conf 1/2 takes the call"
    assert "over its limit it spills into group voice/rest" in lines
    stub.gives("/api/v1/explain", {**told, "matches": False, "rule": None})
    first = run("explain", "--url", stub.url, "--request-uri", "sip:1@a", "--group", "voice/ivr").stdout.splitlines()[0]
    assert first == "group voice/ivr: none of its rules matches: asked because --group names it"


def test_explain_as_json_is_the_answer_of_the_api(run, stub):
    stub.gives("/api/v1/explain", ANSWER)
    result = run("explain", "--url", stub.url, "--request-uri", "sip:1@a", "-o", "json")
    assert json.loads(result.stdout) == ANSWER


def test_a_call_that_nobody_takes_has_status_1_and_says_why(run, stub):
    stub.gives("/api/v1/explain", {**ANSWER, "choice": None, "reason": "Full"})
    result = run("explain", "--url", stub.url, "--request-uri", "sip:1@a")
    assert result.exit_code == 1
    assert "no node takes the call: Full" in result.stdout


def test_a_call_of_no_group_has_status_1(run, stub):
    stub.gives("/api/v1/explain", {"group": None, "candidates": [], "choice": None, "reason": "NoGroup"})
    result = run("explain", "--url", stub.url, "--request-uri", "sip:1@a")
    assert result.exit_code == 1
    assert result.stdout == "no group matches: the call gets 404\n"


def test_a_question_that_is_refused_names_the_field(run, stub):
    stub.gives("/api/v1/explain", {"error": "requestUri: not a URI"}, 400)
    line = one_line(run("explain", "--url", stub.url, "--request-uri", "x"))
    assert line == "switchtender: requestUri: not a URI"


def test_check_of_a_good_file(run, config_file):
    result = run("check", str(config_file), env={"ESL_PASSWORD": "geheim"})
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{config_file}: valid; 1 group, 2 members\n"
    result = run("check", str(config_file), "-o", "json", env={"ESL_PASSWORD": "geheim"})
    assert json.loads(result.stdout) == {"valid": True, "groups": [{"group": "voice/ivr", "members": 2}]}


def test_check_warns_of_a_token_that_may_be_overheard(run, config_file, config_text):
    config_file.write_text(config_text.replace("spec:", "spec:\n  http: {address: 0.0.0.0}", 1))
    result = run("check", str(config_file), env={"ESL_PASSWORD": "geheim"})
    assert result.exit_code == 0
    assert result.stdout == f"{config_file}: valid; 1 group, 2 members\n"
    [line] = result.stderr.splitlines()
    assert line.startswith(f"{config_file}: warning: spec.http: 0.0.0.0")


def test_check_of_a_bad_file_tells_all_of_it_line_by_line(run, config_file, config_text):
    config_file.write_text(config_text.replace("port: 5060}", "port: 99999}") + "  surprise: 1\n")
    result = run("check", str(config_file), env={"ESL_PASSWORD": "geheim"})
    assert result.exit_code == 1
    *problems, count = result.stderr.splitlines()
    assert count == f"{config_file}: {len(problems)} problems"
    assert any("spec.listeners[0].port" in line and "99999" in line for line in problems)
    assert any("spec.surprise" in line for line in problems)
    document = json.loads(run("check", str(config_file), "-o", "json", env={"ESL_PASSWORD": "geheim"}).stdout)
    assert document["valid"] is False
    assert {problem["path"] for problem in document["problems"]} == {"spec.listeners[0].port", "spec.surprise"}


def test_check_of_a_file_that_is_not_there(run, tmp_path):
    result = run("check", str(tmp_path / "nowhere.yaml"))
    assert result.exit_code == 1
    assert "cannot be read: No such file or directory" in result.stderr


def test_help_and_version_name_every_command(run):
    text = run("--help").stdout
    assert all(command in text for command in ("serve", "check", "nodes", "explain"))
    assert run("--version").stdout.startswith("switchtender ")


def test_nodes_give_up_on_a_balancer_that_does_not_answer(run, monkeypatch):
    monkeypatch.setattr("switchtender.cli.client._TIMEOUT", 0.05)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        line = one_line(run("nodes", "--url", "http://{}:{}".format(*silent.getsockname())))
    assert "timed out" in line


ORDERED = {
    "verb": "x",
    "members": [
        {
            "member": "voice/ivr/fs1@127.0.0.11:5060",
            "before": {"state": None, "weight": None, "resources": {}},
            "after": {"state": "Drained", "weight": 5, "resources": {"conf": 3}},
        }
    ],
}


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["drain", "fs1"], "fs1/drain", {}),
        (["undrain", "fs1", "--group", "voice/ivr"], "fs1/undrain", {"group": "voice/ivr"}),
        (["disable", "a/b"], "a%2Fb/disable", {}),
        (["enable", "fs1"], "fs1/enable", {}),
        (["weight", "fs1", "5"], "fs1/weight", {"weight": 5}),
        (["weight", "fs1", "--reset"], "fs1/weight", {"weight": None}),
        (["resize", "fs1", "conf", "0"], "fs1/resize", {"resource": "conf", "limit": 0}),
        (["resize", "fs1", "conf", "--reset"], "fs1/resize", {"resource": "conf", "limit": None}),
    ],
)
def test_orders_are_put_as_the_api_takes_them(run, stub, arguments, path, body):
    stub.gives(f"/api/v1/nodes/{path}", ORDERED)
    result = run(*arguments, "--url", stub.url)
    assert result.exit_code == 0
    assert stub.asked == [("POST", f"/api/v1/nodes/{path}", body)]
    assert result.stdout == "voice/ivr/fs1@127.0.0.11:5060: as configured -> drained, weight 5, conf 3\n"
    assert json.loads(run(*arguments, "--url", stub.url, "-o", "json").stdout) == ORDERED


@pytest.mark.parametrize("arguments", [["weight", "fs1"], ["weight", "fs1", "5", "--reset"], ["resize", "fs1", "conf"]])
def test_an_order_is_a_number_or_a_reset(run, stub, arguments):
    result = run(*arguments, "--url", stub.url)
    assert (result.exit_code, stub.asked) == (2, [])
    assert "or --reset" in result.stderr


def test_an_order_without_the_token_is_told_where_it_is_and_what_to_do(run, stub):
    stub.gives("/api/v1/nodes/fs1/drain", {"error": "a token is needed, which stands in file /x"}, 401)
    line = one_line(run("drain", "fs1", "--url", stub.url, env={"SWITCHTENDER_TOKEN": "0123456789abcdef"}))
    assert line == "switchtender: a token is needed, which stands in file /x; the token came from SWITCHTENDER_TOKEN"


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_refused_order_is_told_in_the_balancers_words(run, stub, status):
    stub.gives("/api/v1/nodes/fs1/drain", {"error": "do it like this"}, status)
    assert one_line(run("drain", "fs1", "--url", stub.url)) == "switchtender: do it like this"


def test_explain_orders_and_check_answer_in_yaml_and_wide(run, stub, config_file):
    environ = {"ESL_PASSWORD": "geheim"}
    stub.gives("/api/v1/explain", ANSWER)
    asked = ("explain", "--url", stub.url, "--request-uri", "sip:1@a", "-o")
    assert yaml.safe_load(run(*asked, "yaml").stdout) == ANSWER
    assert {"REASON", "UID", "WHY"} <= set(run(*asked, "wide").stdout.splitlines()[1].split())
    stub.gives("/api/v1/nodes/fs1/drain", ORDERED)
    assert yaml.safe_load(run("drain", "fs1", "--url", stub.url, "-o", "yaml").stdout) == ORDERED
    assert run("drain", "fs1", "--url", stub.url, "-o", "wide").stdout.startswith("drain fs1: voice/ivr/fs1@")
    valid = {"valid": True, "groups": [{"group": "voice/ivr", "members": 2}]}
    assert yaml.safe_load(run("check", str(config_file), "-o", "yaml", env=environ).stdout) == valid
    assert run("check", str(config_file), "-o", "wide", env=environ).stdout.splitlines()[1] == (
        "voice/ivr: LeastLoad: fs1, fs2"
    )
