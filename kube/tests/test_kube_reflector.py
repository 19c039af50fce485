"""The reflector, rule by rule, in virtual time against the scripted API server."""

import asyncio
import gc
import json
import logging
import random
import weakref
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kube_virtual import MemoryClient, now, run_virtual
from tests.stand.kube_api import KubeApi

from switchtender_kube import Reflector, Resource

PODS = Resource("", "v1", "pods")
GROUPS = Resource("switchtender.dev", "v1alpha1", "balancergroups")


def pod(name: str, value: int = 0, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "voice", "labels": labels},
        "spec": {"value": value},
    }


class Bench:
    """A server, a reflector on it, and all that it told."""

    def __init__(self, **options: Any) -> None:
        self.api = options.pop("api", None) or KubeApi()
        self.client = MemoryClient(self.api)
        self.told: list[tuple[str, Any, Any]] = []
        self.sleeps: list[float] = []
        options.setdefault("project", lambda raw: (raw["metadata"]["name"], raw["spec"]["value"]))
        options.setdefault("namespace", "voice")
        options.setdefault("changed", lambda uid, old, new: self.told.append((uid, old, new)))
        self.reflector: Reflector[Any] = Reflector(
            self.client, options.pop("resource", PODS), clock=now, sleep=self._sleep, rng=random.Random(7), **options
        )

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def running(self, *, synced: bool = True):
        task = asyncio.create_task(self.reflector.run())
        if synced:
            await asyncio.wait_for(self.reflector.synced.wait(), 3600)
            await asyncio.sleep(0.01)
        try:
            yield self
            assert not task.done(), "run() ended"
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def put(self, *pods: dict[str, Any]) -> None:
        for each in pods:
            self.api.put(each)

    @property
    def values(self) -> list[Any]:
        return sorted(self.reflector.store.values())

    @property
    def truth(self) -> dict[str, Any]:
        return {
            raw["metadata"]["uid"]: (raw["metadata"]["name"], raw["spec"]["value"]) for raw in self.api.objects("pods")
        }

    def lists(self) -> int:
        return len([r for r in self.api.calls("list") if "continue" not in r.query])


