"""The page of metrics of a balancer that runs: all that is declared and nothing else, and to the byte what
prometheus_client would have written.
"""

import asyncio
import gzip
import json
import math
import time

import pytest
from control_fakes import FakeDriver, driver, group, member, up
from core_calls import settings
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Gauge, Summary
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from switchtender._core import Core
from switchtender.config.state_dir import TokenKey
from switchtender.control import watch as watch_module
from switchtender.control.balancer import Balancer
from switchtender.control.views import BalancerView
from switchtender.drivers.reports import Link, Probe
from switchtender.metrics import families
from switchtender.metrics.collector import expose
from switchtender.metrics.exposition import Exposition
from switchtender.metrics.readings import Readings
from switchtender.metrics.reloads import Reloads
from switchtender.metrics.series import Kept, Labels, Series
from switchtender_api.metrics import Family

ACCEPTED = [
    "",
    "text/plain;version=0.0.4",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "text/plain;version=1.0.0;escaping=dots",
    "text/plain;version=1.0.0;escaping=values",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5",
    "application/openmetrics-text;version=1.0.0;escaping=dots",
    "application/openmetrics-text",
]
POOL = group(
    "ivr",
    member("fs1", 11),
    member("fs2", 12, rest=", resources: [{name: conf, limit: 5}]"),
    member("fs3", 13, esl=False),
    spec="capacity: {resources: [{name: ch, source: Reported}, {name: conf, limit: 10}]}",
)
SOMETIMES = {
    family.name
    for family in (
        *families.KUBERNETES,
        families.CERTIFICATE_EXPIRY,
        families.LIVE_CLIENTS,
        families.SCORE_FAULTS,
        families.NODE_DRAIN_DEADLINE,
        families.NODE_DRAIN_SINCE,
        families.NODE_DRAIN_SESSIONS,
        families.NODE_DISABLED,
    )
}
"""Where TLS, Kubernetes, scorers, a drain or a disabled node are, and shown by whoever serves HTTP."""


class Still:
    """What a view saw, again and again."""

    def __init__(self, seen):
        self._seen = seen

    def seen(self):
        return self._seen

    async def gather(self):
        return self._seen


@pytest.fixture
def drivers(monkeypatch):
    FakeDriver.made = []
    monkeypatch.setattr(watch_module, "EslDriver", FakeDriver)
    return FakeDriver.made


@pytest.fixture
async def balancer(drivers):
    core = Core(json.dumps(settings()).encode())
    made = Balancer(core, (TokenKey(7, bytes(64)),), clock=time.monotonic, replicas=lambda: 1)
    await up(made, drivers, POOL)
    core.start()
    driver(drivers, "fs2").reports(idle_cpu=93.5, sessions_per_second_limit=30, sessions_per_second_last=2)
    now = time.monotonic()
    made.watches["voice/ivr/fs2@127.0.0.12:5060"].saw(Probe(answered=True, sent=now, received=now, status=200))
    yield made
    core.stop(0.0)
    await made.close()


@pytest.fixture
def view(balancer):
    return BalancerView(balancer, "me", None, time.monotonic)


@pytest.fixture
def exposition(balancer, view):
    made = Exposition()
    expose(made, balancer, view, Reloads())
    return made


def read(page):
    return {family.name: family for family in text_string_to_metric_families(page.body.decode())}


async def test_a_running_balancer_exports_what_is_declared_and_nothing_else(exposition):
    found = read(await exposition.page("", ""))
    declared = {family.exposed.removesuffix("_total"): family for family in families.FAMILIES}
    own = {name: family for name, family in found.items() if name.startswith("switchtender_")}
    assert own.keys() - declared.keys() == set()
    assert declared.keys() - own.keys() - SOMETIMES == set()
    for name, family in own.items():
        said = declared[name]
        assert (family.type, family.documentation) == ("gauge" if said.kind == "info" else said.kind, said.help)
        for sample in family.samples:
            assert sample.name in said.samples
            assert sample.labels.keys() - {"le"} == set(said.labels), sample
        assert family.samples or name in SOMETIMES, name


@pytest.mark.parametrize("accept", ACCEPTED)
async def test_the_page_is_to_the_byte_what_prometheus_client_writes(balancer, view, accept):
    collector = Exposition()
    expose(collector, balancer, Still(view.seen()), Reloads())
    readings = Readings((families.LIVE_CLIENTS, lambda: [((), 2)]))
    readings.add(families.CERTIFICATE_EXPIRY, lambda: [(("http",), 1_800_000_000.5)])
    still, gauge = Exposition(), Gauge("strange", 'A "gauge"\\\n', ["path"], registry=None)
    gauge.labels('C:\\"x"\n').set(math.inf)
    for one in (collector._collectors[1], readings, gauge, Summary("duration", "Seconds.", registry=None)):
        still.add(one)
    encode, content_type = choose_encoder(accept)
    for _ in range(2):  # the second time from what was kept of the first
        page = await still.page(accept, "")
        assert page.body.decode() == encode(still).decode()
        assert page.headers["Content-Type"] == content_type


