"""The reflector against servers and callers at fault, its periodic lists and its health, in virtual time."""

import asyncio
import logging
from typing import Any

import pytest
from kube_bench import GROUPS, Bench, pod
from kube_virtual import run_virtual, virtual
from tests.stand.kube_api import KubeApi

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
            assert fault.hits < (100 if status < 500 else 300)
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
        bench.client.cut()
        await asyncio.sleep(0.1)
        bench.client.reachable = False
        await asyncio.sleep(300)
        for n, sleep in enumerate(bench.sleeps):
            ceiling = min(5.0, 0.5 * 2**n)
            assert ceiling / 2 <= sleep <= ceiling
        assert max(bench.sleeps) > 4
        assert len({sleep / min(5.0, 0.5 * 2**n) for n, sleep in enumerate(bench.sleeps)}) > 5
        bench.client.reachable = True
        bench.put(pod("b"))
        await asyncio.sleep(6)
        assert bench.reflector.store == bench.truth
        bench.sleeps.clear()
        bench.client.cut()
        await asyncio.sleep(1)
        assert bench.sleeps[0] <= 0.5


@pytest.mark.parametrize("starting", [403, 429, 503])
def test_after_an_outage_a_server_that_starts_is_heard_soon(starting: int) -> None:
    """A starting API server refuses everybody until its caches are filled: 403 by RBAC, 429 for custom resources."""

    async def main() -> None:
        bench = Bench()
        bench.put(pod("a"))
        async with bench.running():
            bench.client.cut()
            await asyncio.sleep(0.1)
            bench.client.reachable = False
            await asyncio.sleep(60)
            fault = bench.api.fail("pods", None, starting)
            bench.client.reachable = True
            await asyncio.sleep(6)
            assert fault.hits > 0
            fault.clear()
            bench.put(pod("b"))
            await asyncio.sleep(6)
            assert bench.reflector.store == bench.truth

    run_virtual(main)


@virtual
async def test_a_server_that_ends_every_watch_after_a_bookmark_is_not_hammered() -> None:
    bench = Bench()
    async with bench.running():
        watch = bench.client.watch

        async def short(path: str, query: Any = None, *, silence: float = 70.0):
            bench.client.opened.append(dict(query))
            await asyncio.sleep(0.001)
            yield (
                b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "%s"}}}'
                % query["resourceVersion"].encode()
            )

        bench.client.watch = short  # type: ignore[method-assign,assignment]
        bench.api.end_watches()
        bench.client.opened.clear()
        await asyncio.sleep(60)
        assert 10 < len(bench.client.opened) < 300
        bench.client.watch = watch  # type: ignore[method-assign]


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


def test_of_a_confidential_object_nothing_is_quoted(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def project(raw: Any) -> Any:
            if raw["spec"]["value"] == "bad":
                raise ValueError("sesame")
            return raw["spec"]["value"]

        def changed(_uid: str, _old: Any, new: Any) -> None:
            raise KeyError(new)

        bench = Bench(project=project, changed=changed, confidential=True)
        bench.put({**pod("a"), "spec": {"value": "bad"}}, {**pod("b"), "spec": {"value": "open"}})
        async with bench.running():
            assert bench.values == ["open"]

    run_virtual(main)
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2
    assert "sesame" not in caplog.text
    assert "'open'" not in caplog.text


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


@pytest.mark.parametrize("status", [403, 429, 500])
def test_a_periodic_list_that_fails_does_not_stop_the_watch(status: int) -> None:
    async def main() -> None:
        bench = Bench(resync=600.0)
        bench.put(pod("a"))
        async with bench.running():
            fault = bench.api.fail("pods", "list", status)
            for n in range(60):
                await asyncio.sleep(50)
                bench.put(pod("b", n))
                await asyncio.sleep(3)
                assert bench.reflector.store == bench.truth
            assert 5 < fault.hits < 100
            fault.clear()
            await asyncio.sleep(1200)
            assert bench.reflector.health.error is None
            assert bench.reflector.stats.drift == 0

    run_virtual(main)


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
        assert bench.reflector.health.error is not None