def virtual(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        run_virtual(test)

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


# --- the list ---------------------------------------------------------------------------------------------------


@virtual
async def test_rule_1_the_list_is_read_in_pages_of_500() -> None:
    bench = Bench(label_selector="app=fs")
    bench.put(*(pod(f"p{i:04}", i, app="fs") for i in range(1201)), pod("other"))
    async with bench.running():
        assert len(bench.reflector.store) == 1201
    pages = [request.query for request in bench.api.calls("list", "pods")]
    assert [page["limit"] for page in pages] == ["500", "500", "500"]
    assert ["continue" in page for page in pages] == [False, True, True]
    assert {page["labelSelector"] for page in pages} == {"app=fs"}
    assert bench.reflector.stats.pages == 3
    assert bench.reflector.stats.lists == 1


@virtual
async def test_rule_1_an_expired_continue_token_restarts_the_list() -> None:
    bench = Bench(page=2)
    bench.put(*(pod(f"p{i}", i) for i in range(5)))
    bench.api.fail("pods", "list", 410, times=1, when=lambda request: "continue" in request.query)
    async with bench.running():
        assert bench.reflector.store == bench.truth
    assert bench.lists() == 2
    assert bench.reflector.stats.restarts == {"expired": 1}


@virtual
async def test_rule_2_each_page_is_projected_and_dropped_before_the_next() -> None:
    class Raw(dict[str, Any]):
        """A dict that can be watched while it dies."""

    alive: list[int] = []
    pages: list[weakref.ref[Raw]] = []
    bench = Bench(page=2)
    bench.put(*(pod(f"p{i}", i) for i in range(6)))
    get = bench.client.get

    async def watched_get(path: str, query: Any = None, **more: Any) -> Any:
        gc.collect()
        alive.append(sum(page() is not None for page in pages))
        page = Raw(await get(path, query, **more))
        pages.append(weakref.ref(page))
        return page

    bench.client.get = watched_get  # type: ignore[method-assign]
    async with bench.running():
        gc.collect()
        assert alive == [0, 1, 1]  # the one whose successor is being asked for is still in a local variable
        assert [page() for page in pages] == [None] * 3


@virtual
async def test_rule_3_what_a_new_list_lacks_was_deleted() -> None:
    bench = Bench()
    bench.put(pod("a"), pod("b"), pod("c"))
    async with bench.running():
        bench.told.clear()
        gone = bench.api.object("pods", "voice", "b")["metadata"]["uid"]
        bench.client.cut()
        bench.api.remove("pods", "voice", "b")
        bench.put(pod("a", 5))
        bench.api.compact()
        await asyncio.sleep(5)
        assert bench.told[0] == (gone, ("b", 0), None)
        assert [(old, new) for _, old, new in bench.told[1:]] == [(("a", 0), ("a", 5))]
        assert bench.reflector.store == bench.truth


@virtual
async def test_rule_3_a_list_that_fails_half_way_changes_nothing() -> None:
    bench = Bench(page=2)
    bench.put(*(pod(f"p{i}") for i in range(4)))
    async with bench.running():
        before = dict(bench.reflector.store)
        bench.told.clear()
        fault = bench.api.fail("pods", "list", 500, when=lambda request: "continue" in request.query)
        bench.client.cut()
        bench.api.remove("pods", "voice", "p0")
        bench.put(pod("p1", 9), pod("p9"))
        bench.api.compact()
        await asyncio.sleep(60)
        assert fault.hits > 2
        assert bench.reflector.store == before
        assert bench.told == []
        fault.clear()
        await asyncio.sleep(60)
        assert bench.reflector.store == bench.truth


# --- the watch --------------------------------------------------------------------------------------------------


@virtual
async def test_rule_4_the_watch_goes_on_from_the_list_with_bookmarks_and_a_random_end() -> None:
    bench = Bench(field_selector="metadata.namespace=voice")
    bench.put(pod("a"))
    async with bench.running():
        version = str(bench.api.store.version)
        for _ in range(40):
            await asyncio.sleep(50)
            bench.api.bookmark()
    first, *_ = bench.client.opened
    assert first["resourceVersion"] == version
    assert first["allowWatchBookmarks"] is True
    assert first["fieldSelector"] == "metadata.namespace=voice"
    ends = {watch["timeoutSeconds"] for watch in bench.client.opened}
    assert all(240 <= end <= 360 for end in ends)
    assert len(ends) > 3
    assert bench.reflector.stats.restarts == {}
    assert bench.sleeps == [], "a watch that ends in its time is followed at once"


@virtual
async def test_rule_6_the_version_is_taken_from_events_and_bookmarks() -> None:
    bench = Bench()
    async with bench.running():
        bench.put(pod("a"))
        await asyncio.sleep(1)
        bench.api.end_watches()
        await asyncio.sleep(1)
        assert bench.client.opened[-1]["resourceVersion"] == str(bench.api.store.version)
        bench.api.put({**pod("x"), "metadata": {"name": "x", "namespace": "elsewhere"}})
        bench.api.bookmark()
        await asyncio.sleep(1)
        bench.api.end_watches()
        await asyncio.sleep(1)
        assert bench.client.opened[-1]["resourceVersion"] == str(bench.api.store.version)
        assert bench.reflector.stats.bookmarks == 1
        assert bench.lists() == 1


@virtual
async def test_rule_7_an_error_410_in_the_stream_means_a_new_list() -> None:
    bench = Bench()
    bench.put(pod("a"))
    async with bench.running():
        bench.api.in_stream_error(410)
        await asyncio.sleep(2)
        assert bench.lists() == 2
        assert bench.reflector.stats.restarts == {"expired": 1}
        assert len(bench.told) == 1, "the same objects are no news"


@virtual
async def test_rule_7_any_other_error_in_the_stream_resumes_from_the_version() -> None:
    bench = Bench()
    bench.put(pod("a"))
    async with bench.running():
        bench.api.in_stream_error(500)
        await asyncio.sleep(2)
        bench.put(pod("b"))
        await asyncio.sleep(1)
        assert bench.reflector.store == bench.truth
        assert bench.lists() == 1
        assert bench.reflector.stats.restarts == {"http-500": 1}
        assert 0.25 <= bench.sleeps[0] <= 0.5


@virtual
async def test_rule_7_a_410_when_the_watch_begins_means_a_new_list() -> None:
    for in_stream in (False, True):
        bench = Bench()
        bench.put(pod("a"))
        bench.api.fail("pods", "watch", 410, times=1, in_stream=in_stream)
        async with bench.running():
            await asyncio.sleep(2)
            assert bench.lists() == 2
            assert bench.api.watches("pods") == 1


@virtual
async def test_a_410_to_every_watch_is_no_storm_of_lists() -> None:
    bench = Bench()
    bench.api.fail("pods", "watch", 410)
    async with bench.running():
        await asyncio.sleep(600)
        assert bench.lists() < 40


@virtual
async def test_rule_8_silence_of_70_seconds_means_another_connection() -> None:
    bench = Bench()
    bench.put(pod("a"))
    async with bench.running():
        began = now()
        bench.api.freeze("pods", "watch")
        bench.put(pod("b"))  # half-open: told to nobody
        await asyncio.sleep(60)
        assert bench.reflector.idle > 59
        assert len(bench.reflector.store) == 1
        bench.api.thaw(drop=False)
        bench.client.streams.clear()
        bench.api.streams.clear()
        await asyncio.sleep(15)
        assert bench.reflector.store == bench.truth
        assert now() - began < 80
        assert bench.lists() == 1


@virtual
async def test_silence_twice_in_a_row_means_a_new_list() -> None:
    """A server restored from a backup says nothing on a watch from a version that is to come."""
    bench = Bench()
    bench.put(pod("a"))
    async with bench.running():
        bench.api.store.version -= 500
        bench.api.store.compact()
        bench.put(pod("b"))
        bench.api.end_watches()
        await asyncio.sleep(200)
        assert bench.reflector.store == bench.truth
        assert bench.reflector.stats.restarts == {"silence": 2}


@virtual
async def test_bookmarks_keep_a_quiet_watch_alive() -> None:
    bench = Bench()
    async with bench.running():
        for _ in range(3):
            await asyncio.sleep(60)
            bench.api.bookmark()
        await asyncio.sleep(5)
        assert bench.reflector.stats.restarts == {}
        assert len(bench.client.opened) == 1


# --- what is not to be believed ---------------------------------------------------------------------------------


@virtual
async def test_rule_10_an_empty_list_is_believed_the_second_time_only() -> None:
    bench = Bench(confirm=5.0)
    bench.put(pod("a"), pod("b"))
    async with bench.running():
        bench.told.clear()
        bench.api.empty_list("pods", times=1)
        bench.api.in_stream_error(410)
        await asyncio.sleep(30)
        assert bench.told == []
        assert len(bench.reflector.store) == 2
        assert bench.reflector.stats.doubted == 1
        bench.api.empty_list("pods", times=2)
        bench.api.in_stream_error(410)
        await asyncio.sleep(4)
        assert len(bench.reflector.store) == 2
        assert bench.reflector.health.state == "confirming"
        await asyncio.sleep(30)
        assert len(bench.reflector.store) == 0
        assert [new for _, _, new in bench.told] == [None, None]


@virtual
async def test_rule_10_a_list_of_less_than_half_is_believed_the_second_time_only() -> None:
    bench = Bench()
    bench.put(*(pod(f"p{i}") for i in range(10)))
    async with bench.running():
        bench.told.clear()
        bench.api.partial_list("pods", keep=4, times=1)
        bench.api.in_stream_error(410)
        await asyncio.sleep(30)
        assert bench.told == []
        assert bench.reflector.stats.doubted == 1
        assert len(bench.reflector.store) == 10
        # Half of them is thought possible.
        bench.api.partial_list("pods", keep=5, times=1)
        bench.api.in_stream_error(410)
        await asyncio.sleep(4)
        assert bench.reflector.stats.doubted == 1
        assert len(bench.reflector.store) == 5


@virtual
async def test_rule_10_what_a_doubted_list_has_new_is_taken_at_once() -> None:
    bench = Bench(confirm=60.0)
    bench.put(*(pod(f"p{i}") for i in range(10)))
    async with bench.running():
        bench.client.cut()
        bench.put(pod("p0", 9))
        bench.api.compact()
        bench.api.partial_list("pods", keep=1, times=1)
        await asyncio.sleep(5)
        assert ("p0", 9) in bench.values
        assert len(bench.values) == 10


@virtual
async def test_rule_10_a_second_list_that_fails_confirms_nothing() -> None:
    bench = Bench()
    bench.put(pod("a"), pod("b"))
    async with bench.running():
        bench.api.empty_list("pods", times=1)
        bench.api.fail("pods", "list", 500, times=3, when=lambda _: len(bench.api.calls("list")) > 2)
        bench.api.in_stream_error(410)
        await asyncio.sleep(60)
        assert bench.reflector.store == bench.truth
        assert len(bench.reflector.store) == 2


@virtual
async def test_rule_11_delete_and_recreate_under_one_name_are_two_objects() -> None:
    bench = Bench()
    bench.put(pod("a", 1))
    async with bench.running():
        for gap in (False, True):
            bench.told.clear()
            (former,) = bench.reflector.store
            if gap:
                bench.client.cut()
            bench.api.remove("pods", "voice", "a")
            bench.put(pod("a", 1))
            if gap:
                bench.api.compact()
            await asyncio.sleep(5)
            (present,) = bench.reflector.store
            assert present != former
            assert bench.told == [(former, ("a", 1), None), (present, None, ("a", 1))]


# --- a server that refuses, is away, or talks nonsense ----------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503, 504])
def test_a_refusal_keeps_the_store_and_is_said_once(status: int, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        bench = Bench()
        bench.put(pod("a"))
        async with bench.running():
            caplog.set_level(logging.INFO, "switchtender_kube")
            await asyncio.sleep(2)
            fault = bench.api.fail("pods", None, status)
            bench.api.end_watches()
            await asyncio.sleep(600)
            assert bench.values == [("a", 0)]
            assert fault.hits < 100
            assert bench.reflector.health.error is not None
            assert str(status) in bench.reflector.health.error
            assert bench.reflector.synced.is_set()
            fault.clear()
            bench.put(pod("b"))
            await asyncio.sleep(60)
            assert bench.reflector.store == bench.truth
            assert bench.reflector.health.error is None
            bench.api.bookmark()
            await asyncio.sleep(1)

    run_virtual(main)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.INFO] == [
        "voice/pods: going on"
    ]


@virtual
async def test_a_resource_that_is_not_served_yet_is_found_within_ten_seconds() -> None:
    bench = Bench(api=KubeApi(own=False), resource=GROUPS, project=lambda raw: raw["metadata"]["name"])
    async with bench.running(synced=False):
        await asyncio.sleep(1800)
        assert not bench.reflector.synced.is_set()
        names = {"plural": "balancergroups", "kind": "BalancerGroup"}
        version = {"name": "v1alpha1", "served": True, "storage": True, "subresources": {"status": {}}}
        spec = {"group": "switchtender.dev", "scope": "Namespaced", "names": names, "versions": [version]}
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
        bench.api.put({**definition, "metadata": {"name": "balancergroups.switchtender.dev"}})
        await asyncio.sleep(10)
        assert bench.reflector.synced.is_set()


@virtual
async def test_the_patience_a_429_asks_for_is_kept() -> None:
    bench = Bench()
    bench.api.fail("pods", "list", 429, retry_after=17, times=2)
    async with bench.running(synced=False):
        await asyncio.sleep(16.9)
        assert len(bench.api.calls("list")) == 1
        await asyncio.sleep(40)
        assert len(bench.api.calls("list")) == 3
        assert bench.reflector.stats.restarts == {"throttled": 2}
        assert all(17 <= sleep <= 17.5 for sleep in bench.sleeps)


@virtual
async def test_an_absurd_retry_after_does_not_stop_us_for_long() -> None:
    bench = Bench()
    bench.api.fail("pods", "list", 503, retry_after=80_000, times=1)
    async with bench.running(synced=False):
        await asyncio.sleep(125)
        assert bench.reflector.synced.is_set()


@virtual
async def test_backoff_grows_with_jitter_to_its_cap_and_is_reset_by_an_event() -> None:
    bench = Bench()
    bench.put(pod("a"))
    async with bench.running():
        bench.client.reachable = False
        bench.client.cut()
        await asyncio.sleep(300)
        for n, sleep in enumerate(bench.sleeps):
            ceiling = min(30.0, 0.5 * 2**n)
            assert ceiling / 2 <= sleep <= ceiling
        assert max(bench.sleeps) > 15
        assert len({sleep / min(30.0, 0.5 * 2**n) for n, sleep in enumerate(bench.sleeps)}) > 5
        bench.client.reachable = True
        bench.put(pod("b"))
        await asyncio.sleep(40)
        assert bench.reflector.store == bench.truth
        bench.sleeps.clear()
        bench.client.cut()
        await asyncio.sleep(1)
        assert bench.sleeps[0] <= 0.5


@virtual
async def test_a_server_that_ends_every_watch_at_once_is_not_hammered() -> None:
    bench = Bench()
    async with bench.running():
        watch = bench.client.watch

        async def short(path: str, query: Any = None, *, silence: float = 70.0):
            bench.client.opened.append(dict(query))
            return
            yield b""

        bench.client.watch = short  # type: ignore[method-assign,assignment]
        await asyncio.sleep(2)
        bench.api.end_watches()
        bench.client.opened.clear()
        await asyncio.sleep(600)
        assert len(bench.client.opened) < 40
        assert bench.reflector.stats.restarts["short"] == len(bench.client.opened)
        bench.client.watch = watch  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"{}",
        b'{"type": "ADDED"}',
        b'{"type": "ADDED", "object": {"metadata": {}}}',
        b'{"type": "NEWS", "object": {"metadata": {"uid": "u", "resourceVersion": "5"}}}',
        b'{"type": "ERROR", "object": "why"}',
        b"[1]",
        b"\xff\xfe",
    ],
)
def test_a_line_of_nonsense_means_a_new_list(line: bytes) -> None:
    async def main() -> None:
        bench = Bench()
        bench.put(pod("a"))
        async with bench.running():
            bench.api.say(line + b"\n")
            await asyncio.sleep(2)
            assert bench.reflector.stats.restarts == {"garbled": 1}
            assert bench.lists() == 2
            assert bench.reflector.store == bench.truth

    run_virtual(main)


