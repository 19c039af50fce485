"""What a scrape gets, read back by Prometheus' own parser, over a real packet core and a view of our making."""

import json
import re

import pytest
from core_calls import settings, snapshot
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from switchtender._core import Core
from switchtender.control.views import Seen
from switchtender.control.watch import ESL_ERRORS
from switchtender.load.states import STATES
from switchtender.metrics.collector import expose
from switchtender.metrics.core_families import BY_CORE_NAME
from switchtender.metrics.exposition import Exposition
from switchtender.metrics.families import NODE_DRAIN_SESSIONS, NODE_LOAD
from switchtender.metrics.reloads import Reloads

SOMETIMES = {
    f"switchtender_node_{name}"
    for name in ("drain_deadline_timestamp_seconds", "drain_since_timestamp_seconds", "drain_sessions", "disabled")
}
"""Of nodes that drain or are disabled alone."""


def node(group, name, **changes):
    return {
        "namespace": "voice",
        "group": group,
        "node": name,
        "uid": "voice/ivr/fs1@127.0.0.11:5060",
        "sip": "127.0.0.11:5060",
        "esl": "127.0.0.11:8021",
        "state": "ready",
        "reason": "Reporting",
        "heard": True,
        "eslErrors": {**dict.fromkeys(ESL_ERRORS, 0), "silent": 2},
        "eslLogins": {"up": True, "connects": 4, "disconnects": 3},
        "weight": 1.0,
        "drain": None,
        "sessionRate": 3,
        "sessionsPerSecondLimit": 30,
        "sessions": 12,
        "maxSessions": 100,
        "reportAge": 0.4,
        "effective": 12.5,
        "capacity": 97.0,
        "utilization": 0.125,
        "headroom": 2.0,
        "share": 0.5,
        "assigned": 40,
        "ended": 30,
        "inFlight": 1,
        "legsPerSecond": 3,
        "requestsPerSecond": 9,
        "idleCPU": 95.0,
        "score": 1.0,
        "ejectedSeconds": 0.0,
        "resources": {"conf": {"inUse": 2, "limit": 5}, "rec": {"inUse": 1, "limit": None}},
        "probe": {"answered": True, "roundTrip": 0.002, "results": {"answered": 7, "refused": 0, "unanswered": 1}},
        **changes,
    }


_NOTHING = ("sessions", "maxSessions", "reportAge", "idleCPU", "probe", "sessionRate", "sessionsPerSecondLimit")
UNHEARD = {"state": "unknown", "heard": False} | dict.fromkeys(_NOTHING)
GROUP = {
    "namespace": "voice",
    "group": "ivr",
    "sessions": 12,
    "effective": 12.5,
    "capacity": 97.0,
    "utilization": 0.1,
    "states": {**dict.fromkeys(STATES, 0), "ready": 1, "unknown": 1},
    "eligible": 1,
    "generation": 7,
}


class StubView:
    def __init__(self, core, *nodes):
        self._seen = Seen(list(nodes), [GROUP], json.loads(core.stats()))

    def seen(self):
        return self._seen

    async def gather(self):
        return self._seen


class StubScores:
    def faults(self):
        return {("test", "TimedOut"): 3}


class StubBalancer:
    generation = 3
    scores = StubScores()

    def __init__(self):
        self.core = Core(json.dumps(settings()).encode())
        self.core.apply(snapshot(("fs1", "127.0.0.11:5060")))


def registry_of(*nodes, reloads=None):
    exposition, balancer = Exposition(), StubBalancer()
    expose(exposition, balancer, StubView(balancer.core, *nodes), reloads or Reloads())
    return exposition


@pytest.fixture
def registry():
    return registry_of(node("ivr", "fs1"), node("conf", "a"), node("ivr", "fs2", **UNHEARD))


@pytest.fixture
def families(registry):
    return {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}


def own(families):
    return {name: family for name, family in families.items() if name.startswith("switchtender_")}


def samples(family, **labels):
    return [sample for sample in family.samples if labels.items() <= sample.labels.items()]


def test_every_family_is_ours_or_the_process_and_tells_what_it_is(families):
    assert {name.partition("_")[0] for name in families} == {"switchtender", "process"}
    for family in families.values():
        assert family.documentation.endswith("."), family.name
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        assert family.samples or family.name in SOMETIMES, family.name


def test_names_follow_the_conventions(families):
    for family in own(families).values():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert not re.search(r"(_percent|_ms|_milliseconds|_micros|_bits)(_|$)", family.name), "base units"
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name


