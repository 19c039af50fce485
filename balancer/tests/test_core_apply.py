"""The core's control side: settings, snapshots, reports, baselines, explanations."""

import json
import math
import time

import pytest
from core_calls import eventually, gauge, open_node, running, settings, snapshot

from switchtender._core import BindError, ConfigError, Core, CoreError, CoreStopped

NODE = ("fs1", "127.0.0.2:5060")
OTHER = ("fs2", "127.0.0.3:5060")
MEMBER = {"node": 0, "weight": 1.0, "priority": 0, "draining": False}


@pytest.fixture
def core():
    core = Core(json.dumps(settings()).encode())
    core.apply(snapshot(NODE))
    return core


def nodes(core: Core) -> dict[str, dict]:
    return {entry["uid"]: entry for entry in json.loads(core.nodes())["nodes"]}


def explain(core: Core, **question: object) -> dict:
    return json.loads(core.explain(json.dumps({"request_uri": "sip:100@example.com", **question}).encode()))


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"listeners": []}, "/listeners"),
        ({"workers": 0}, "/workers"),
        ({"surprise": 1}, "/surprise"),
        ({"format": 1}, "/format"),
        ({"limits": {"max_transactions": "many"}}, "/limits/max_transactions"),
    ],
)
def test_settings_that_do_not_hold_are_refused_with_their_place(change, pointer):
    with pytest.raises(ConfigError) as refused:
        Core(json.dumps(settings(**change)).encode())
    assert refused.value.args[0] == pointer
    assert isinstance(refused.value, CoreError)


def test_an_address_in_use_is_named_even_where_the_other_would_share_it():
    first = Core(json.dumps(settings()).encode())
    taken = json.loads(first.addresses())["listeners"][0]
    listener = {**settings()["listeners"][0], "port": taken["port"]}
    with pytest.raises(BindError) as refused:
        Core(json.dumps(settings(listeners=[listener])).encode())
    what, address, port, message = refused.value.args
    assert (what, address, port) == ("listener public", "127.0.0.1", taken["port"])
    assert "Address already in use" in message


def test_ports_are_free_again_when_the_core_is_gone():
    first = Core(json.dumps(settings()).encode())
    taken = json.loads(first.addresses())["listeners"][0]
    first.start()
    del first
    listener = {**settings()["listeners"][0], "port": taken["port"]}
    second = Core(json.dumps(settings(listeners=[listener])).encode())
    assert json.loads(second.addresses())["listeners"][0]["port"] == taken["port"]


def test_bound_addresses_are_told():
    core = Core(json.dumps(settings(workers=3)).encode())
    addresses = json.loads(core.addresses())
    (listener,) = addresses["listeners"]
    assert (listener["name"], listener["address"]) == ("public", "127.0.0.1")
    ports = [entry["port"] for entry in addresses["worker_ports"]]
    assert [entry["worker"] for entry in addresses["worker_ports"]] == [0, 1, 2]
    assert len({*ports, listener["port"], addresses["node_side"]["port"]}) == 5
    assert all(ports)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b'{"format": 9, "keys": [], "nodes": [], "groups": []}', "/format"),
        (snapshot(NODE, algorithm="Guess"), "/groups/0/algorithm"),
        (snapshot(NODE, surprise=1), "/groups/0/surprise"),
        (
            snapshot(NODE, members=[{"node": 1, "weight": 1.0, "priority": 0, "draining": False}]),
            "/groups/0/members/0/node",
        ),
    ],
)
def test_a_bad_snapshot_is_refused_and_the_old_one_stays(core, document, pointer):
    with pytest.raises(ConfigError) as refused:
        core.apply(document)
    assert refused.value.args[0] == pointer
    assert list(nodes(core)) == ["fs1"]
    assert explain(core)["generation"] == 1
    assert core.apply(snapshot(NODE)) == 2