@virtual
async def test_a_list_of_nonsense_keeps_the_store() -> None:
    bench = Bench()
    bench.put(pod("a"))
    async with bench.running():
        get = bench.client.get

        async def nonsense(*_: Any, **__: Any) -> Any:
            return {"kind": "Status"}

        bench.client.get = nonsense  # type: ignore[method-assign]
        bench.api.in_stream_error(410)
        await asyncio.sleep(60)
        assert bench.values == [("a", 0)]
        assert bench.reflector.stats.restarts["internal"] > 1
        bench.client.get = get  # type: ignore[method-assign]
        bench.put(pod("b"))
        await asyncio.sleep(60)
        assert bench.reflector.store == bench.truth


# --- project and changed ----------------------------------------------------------------------------------------


def test_an_object_that_cannot_be_projected_keeps_its_value_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def project(raw: Any) -> Any:
            return raw["metadata"]["name"], 10 // raw["spec"]["value"]

        bench = Bench(project=project)
        bench.put(pod("good", 1), pod("bad", 0), pod("turns", 5))
        async with bench.running():
            assert bench.values == [("good", 10), ("turns", 2)]
            bench.put(pod("turns", 0))
            await asyncio.sleep(1)
            bench.api.in_stream_error(410)
            await asyncio.sleep(2)
            assert bench.values == [("good", 10), ("turns", 2)]
            assert bench.reflector.stats.projection_errors == 4
            bench.put(pod("turns", 10))
            await asyncio.sleep(1)
            assert bench.values == [("good", 10), ("turns", 1)]
            bench.api.remove("pods", "voice", "bad")
            bench.api.remove("pods", "voice", "turns")
            await asyncio.sleep(1)
            assert bench.values == [("good", 10)]

    run_virtual(main)
    assert [record.getMessage().split()[2] for record in caplog.records if record.exc_info] == [
        "voice/bad",
        "voice/turns",
    ]