def test_what_the_core_counts_is_described_by_hand_without_leftovers():
    core = StubBalancer().core
    stats = json.loads(core.stats())
    counted = {entry["name"] for kind in ("counters", "gauges", "histograms") for entry in stats[kind]}
    assert counted == set(BY_CORE_NAME)


def test_labels_are_names_and_never_addresses(families):
    allowed = {"namespace", "group", "node", "state", "reason", "result", "cause", "outcome", "version", "le"} | {
        "resource",
        "scorer",
        "fault",
        "worker",
    }
    for family in own(families).values():
        for sample in family.samples:
            assert set(sample.labels) <= allowed, sample
            assert not any(re.search(r"\d+\.\d+\.\d+\.\d+", value) for value in sample.labels.values()), sample


def test_no_series_occurs_twice(families):
    for family in families.values():
        seen = [(sample.name, *sorted(sample.labels.items())) for sample in family.samples]
        assert len(seen) == len(set(seen)), family.name


def test_each_known_node_has_a_series_for_each_state(families):
    family = families["switchtender_node_state"]
    for group, name, state in (("ivr", "fs1", "ready"), ("conf", "a", "ready"), ("ivr", "fs2", "unknown")):
        found = {sample.labels["state"]: sample.value for sample in samples(family, group=group, node=name)}
        assert found == {one: float(one == state) for one in STATES}


def test_a_node_that_has_not_reported_shows_no_numbers_that_nobody_told(families):
    for name in ("node_sessions", "node_max_sessions", "node_heartbeat_age_seconds", "node_idle_cpu_ratio"):
        family = families[f"switchtender_{name}"]
        assert samples(family, node="fs1")
        assert not samples(family, node="fs2"), name


def test_esl_errors_count_by_reason_from_zero_on(families):
    found = {
        sample.labels["reason"]: sample.value
        for sample in samples(families["switchtender_esl_errors"], namespace="voice", group="conf", node="a")
    }
    assert found == {**dict.fromkeys(ESL_ERRORS, 0.0), "silent": 2.0}
    assert not {"connecting", "authenticated"} & set(ESL_ERRORS)


def test_probes_are_counted_by_what_they_came_to_for_nodes_that_are_probed(families):
    results = families["switchtender_node_probe_results"].samples
    probed = {"namespace": "voice", "group": "ivr", "node": "fs1"}
    assert {sample.labels["result"]: sample.value for sample in results if sample.labels["node"] == "fs1"} == {
        "answered": 7.0,
        "refused": 0.0,
        "unanswered": 1.0,
    }
    assert "fs2" not in {sample.labels["node"] for sample in results}
    for name, value in (("answered", 1.0), ("round_trip_seconds", 0.002)):
        [sample] = samples(families[f"switchtender_node_probe_{name}"], node="fs1")
        assert (sample.labels, sample.value) == (probed, value)


def test_resources_are_counted_and_limited_where_there_is_a_limit(families):
    used = samples(families["switchtender_node_resource_in_use"], group="ivr", node="fs1")
    assert {sample.labels["resource"]: sample.value for sample in used} == {"conf": 2.0, "rec": 1.0}
    [limit] = samples(families["switchtender_node_resource_limit"], group="ivr", node="fs1")
    assert (limit.labels["resource"], limit.value) == ("conf", 5.0)


def test_scorers_that_fail_are_counted_by_how(families):
    [sample] = families["switchtender_score_faults"].samples
    assert (sample.labels, sample.value) == ({"scorer": "test", "fault": "TimedOut"}, 3.0)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, True),
        ({"state": "full"}, True),
        ({"state": "draining"}, True),
        ({"state": "stale"}, False),
        ({"state": "down"}, False),
        ({"state": "unknown"}, False),
        ({"state": "draining", "heard": False}, False),
    ],
)
def test_a_replica_leaves_out_the_load_of_a_node_that_it_does_not_hear(changes, shown):
    text = generate_latest(registry_of(node("ivr", "fs1", **changes))).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    drains = changes.get("state") == "draining"
    for family in NODE_LOAD:
        assert bool(families[family.name].samples) == (shown and (drains or family != NODE_DRAIN_SESSIONS)), family.name
    kept = ("node_state", "node_heartbeat_age_seconds", "node_calls_assigned", "esl_connects", "node_weight")
    assert all(families[f"switchtender_{name}"].samples for name in kept)


