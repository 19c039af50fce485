"""`switchtender import opensips`: what becomes of dispatcher and load_balancer tables."""

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from serve_stand import Node, config_of, served, simulated

from switchtender.cli import main
from switchtender.migrate.addresses import destination, event_socket, pool
from switchtender.migrate.dispatcher import Choices
from switchtender.migrate.documents import Form
from switchtender.migrate.groups import node_name, resource_name
from switchtender.migrate.opensips import Source, convert
from switchtender_api.loader import load
from switchtender_api.objects import kubernetes_gaps, read_group
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.endpoints import SipUri

DATA = Path(__file__).parent / "data" / "opensips"
STANDALONE = Form()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HEAD = "id\tsetid\tdestination\tstate\tweight\tpriority\n"
SHOWN = (("", r"\+--"), ("yaml", "apiVersion"))
LB_HEAD = "id\tgroup_id\tdst_uri\tresources\n"


def imported(dispatcher=None, load_balancer=None, *, form=STANDALONE, **choices):
    """Documents and report of these two texts."""
    files = [[] if text is None else [Source("table", text.encode())] for text in (dispatcher, load_balancer)]
    return convert(*files, form=form, choices=Choices(**choices), now=NOW)


def groups_of(made):
    """The groups by name, as the loader of `serve` reads them: everything it would refuse fails here."""
    return {group.name: group.spec for group in load(made.documents, "imported").groups}


def one_group(*rows, **choices):
    """The group of these dispatcher rows, all of set 1: destination, weight, then priority and state if given."""
    lines = []
    for number, (where, weight, *rest) in enumerate(rows, 1):
        priority, state = (*rest, *(0, 0)[len(rest) :])
        lines.append(f"{number}\t1\t{where}\t{state}\t{weight}\t{priority}\n")
    made = imported(HEAD + "".join(lines), **choices)
    return groups_of(made)["dispatcher-1"], made.report


def said(report, line):
    """What the report says of a row, by its line."""
    [outcome] = [outcome for outcome in report.rows if outcome.place.line == line]
    return " / ".join(f"{note.verdict}: {note.text}" for note in outcome.notes)


@pytest.fixture
def run():
    return lambda *arguments, **rest: CliRunner().invoke(
        main, ["import", "opensips", *map(str, arguments)], prog_name="switchtender", catch_exceptions=False, **rest
    )


# --- golden ---------------------------------------------------------------------------------------------------


def same_as(name, text):
    """Compare with a golden file; UPDATE_GOLDEN=1 writes it."""
    path = DATA / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize(
    ("name", "dispatcher", "load_balancer"),
    [
        ("talk", "talk-dispatcher.txt", "talk-load-balancer.txt"),
        ("mysqldump", "mysqldump.sql", "mysqldump.sql"),
    ],
)
def test_documents_and_report_are_the_golden_ones(name, dispatcher, load_balancer):
    sources = [[Source(file, (DATA / file).read_bytes())] for file in (dispatcher, load_balancer)]
    made = convert(*sources, form=Form(), choices=Choices(), now=NOW)
    same_as(f"{name}.yaml", made.documents)
    same_as(f"{name}.report.txt", "\n".join(made.report.lines()) + "\n")
    load(made.documents, name)


# --- the talk's tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "counted"),
    [
        (("--dispatcher",), "2 groups, 4 members"),
        (("--load-balancer",), "1 group, 3 members"),
        (("--dispatcher", "--load-balancer"), "3 groups, 7 members"),
    ],
)
def test_the_tables_of_the_talk_are_checked_as_they_stand(run, tmp_path, tables, counted):
    result = run(*(part for table in tables for part in (table, DATA / f"talk{table[1:]}.txt")))
    assert result.exit_code == 0
    file = tmp_path / "switchtender.yaml"
    file.write_text(result.stdout)
    checked = CliRunner().invoke(main, ["check", str(file)])
    assert checked.stdout == f"{file}: valid; {counted}\n", checked.output