@virtual
async def test_an_object_that_is_projected_to_none_is_left_out() -> None:
    bench = Bench(project=lambda raw: raw["spec"]["value"] or None)
    bench.put(pod("a", 0), pod("b", 1))
    async with bench.running():
        assert bench.values == [1]
        bench.put(pod("a", 2), pod("b", 0))
        await asyncio.sleep(1)
        assert bench.values == [2]
        assert [(old, new) for _, old, new in bench.told] == [(None, 1), (None, 2), (1, None)]


@virtual
async def test_a_callback_that_raises_ends_nothing() -> None:
    def changed(*_: Any) -> None:
        raise RuntimeError("a fault of the caller")

    bench = Bench(changed=changed)
    bench.put(pod("a"))
    async with bench.running():
        bench.put(pod("b"))
        await asyncio.sleep(1)
        assert bench.reflector.store == bench.truth
        assert bench.reflector.stats.callback_errors == 2


@virtual
async def test_the_store_is_whole_when_the_first_callback_comes() -> None:
    seen: list[int] = []
    bench = Bench(page=2, changed=lambda *_: seen.append(len(bench.reflector.store)))
    bench.put(*(pod(f"p{i}") for i in range(6)))
    async with bench.running():
        assert seen == [6] * 6


@virtual
async def test_a_change_of_what_is_not_projected_is_no_news() -> None:
    bench = Bench()
    bench.put(pod("a"))
    async with bench.running():
        bench.put(pod("a", 0, heart="beat"))
        await asyncio.sleep(1)
        assert bench.reflector.stats.events == 1
        assert len(bench.told) == 1