def test_workers_act_on_the_new_generation():
    with running(NODE) as core:
        assert core.apply(snapshot(NODE, OTHER)) == 2
        for _ in range(30_000):
            generations = [worker["generation"] for worker in json.loads(core.stats())["workers"]]
            if generations == [2]:
                break
            time.sleep(0.001)
        assert generations == [2]


def test_a_node_that_left_is_remembered_and_one_that_stays_keeps_its_numbers(core):
    core.apply(snapshot(NODE, OTHER))
    open_node(core, "fs1", sessions=7)
    core.apply(snapshot(NODE))
    entries = nodes(core)
    assert entries["fs2"]["removed"] is True
    assert (entries["fs1"]["removed"], entries["fs1"]["sessions"], entries["fs1"]["admission"]) == (False, 7, "open")


def test_before_its_first_report_a_node_is_unknown(core):
    entry = nodes(core)["fs1"]
    assert (entry["admission"], entry["reported"]) == ("unknown", None)
    assert entry["groups"][0]["verdict"] == "Unknown"
    assert core.baseline("fs1", 0).assigned == 0


def test_a_report_is_evaluated_by_the_packet_paths_arithmetic(core):
    core.report("fs1", admission="open", sessions=40, max_sessions=100, cap=81.0, headroom=1, share=0.5, idle_cpu=93.5)
    entry = nodes(core)["fs1"]
    assert 0 <= entry["reported"] < 60
    assert (entry["cap"], entry["idle_cpu"], entry["sessions_per_second_limit"]) == (81, 93.5, None)
    (place,) = entry["groups"]
    assert (place["effective"], place["capacity"], place["free"], place["utilization"]) == (40, 80, 40, 0.5)
    assert (place["namespace"], place["name"], place["verdict"], place["eligible"]) == (
        "voice",
        "ivr",
        "Eligible",
        True,
    )


@pytest.mark.parametrize(
    ("admission", "verdict"),
    [("closed", "Closed"), ("unreachable", "Unreachable"), ("unknown", "Unknown"), ("unmeasured", "Eligible")],
)
def test_admission_decides_before_the_numbers(core, admission, verdict):
    core.apply(snapshot(NODE, panic_threshold=0.0))
    core.report("fs1", admission=admission, sessions=0, max_sessions=100)
    assert nodes(core)["fs1"]["groups"][0]["verdict"] == verdict


def test_a_node_that_is_not_known_is_a_key_error(core):
    with pytest.raises(KeyError, match="fs9"):
        core.baseline("fs9", 0)
    with pytest.raises(KeyError, match="fs9"):
        core.report("fs9", admission="open")


@pytest.mark.parametrize(
    "wrong",
    [
        {"admission": "ajar"},
        {"sessions": math.nan},
        {"max_sessions": math.inf},
        {"cap": math.nan},
        {"headroom": -math.inf},
        {"share": 0.0},
        {"share": 1.5},
        {"share": math.nan},
        {"weight_factor": math.nan},
        {"sessions_per_second": math.inf},
    ],
)
def test_a_report_of_nonsense_is_refused_and_the_last_one_stays(core, wrong):
    open_node(core, "fs1", sessions=5)
    with pytest.raises(ValueError, match=r"finite|share|admission"):
        core.report("fs1", **{"admission": "open", "sessions": 9, "max_sessions": 100, **wrong})
    assert nodes(core)["fs1"]["sessions"] == 5


def test_an_age_past_memory_is_not_exact(core):
    assert core.baseline("fs1", 0).exact
    assert core.baseline("fs1", -1).exact, "a report from the future is one from now"
    assert core.baseline("fs1", 1.9).exact
    assert not core.baseline("fs1", 2.1).exact
    assert not core.baseline("fs1", 1e300).exact
    with pytest.raises(ValueError, match="age"):
        core.baseline("fs1", math.nan)