def test_the_load_balancer_table_of_the_talk_keeps_what_opensips_drops():
    group = groups_of(imported(None, (DATA / "talk-load-balancer.txt").read_text()))["lb-1"]
    assert [(entry.name, entry.source, entry.limit) for entry in group.capacity.resources] == [
        ("ch", "Reported", None),
        ("conf", None, 0),
        ("chan", None, 0),
    ]
    members = {member.name: member for member in group.members.static}
    assert all(member.load.password.get_secret_value() == "ClueCon" for member in members.values())
    assert {name: [(entry.name, entry.limit) for entry in member.resources] for name, member in members.items()} == {
        "10.0.0.237": [("conf", 10)],
        "10.0.0.238": [("chan", 75)],
        "10.0.0.239": [],
    }
    assert group.match.rules == ()  # a call takes the reported sessions anyway


async def test_imported_tables_are_served(tmp_path):
    # The talk's tables at addresses of this host; two of the five boxes with an Event Socket are there.
    tables = [(DATA / f"talk-{name}.txt").read_text() for name in ("dispatcher", "load-balancer")]
    for before, after in (("192.168.1.3", "127.0.0.20"), ("192.168.1.5", "127.0.0.20"), ("10.0.0.2", "127.0.0.2")):
        tables = [table.replace(before, after) for table in tables]
    made = imported(*tables, form=Form(config=False))
    file = tmp_path / "switchtender.yaml"
    config = yaml.safe_dump(config_of(tmp_path / "state", address="127.0.0.202"))
    file.write_text(f"{config}---\n{made.documents}")
    nodes = [Node(f"fs{host}", host, {"max_sessions": 20}) for host in (208, 237)]
    with simulated(nodes, tmp_path, "--heartbeat-interval", "1"):
        async with served(file) as serving, asyncio.timeout(60):
            there = {"127.0.0.208", "127.0.0.237"}
            while {name for name, (state, _) in (await serving.states()).items() if state == "ready"} < there:
                await asyncio.sleep(0.02)
            entries = {entry["node"]: entry for entry in (await serving.get("/api/v1/nodes"))["nodes"]}
    assert set(entries) == {f"127.0.0.{host}" for host in (200, 201, 208, 209, 237, 238, 239)}
    assert entries["127.0.0.237"]["group"] == "lb-1"
    assert entries["127.0.0.237"]["maxSessions"] == 20


# --- addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown", "dropped"),
    [
        ("sip:10.0.0.1", "sip:10.0.0.1", ()),
        ("SIP:FS.example.com:5080;transport=TCP", "sip:fs.example.com:5080;transport=tcp", ()),
        ("sip:[2001:db8::1]:5070", "sip:[2001:db8::1]:5070", ()),
        ("sip:trunk@10.0.0.1;lr?a=b", "sip:10.0.0.1", ("headers", "user part", "parameter lr")),
        ("sip:u:secret@10.0.0.1", "sip:10.0.0.1", ("password",)),
    ],
)
def test_a_destination_keeps_host_port_and_transport(text, shown, dropped):
    found = destination(text)
    assert (str(found.uri), found.dropped) == (shown, dropped)


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "sips:10.0.0.1", "sip:10.0.0.1;transport=tls", "sip:", "sip:a b", "tel:+1"]
)
def test_a_destination_that_cannot_be_a_node_is_refused_without_repeating_it(text):
    with pytest.raises(Refusal) as refusal:
        destination(text)
    assert text not in refusal.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fs://:ClueCon@10.0.0.1", ("10.0.0.1", 8021, None, "ClueCon")),
        ("fs://freeswitch:p:w%41@10.0.0.1:8022", ("10.0.0.1", 8022, "freeswitch", "p:w%41")),
        ("fs://:pw@fs.example.com/x?HEARTBEAT,CUSTOM", ("fs.example.com", 8021, None, "pw")),
        ("fs://10.0.0.1", ("10.0.0.1", 8021, None, None)),
        ("fs://secret@10.0.0.1", ("10.0.0.1", 8021, "secret", None)),
        ("fs://:pw@[2001:db8::1]:8021", ("2001:db8::1", 8021, None, "pw")),
    ],
)
def test_an_event_socket_is_read_as_opensips_reads_it(text, expected):
    found = event_socket(text)
    password = found.password.get_secret_value() if found.password else None
    assert (found.host, found.port, found.user, password) == expected