@virtual
async def test_the_store_cannot_be_written_from_outside() -> None:
    bench = Bench()
    with pytest.raises(TypeError):
        bench.reflector.store["x"] = 1  # type: ignore[index]


# --- the periodic list ------------------------------------------------------------------------------------------


@virtual
async def test_rule_24_a_periodic_list_at_the_watchs_own_version_finds_no_drift() -> None:
    bench = Bench(resync=1200.0)
    bench.put(pod("a"))
    async with bench.running():
        for n in range(100):
            bench.put(pod("b", n))
            await asyncio.sleep(50)
        stats = bench.reflector.stats
        assert 3 <= stats.lists <= 9
        assert stats.drift == 0
        assert bench.reflector.store == bench.truth
    exact = [request.query for request in bench.api.calls("list") if "resourceVersionMatch" in request.query]
    assert len(exact) == stats.lists - 1
    assert {query["resourceVersionMatch"] for query in exact} == {"Exact"}


@virtual
async def test_rule_24_a_periodic_list_heals_and_counts_what_the_watch_lost() -> None:
    bench = Bench(resync=600.0)
    bench.put(pod("a"), pod("b"))
    async with bench.running():
        streams = set(bench.api.streams)
        bench.api.streams.clear()  # the server forgets us
        bench.put(pod("a", 5), pod("c"))
        bench.api.remove("pods", "voice", "b")
        bench.api.streams |= streams
        bench.api.bookmark()  # and says that there was nothing
        await asyncio.sleep(1)
        assert bench.values == [("a", 0), ("b", 0)]
        for _ in range(30):
            await asyncio.sleep(50)
            bench.api.bookmark()
        assert bench.reflector.store == bench.truth
        assert bench.reflector.stats.drift == 3