def test_explain_names_group_rule_candidates_and_choice(core):
    rules = [{"request_uri": {"user_pattern": "^conf"}}, {"sources": ["192.0.2.0/24"]}]
    core.apply(snapshot(NODE, OTHER, match=rules))
    open_node(core, "fs1", sessions=99)
    open_node(core, "fs2", sessions=10)
    answer = explain(core, source="192.0.2.9", method="INVITE", call_id="x", headers={"X-Any": "y"})
    assert (answer["group"], answer["rule"]) == ({"namespace": "voice", "name": "ivr"}, 1)
    assert [(entry["uid"], entry["verdict"]) for entry in answer["candidates"]] == [
        ("fs1", "Full"),
        ("fs2", "Eligible"),
    ]
    assert (answer["choice"]["uid"], answer["choice"]["sip"], answer["reason"]) == ("fs2", "127.0.0.3:5060", None)
    assert explain(core, request_uri="sip:conf1@example.com")["rule"] == 0
    assert nodes(core)["fs2"]["assigned"] == 0, "nothing was counted"


def test_explain_says_why_not(core):
    answer = explain(core)
    assert (answer["choice"], answer["reason"]) == (None, "NotReady")
    core.apply(snapshot(NODE, match=[{"request_uri": {"user": "7"}}]))
    answer = explain(core)
    assert (answer["group"], answer["reason"], answer["candidates"]) == (None, "NoGroup", [])


@pytest.mark.parametrize(
    ("question", "pointer"),
    [
        ({}, ""),
        ({"request_uri": "not a uri"}, "/request_uri"),
        ({"request_uri": "sip:a@b", "source": "here"}, "/source"),
        ({"request_uri": "sip:a@b", "sauce": "1.2.3.4"}, "/sauce"),
    ],
)
def test_a_question_that_cannot_be_read_is_refused(core, question, pointer):
    with pytest.raises(ConfigError) as refused:
        core.explain(json.dumps(question).encode())
    assert refused.value.args[0] == pointer


def test_every_counter_has_a_metric_name(core):
    document = json.loads(core.stats())
    names = {entry["name"] for entry in document["counters"]}
    assert {"datagrams_received_total", "datagrams_dropped_total", "calls_total", "sip_retransmissions_total"} <= names
    assert all(name.replace("_", "").isalnum() and name.islower() and name.endswith("_total") for name in names)
    histograms = {entry["name"]: entry for entry in document["histograms"]}
    for name, least, most in (
        ("post_dial_delay_seconds", 0.00025, 30),
        ("first_response_seconds", 0.00025, 30),
        ("selection_seconds", 1e-7, 0.001),
    ):
        bounds = [bound for bound, _ in histograms[name]["buckets"]]
        assert bounds == sorted(set(bounds))
        assert (bounds[0], bounds[-1], len(bounds)) == (least, most, 14)
    assert document["groups"] == [{"namespace": "voice", "name": "ivr", "uid": "group-1", "generation": 1}]


def test_a_snapshot_is_acted_on_once_every_worker_goes_by_it(core):
    assert gauge(core, "snapshot_generation") == 0, "given, but nobody works yet"
    core.start()
    eventually(lambda: gauge(core, "snapshot_generation"), 1)
    assert core.apply(snapshot(NODE)) == 2
    eventually(lambda: gauge(core, "snapshot_generation"), 2)
    core.stop(0)
    core.join()


def test_a_core_is_started_once_and_joined_only_after_that(core):
    with pytest.raises(CoreStopped):
        core.join()
    assert not core.stopped()
    core.start()
    with pytest.raises(CoreStopped):
        core.start()
    core.stop(0)
    core.join()
    assert core.stopped()
    core.join()


def test_a_stop_waits_for_quiet_and_is_cut_short_by_a_nearer_deadline():
    with running(NODE) as core:
        core.stop(600)
        assert not core.stopped()
        with pytest.raises(ValueError, match="-1"):
            core.stop(-1)
        core.stop(0)
        core.join()
        assert core.stopped()
        assert [worker["running"] for worker in json.loads(core.stats())["workers"]] == [False]