@pytest.mark.parametrize("text", ["fs://:pw@10.0.0.1,10.0.0.2", "fs://:pw@", "fs://:p@w@10.0.0.1", "fs://:pw@h:99999"])
def test_an_event_socket_that_opensips_could_not_reach_is_refused_without_its_password(text):
    with pytest.raises(Refusal) as refusal:
        event_socket(text)
    assert "pw" not in refusal.value.message


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="@"), min_size=1, max_size=20))
def test_any_password_means_the_same_to_us(password):
    socket = event_socket(f"fs://:{password}@10.0.0.1")
    load_url = pool([(destination("sip:10.0.0.1"), socket)]).load(("10.0.0.1", 5060))
    made = imported(HEAD + "1\t1\tsip:10.0.0.1\t0\tfs://:{}@10.0.0.1\t0\n".format(password.replace("\\", "\\\\")))
    [member] = groups_of(made)["dispatcher-1"].members.static
    assert load_url.password.get_secret_value() == member.load.password.get_secret_value() == password


def test_names_are_valid_and_free():
    assert node_name(SipUri("fs1.example.com", 5080), ()) == "fs1.example.com-5080"
    assert node_name(SipUri("10.0.0.1", 5060), {"10.0.0.1"}) == "10.0.0.1-2"
    assert node_name(SipUri("::1"), ()) == "ip6---1"
    assert len(node_name(SipUri("a" * 63 + ".example"), {"a" * 63})) == 63
    assert resource_name("2 way", {"r2-way"}) == "r2-way-2"


# --- dispatcher -------------------------------------------------------------------------------------------------


def test_a_weight_that_is_a_url_is_load():
    group, report = one_group(("sip:10.0.0.1", "fs://:pw@10.0.0.1:8022"))
    [member] = group.members.static
    assert (member.load.host, member.load.port, member.weight) == ("10.0.0.1", 8022, 1)
    assert group.routing.algorithm == "LeastLoad"
    assert "maps: fs:// is load" in said(report, 2)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((3, 1, 2), [3, 1, 2]),
        ((0, 0), [1, 1]),
        ((70_000, 35_000, 1), [10_000, 5_000, 1]),
        (("fs://:pw@10.0.0.1", 30, 500), [100, 30, 100]),  # OpenSIPS holds static ones to max_freeswitch_weight
        (("fs://10.0.0.1", 30), [1, 30]),  # no login: weight 1 there
    ],
)
def test_weights_keep_their_proportion(weights, expected):
    rows = [(f"sip:10.0.0.{number}", weight) for number, weight in enumerate(weights, 1)]
    group, _ = one_group(*rows)
    assert [member.weight for member in group.members.static] == expected


@pytest.mark.parametrize("weight", ["-1", "many", "1.5"])
def test_a_weight_that_is_none_leaves_out_its_row_alone(weight):
    group, report = one_group(("sip:10.0.0.1", 1), ("sip:10.0.0.2", weight))
    assert [member.name for member in group.members.static] == ["10.0.0.1"]
    assert report.left_out == 1
    assert "left out: weight is neither" in said(report, 3)


def test_weight_0_among_others_is_a_backup():
    group, report = one_group(("sip:10.0.0.1", 5), ("sip:10.0.0.2", 0))
    assert [(member.weight, member.backup) for member in group.members.static] == [(5, False), (1, True)]
    assert "weight 0 is a backup" in said(report, 3)


@pytest.mark.parametrize(
    ("number", "algorithm", "key"),
    [
        (0, "Hash", "CallID"),
        (1, "Hash", "From"),
        (2, "Hash", "To"),
        (3, "Hash", "RequestURI"),
        (4, "Weighted", None),
        (5, "Hash", "AuthUser"),
        (6, "Random", None),
        (7, "LeastLoad", None),
        (8, "First", None),
        (9, "LeastLoad", None),
        (10, "LeastLoad", None),
    ],
)
def test_the_algorithm_of_the_script_may_be_told(number, algorithm, key):
    group, report = one_group(("sip:10.0.0.1", 1), algorithm=number)
    assert group.routing.algorithm == algorithm
    assert (group.routing.hash_on.type if group.routing.hash_on else None) == key
    assert any(f"algorithm {number} " in note.text for note in report.groups[0].notes)


@pytest.mark.parametrize(("weight", "source"), [("fs://:pw@10.0.0.1", None), ("7", "Static")])
def test_opensips_weights_may_be_kept(weight, source):
    group, _ = one_group(("sip:10.0.0.1", weight), keep_weights=True)
    assert (group.routing.algorithm, group.routing.weights_from) == ("Weighted", source)