def test_logins_to_the_event_socket_are_shown_for_nodes_that_have_one():
    text = generate_latest(registry_of(node("ivr", "fs1"), node("ivr", "fs2", esl=None))).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name, value in (("connected", 1), ("connects", 4), ("disconnects", 3)):
        [sample] = families[f"switchtender_esl_{name}"].samples
        assert (sample.labels["node"], sample.value) == ("fs1", value)
    assert {sample.labels["node"] for sample in families["switchtender_esl_errors"].samples} == {"fs1"}


def test_a_drain_is_shown_while_there_is_one():
    draining = node("ivr", "fs1", state="draining", sessions=7, drain={"since": 1.7e9, "deadline": 1.8e9})
    text = generate_latest(registry_of(draining, node("ivr", "fs2", sessions=5))).decode()
    for name, value in (("deadline_timestamp_seconds", "1.8e+09"), ("since_timestamp_seconds", "1.7e+09")):
        assert f'switchtender_node_drain_{name}{{group="ivr",namespace="voice",node="fs1"}} {value}\n' in text
        assert text.count(f"switchtender_node_drain_{name}{{") == 1
    assert 'switchtender_node_drain_sessions{group="ivr",namespace="voice",node="fs1"} 7.0\n' in text
    assert text.count("switchtender_node_drain_sessions{") == 1


@pytest.mark.parametrize("unheard", [{"heard": False}, {"state": "down"}])
def test_what_remains_on_a_node_that_is_not_heard_is_not_told(unheard):
    known = {"state": "draining", "sessions": 7, "drain": {"since": 1.7e9, "deadline": None}, **unheard}
    text = generate_latest(registry_of(node("ivr", "fs1", **known))).decode()
    assert "switchtender_node_drain_sessions{" not in text
    assert "switchtender_node_drain_deadline_timestamp_seconds{" not in text
    assert "switchtender_node_drain_since_timestamp_seconds{" in text


def test_a_disabled_node_is_told():
    text = generate_latest(
        registry_of(node("ivr", "fs1", state="down", reason="Disabled"), node("ivr", "fs2"))
    ).decode()
    assert 'switchtender_node_disabled{group="ivr",namespace="voice",node="fs1"} 1.0\n' in text
    assert text.count("switchtender_node_disabled{") == 1


def test_idle_cpu_is_a_ratio(families):
    assert samples(families["switchtender_node_idle_cpu_ratio"], node="fs1")[0].value == 0.95


def test_groups_have_sessions_capacity_and_utilization(families):
    values = {
        name: samples(families[f"switchtender_group_{name}"], namespace="voice", group="ivr")[0].value
        for name in (
            "sessions",
            "effective_sessions",
            "capacity_sessions",
            "utilization",
            "eligible_nodes",
            "generation",
        )
    }
    assert values == {
        "sessions": 12,
        "effective_sessions": 12.5,
        "capacity_sessions": 97,
        "utilization": 0.1,
        "eligible_nodes": 1,
        "generation": 7,
    }
    nodes = {sample.labels["state"]: sample.value for sample in samples(families["switchtender_group_nodes"])}
    assert nodes == GROUP["states"]


def test_the_post_dial_delay_is_a_histogram_with_growing_buckets(families):
    family = families["switchtender_post_dial_delay_seconds"]
    assert family.type == "histogram"
    bounds = [float(sample.labels["le"]) for sample in family.samples if sample.name.endswith("_bucket")]
    assert bounds == sorted(bounds)
    assert bounds[-1] == float("inf")
    assert bounds[0] < 0.001 < 10 < bounds[-2]


def test_reloads_tell_of_success_and_failure():
    reloads = Reloads()
    reloads.succeeded(1_700_000_000.5)
    reloads.failed()
    text = generate_latest(registry_of(reloads=reloads)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    total = families["switchtender_config_reloads"]
    assert {sample.labels["result"]: sample.value for sample in total.samples} == {"success": 1, "failure": 1}
    assert families["switchtender_config_last_reload_successful"].samples[0].value == 0
    assert families["switchtender_config_last_reload_success_timestamp_seconds"].samples[0].value == 1_700_000_000.5
    assert families["switchtender_config_generation"].samples[0].value == 3


def test_openmetrics_says_the_same(registry, families):
    parsed = {family.name for family in parse_openmetrics(generate_openmetrics(registry).decode())}
    assert {name.removesuffix("_info") for name in own(families)} <= parsed | {"switchtender_build"}
    assert "switchtender_build" in parsed
