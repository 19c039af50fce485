"""The reflector's rules, one by one, in virtual time against the scripted API server."""

import asyncio
import gc
import weakref
from typing import Any

from kube_bench import Bench, pod
from kube_virtual import now, virtual

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
        await asyncio.sleep(2)
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