NAMES = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
NUMBERS = st.one_of(st.floats(), st.integers(-(10**17), 10**17), st.booleans())


@given(st.lists(st.tuples(NAMES, NAMES, NUMBERS), max_size=5, unique_by=lambda row: row[:2]), st.sampled_from(ACCEPTED))
def test_any_label_and_any_number_is_written_as_prometheus_client_does(rows, accept):
    family = Family("x_things", "counter", "Things.", ("b", "a"))
    exposition, kept = Exposition(), Kept()

    class Some:
        def collect(self):
            kept.turn()
            yield Series.of(family, [(kept.labels(("b",), (b,)).also("a", a), value) for b, a, value in rows])

    exposition.add(Some())
    expected = choose_encoder(accept)[0](exposition)
    assert asyncio.run(exposition.page(accept, "")).body == expected


@pytest.mark.parametrize("accept_encoding", ["gzip", "deflate, GZIP;q=0.5", "br,gzip ; q=1"])
async def test_who_takes_gzip_gets_it(exposition, accept_encoding):
    page = await exposition.page("", accept_encoding)
    assert page.headers["Content-Encoding"] == "gzip"
    assert b"switchtender_node_sessions{" in gzip.decompress(page.body)


@pytest.mark.parametrize("accept_encoding", ["", "identity", "gzip;q=0", "deflate, gzip; q=0.0", "gzippy"])
async def test_who_does_not_take_gzip_gets_text(exposition, accept_encoding):
    page = await exposition.page("", accept_encoding)
    assert "Content-Encoding" not in page.headers
    assert page.body.startswith(b"# HELP")


@pytest.mark.parametrize("accept", ["text/plain;version=x", "application/openmetrics-text;version=one", "*/*", "\x00"])
async def test_a_strange_wish_gets_the_plain_page(exposition, accept):
    page = await exposition.page(accept, "")
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")


async def test_logins_are_counted_from_first_to_last(balancer, drivers, exposition):
    link = driver(drivers, "fs1")
    link.say(Link(state="closed", detail="bye", since=time.monotonic()))
    link.say(Link(state="unreachable", detail="refused", since=time.monotonic()))
    link.login()

    def logins(found):
        return [found[f"switchtender_esl_{name}"].samples[0].value for name in ("connected", "connects", "disconnects")]

    assert logins(read(await exposition.page("", ""))) == [1, 2, 1]
    await balancer.watches["voice/ivr/fs1@127.0.0.11:5060"].stop()
    assert logins(read(await exposition.page("", ""))) == [0, 2, 2]


async def test_a_silent_node_keeps_its_state_and_loses_its_load(balancer, drivers, exposition):
    driver(drivers, "fs1").say(Link(state="closed", detail="bye", since=time.monotonic()))
    balancer._publish(balancer.watches.values())
    found = read(await exposition.page("", ""))

    def nodes(name):
        return {sample.labels["node"] for sample in found[f"switchtender_{name}"].samples}

    assert nodes("node_sessions") == {"fs2"}, "fs3 reports nothing"
    assert nodes("node_effective_sessions") == {"fs2", "fs3"}
    assert nodes("node_heartbeat_age_seconds") == {"fs1", "fs2"}
    assert nodes("node_state") == {"fs1", "fs2", "fs3"}
    [stale] = [sample for sample in found["switchtender_node_state"].samples if sample.value and "fs1" in str(sample)]
    assert stale.labels["state"] == "stale"
    assert found["switchtender_group_sessions"].samples[0].value == 3, "of those that take calls"


def test_labels_are_kept_as_long_as_pages_ask_for_them():
    kept = Kept()
    first = kept.labels(("node",), ("fs1",))
    kept.turn()
    assert kept.labels(("node",), ("fs1",)) is first
    assert first.also("state", "ready") is first.also("state", "ready")
    kept.turn()
    kept.turn()
    assert kept.labels(("node",), ("fs1",)) is not first
    assert Labels({"b": "2", "a": "1"}).text == '{a="1",b="2"}'


async def test_one_page_at_a_time_and_the_event_loop_goes_on(exposition, monkeypatch):
    monkeypatch.setattr("switchtender.metrics.exposition._TURN", 0.0)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    first, second = await asyncio.gather(exposition.page("", ""), exposition.page("", ""))
    counting.cancel()
    assert first.body.startswith(b"# HELP")
    assert second.body.startswith(b"# HELP")
    assert turns > 100, "it had its turn after every family"