def test_state_is_a_drain_or_nothing():
    group, report = one_group(("sip:10.0.0.1", 1), ("sip:10.0.0.2", 1, 0, 1), ("sip:10.0.0.3", 1, 0, 2))
    assert [member.drain for member in group.members.static] == [None, NOW, None]
    assert "state 2 (probing) is not kept" in said(report, 4)


@pytest.mark.parametrize(
    ("priorities", "tiers"), [((0, 10, 1000), [0, 10, 1000]), ((-5, 0, 7), [0, 1, 2]), ((5000, 1, 5000), [1, 0, 1])]
)
def test_priorities_are_tiers_higher_first(priorities, tiers):
    group, report = one_group(*((f"sip:10.0.0.{number}", 1, given) for number, given in enumerate(priorities, 1)))
    assert [member.priority for member in group.members.static] == tiers
    assert any("priority is a tier" in note.text for note in report.groups[0].notes)


def test_an_address_twice_in_a_set_is_one_node():
    group, report = one_group(("sip:10.0.0.1", 3), ("sip:10.0.0.1:5060;transport=udp", 4, 2), ("sip:10.0.0.2", 1))
    assert [(member.weight, member.priority) for member in group.members.static] == [(7, 2), (1, 0)]
    assert "one node, with weight 7" in said(report, 3)


def test_a_box_in_two_groups_is_one_node_with_one_login():
    made = imported(
        HEAD + "1\t1\tsip:10.0.0.1\t0\t5\t0\n1\t2\tsip:10.0.0.9:5080\t0\tfs://10.0.0.1\t0\n",
        LB_HEAD + "1\t1\tsip:10.0.0.1\tch=fs://:old@10.0.0.1\n2\t2\tsip:10.0.0.1\tch=fs://:new@10.0.0.1\n",
    )
    groups = groups_of(made)
    loads = {name: group.members.static[0].load for name, group in groups.items()}
    assert loads["dispatcher-2"] is None  # the same Event Socket at another SIP address
    assert {loads[name].reveal() for name in ("lb-1", "lb-2")} == {"fs://:new@10.0.0.1"}


def test_the_first_group_takes_every_call_and_the_others_are_asked_before():
    groups = groups_of(imported(HEAD + "1\t10\tsip:10.0.0.1\t0\t1\t0\n1\t2\tsip:10.0.0.2\t0\t1\t0\n"))
    assert list(groups) == ["dispatcher-2", "dispatcher-10"]
    first, other = groups.values()
    assert first.match.rules == ()
    assert first.match.priority == 0
    assert other.match.priority > 0
    assert other.match.rules[0].request_uri.user_pattern == "^dispatcher-10$"


# --- load_balancer ----------------------------------------------------------------------------------------------


def lb_group(*resources):
    """The group of rows with these resources, and the report."""
    rows = "".join(f"{number}\t1\tsip:10.0.0.{number}\t{text}\n" for number, text in enumerate(resources, 1))
    made = imported(None, LB_HEAD + rows)
    return groups_of(made)["lb-1"], made.report


def limits(group):
    """The limits that hold on each node: the group's, over them its own."""
    common = {entry.name: entry.limit for entry in group.capacity.resources}
    return [common | {entry.name: entry.limit for entry in member.resources} for member in group.members.static]


def test_limits_are_the_groups_where_all_rows_have_them():
    group, _ = lb_group("pstn=30;conf=5", "pstn=30;conf=8")
    assert limits(group) == [{"pstn": 30, "conf": 5}, {"pstn": 30, "conf": 8}]
    assert group.members.static[0].resources == ()
    assert group.match.rules[0].resources == ("pstn", "conf")


def test_a_node_without_a_resource_takes_no_call_that_uses_it():
    group, report = lb_group("pstn=30", "pstn=30; conf = 8")
    assert limits(group) == [{"pstn": 30, "conf": 0}, {"pstn": 30, "conf": 8}]
    assert group.match.rules[0].resources == ("pstn",)
    assert any("no call uses conf until a rule names it" in note.text for note in report.groups[0].notes)