@virtual
async def test_a_periodic_list_whose_version_is_compacted_is_an_ordinary_one() -> None:
    bench = Bench(resync=600.0)
    bench.put(pod("a"))
    bench.api.fail("pods", "list", 410, when=lambda request: "resourceVersionMatch" in request.query)
    async with bench.running():
        for _ in range(30):
            await asyncio.sleep(50)
            bench.api.bookmark()
        assert bench.reflector.stats.lists > 1
        assert bench.reflector.stats.restarts == {}
        assert bench.reflector.stats.drift == 0


# --- health -----------------------------------------------------------------------------------------------------


@virtual
async def test_who_waits_for_an_absent_server_is_not_wedged_and_who_never_ran_is() -> None:
    bench = Bench()
    idle = Bench()
    async with bench.running():
        bench.client.reachable = False
        bench.client.hang = 30.0
        bench.client.cut()
        await asyncio.sleep(3600)
        assert not bench.reflector.wedged
        assert bench.reflector.idle > 3500
        assert idle.reflector.wedged
        assert bench.reflector.health.state == "waiting"


# --- everything at once -----------------------------------------------------------------------------------------

CHANGES = ["put", "put", "put", "remove", "remove", "replace"]
FAULTS = ["cut", "compact", "error-410", "error-500", "end", "garbage", "fail-list", "fail-watch", "429", "empty"]
STEPS = st.sampled_from([*CHANGES, *FAULTS, "partial", "away", "freeze", "wait", "wait", "bookmark"])