def test_a_resource_that_some_report_and_some_limit_holds_both():
    group, _ = lb_group("ch=fs://:pw@10.0.0.1", "ch=30", "other=1")
    assert limits(group) == [
        {"ch": None, "ch-limit": 1_000_000, "other": 0},
        {"ch": 30, "ch-limit": 1_000_000, "other": 0},
        {"ch": None, "ch-limit": 0, "other": 1},
    ]


def test_a_number_stands_beside_what_others_report():
    group, _ = lb_group("ch=fs://:pw@10.0.0.1;conf=5", "ch=30;conf=5")
    assert limits(group) == [{"ch": None, "conf": 5}, {"ch": 30, "conf": 5}]
    assert group.match.rules[0].resources == ("ch", "conf")


def test_an_address_twice_in_a_group_has_the_capacity_of_both_rows():
    made = imported(None, LB_HEAD + "1\t1\tsip:10.0.0.1\ta=3\n2\t1\tsip:10.0.0.1\ta=4;b=1\n")
    assert limits(groups_of(made)["lb-1"]) == [{"a": 7, "b": 1}]


@pytest.mark.parametrize("text", ["", "ch", "ch=many", "ch=-1", "=5", "ch=fs://:pw@"])
def test_a_row_without_readable_resources_is_left_out(text):
    made = imported(None, LB_HEAD + f"1\t1\tsip:10.0.0.1\tch=1\n2\t1\tsip:10.0.0.2\t{text}\n")
    assert made.report.left_out == 1
    assert [member.name for member in groups_of(made)["lb-1"].members.static] == ["10.0.0.1"]


# --- every format, every table ----------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(1, 9).map("sip:10.0.0.{}".format),
        st.one_of(st.integers(0, 99_999).map(str), st.integers(1, 9).map("fs://:p%w@10.0.0.{}".format), st.just("x")),
        st.integers(-3, 2000),
    ),
    min_size=1,
    max_size=12,
)
NAMES = ("setid", "destination", "weight", "priority")


def written(rows):
    """The rows in each format, with names of the columns."""
    cells = [tuple(map(str, row)) for row in rows]
    yield "\n".join("\t".join(row) for row in [NAMES, *cells])
    yield "\n".join("| " + " | ".join(row) + " |" for row in [NAMES, *cells])
    head = "setid(int) destination(string) weight(string) priority(int)\n"
    yield head + "\n".join(":".join(cell.replace(":", "\\:") for cell in row) for row in cells)
    values = ",".join("({},'{}','{}',{})".format(*row) for row in cells)
    yield f"INSERT INTO `dispatcher` ({', '.join(NAMES)}) VALUES {values};"


@settings(max_examples=25, deadline=None)
@given(ROWS)
def test_any_table_gives_the_same_documents_in_every_format_and_the_loader_takes_them(rows):
    made = [imported(text) for text in written(rows)]
    assert len({one.documents for one in made}) == 1
    assert len({one.report.left_out for one in made}) == 1
    loaded = groups_of(made[0])
    mapped = {(number, uri) for number, uri, weight, _ in rows if weight != "x"}
    assert sum(len(group.members.static) for group in loaded.values()) == len(mapped)


def test_the_worked_example_of_the_guide_is_what_an_import_gives():
    guide = (Path(__file__).parents[2] / "docs" / "migrating-from-opensips.md").read_text()
    table, document = (re.search(f"```{kind}\n({begin}.*?)```", guide, re.DOTALL)[1] for kind, begin in SHOWN)
    shown = {group.name: group.spec for group in load(document, "guide").groups}
    made = groups_of(imported(table))
    assert {name: group.members for name, group in shown.items()} == {name: made[name].members for name in made}
    assert {name: group.match.priority for name, group in shown.items()} == {"dispatcher-1": 0, "dispatcher-2": 10}


# --- options and the command ------------------------------------------------------------------------------------


def test_two_passwords_for_one_event_socket_are_told_of_and_not_repeated():
    made = imported(
        HEAD + "1\t1\tsip:10.0.0.1\t0\tfs://:one1@10.0.0.1\t0\n2\t2\tsip:10.0.0.1\t0\tfs://:two2@10.0.0.1\t0\n"
    )
    assert "different passwords for the Event Socket 10.0.0.1:8021" in (text := "\n".join(made.report.lines()))
    assert not re.search("one1|two2", text)
    same = imported(HEAD + "1\t1\tsip:10.0.0.1\t0\tfs://:one1@10.0.0.1\t0\n2\t2\tsip:10.0.0.1\t0\tfs://10.0.0.1\t0\n")
    assert "different passwords" not in "\n".join(same.report.lines())