@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 9)), max_size=40), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_after_any_sequence_of_faults_the_store_is_what_the_server_has(steps: list[tuple[str, int]], seed: int) -> None:
    async def main() -> None:
        bench = Bench(page=3, resync=900.0)
        rng = random.Random(seed)
        bench.client.latency = lambda: rng.uniform(0, 0.05)
        mirror: dict[str, Any] = {}

        def changed(uid: str, old: Any, new: Any) -> None:
            assert mirror.get(uid) == old
            if new is None:
                del mirror[uid]
            else:
                mirror[uid] = new

        bench.reflector._changed = changed
        async with bench.running(synced=False):
            for step, n in steps:
                await _step(bench, step, n)
            bench.api.clear_faults()
            bench.client.reachable = True
            await asyncio.sleep(600)
            assert bench.reflector.synced.is_set()
            assert bench.reflector.store == bench.truth == mirror
            assert bench.reflector.stats.callback_errors == 0

    run_virtual(main)


async def _step(bench: Bench, step: str, n: int) -> None:
    api = bench.api
    match step:
        case "put":
            bench.put(pod(f"p{n}", api.store.version))
        case "remove" | "replace":
            if api.object("pods", "voice", f"p{n}") is not None:
                api.remove("pods", "voice", f"p{n}")
                if step == "replace":
                    bench.put(pod(f"p{n}", api.store.version))
        case "cut":
            bench.client.cut()
        case "compact":
            api.compact()
        case "error-410" | "error-500":
            api.in_stream_error(int(step.split("-")[1]))
        case "end":
            api.end_watches()
        case "garbage":
            api.say(b"{garbage\n")
        case "fail-list" | "fail-watch":
            api.fail("pods", step.split("-")[1], [500, 410, 403, 404][n % 4], times=n, in_stream=n % 2 == 0)
        case "429":
            api.fail("pods", None, 429, retry_after=n, times=2)
        case "empty":
            api.empty_list("pods", times=1)
        case "partial":
            api.partial_list("pods", keep=n // 3, times=1)
        case "away":
            bench.client.reachable = not bench.client.reachable
        case "freeze":
            api.freeze() if n % 2 else api.thaw(drop=False)
        case "bookmark":
            api.bookmark()
    await asyncio.sleep([0, 0.01, 0.5, 2, 5, 20, 70, 100, 0, 1][n])


# --- size -------------------------------------------------------------------------------------------------------


def test_5000_pods_of_6_kb_take_few_requests_and_little_memory() -> None:
    """The store alone is measured (bytes that are still allocated after), not the server's pods nor the time."""
    import tracemalloc

    async def main() -> None:
        filler = {f"annotation-{i}": "x" * 500 for i in range(11)}
        pods = []
        for n in range(5000):
            raw = pod(f"freeswitch-{n}", n, app="fs")
            raw["metadata"] |= {
                "uid": f"{n:08}-0000-0000-0000-000000000000",
                "annotations": filler,
                "resourceVersion": "1",
            }
            pods.append(raw)
        assert len(json.dumps(pods[0])) > 5_900
        requests: list[Any] = []

        class Pages:
            async def get(self, path: str, query: Any = None) -> Any:
                requests.append(query)
                start = int(query["continue"] or 0)
                page = json.loads(json.dumps(pods[start : start + query["limit"]]))
                after = start + query["limit"]
                more = {"continue": str(after)} if after < len(pods) else {}
                return {"metadata": {"resourceVersion": "7", **more}, "items": page}

            async def watch(self, path: str, query: Any = None, *, silence: float):
                await asyncio.sleep(silence)
                yield b""

        reflector = Reflector(
            Pages(), PODS, namespace=None, clock=now,
            project=lambda raw: (raw["metadata"]["name"], raw["metadata"]["namespace"], raw["spec"]["value"]),
            changed=lambda *_: None,
        )  # fmt: skip
        gc.collect()
        tracemalloc.start()
        task = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        task.cancel()
        assert len(reflector.store) == 5000
        assert len(requests) == 10
        assert held < 6 << 20, f"{held} bytes"

    run_virtual(main)