def test_for_kubernetes_no_password_is_written_and_no_balancer_config():
    made = imported(
        HEAD + "1\t1\tsip:10.0.0.1\t0\tfs://u:geheim@10.0.0.1\t0\n", form=Form(kubernetes=True, namespace="voice")
    )
    [document] = yaml.safe_load_all(made.documents)
    assert document["kind"] == "BalancerGroup"
    assert document["metadata"] == {"name": "dispatcher-1", "namespace": "voice"}
    assert document["spec"]["members"]["static"][0]["load"] == "fs://u@10.0.0.1"
    assert document["spec"]["esl"] == {"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "password"}}}
    assert "geheim" not in made.documents
    read = read_group(document)
    assert (read.findings, read.unknown) == ((), ())
    assert kubernetes_gaps(read.group) == []


def test_nodes_of_different_passwords_are_told_before_they_meet_one_secret():
    table = HEAD + "".join(f"{n}\t1\tsip:10.0.0.{n}\t0\tfs://:geheim{n}@10.0.0.{n}\t0\n" for n in (1, 2))
    assert "different passwords" in imported(table, form=Form(kubernetes=True)).report.notes[-1].text
    assert not any("different" in note.text for note in imported(table).report.notes)


def test_passwords_are_in_the_documents_and_never_in_the_report(run, tmp_path):
    dump = tmp_path / "dump.sql"
    dump.write_text(
        "INSERT INTO dispatcher (id, setid, destination, weight, attrs) VALUES\n"
        "('geheim1', 1, 'sip:u:geheim2@10.0.0.1', 'fs://:geheim3@10.0.0.1', 'geheim4'),\n"
        "(2, 'geheim5', 'sip:10.0.0.2', 'fs://:geheim6@10.0.0.2', NULL), (3, 1, 'sip:geheim7 x', 'geheim8', NULL),\n"
        "(4, 1, 'sip:10.0.0.4;geheim9=1', 'fs://:geheimA@h@i', NULL);\n"
    )
    for output in ("table", "json"):
        result = run("--dispatcher", dump, "--output", output)
        assert result.exit_code == 1
        assert "geheim3" in result.stdout
        assert "geheim" not in result.stderr


def test_rows_left_out_give_status_1_and_the_report_as_json_counts_them(run, tmp_path):
    table = tmp_path / "table"
    table.write_text(HEAD + "1\t1\tsip:10.0.0.1\t0\t1\t0\n2\t1\tsips:10.0.0.2\t0\t1\t0\n")
    result = run("--dispatcher", table, "-o", "json")
    assert result.exit_code == 1
    report = json.loads(result.stderr)
    assert (report["mapped"], report["leftOut"]) == (1, 1)
    assert report["rows"][1]["node"] is None
    assert report["rows"][1]["notes"][-1] == {
        "verdict": "cannot",
        "text": "left out: nodes are reached over UDP or TCP, not over TLS",
    }
    assert len(load(result.stdout, "out").groups) == 1


def test_an_unreadable_input_gives_status_2_and_no_documents(run, tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("")
    for arguments, message in (
        (("--dispatcher", empty), f"switchtender: {empty}: it is empty\n"),
        (("--load-balancer", tmp_path / "none"), f"switchtender: {tmp_path / 'none'}: No such file or directory\n"),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)
    assert run().exit_code == 2
    assert "one file only" in run("--dispatcher", "-", "--load-balancer", "-").stderr


def test_standard_input_and_several_files(run, tmp_path):
    more = tmp_path / "more"
    more.write_text("| 3 | 7 | sip:10.0.0.3 | 1 | 0 |\n")
    result = run(
        "--dispatcher", "-", "--dispatcher", more, "--no-balancer-config", input="| 1 | 6 | sip:10.0.0.1 | 1 | 0 |\n"
    )
    assert result.exit_code == 0
    assert [document["metadata"]["name"] for document in yaml.safe_load_all(result.stdout)] == [
        "dispatcher-6",
        "dispatcher-7",
    ]
