"""kopf in its thread: it is started again whenever it ends, told to end with the operator, and only wakes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import kopf
import pytest
from operator_stand import NAMESPACE, eventually, group, serving

from switchtender_operator.kopf_adapter.waker import Waker, _settings


async def login() -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(server="http://127.0.0.1:1")


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


def waker(start: Any, **more: Any) -> Waker:
    return Waker(login, lambda *_: None, start=start, **more)


async def test_whatever_ends_kopf_it_is_started_again() -> None:
    starts: list[str] = []

    async def fails(**given: Any) -> None:
        starts.append(threading.current_thread().name)
        if len(starts) == 2:
            raise SystemExit(3)
        if len(starts) == 3:
            return
        raise RuntimeError("in a stream")

    one = waker(fails, sleep=no_sleep)
    running = asyncio.create_task(one.run())
    await eventually(lambda: one.restarts >= 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert set(starts) == {"kopf"}


async def test_a_container_whose_user_has_no_name_runs_kopf() -> None:
    given: dict[str, Any] = {}

    async def noted(**arguments: Any) -> None:
        given.update(arguments)

    running = asyncio.create_task(waker(noted, sleep=no_sleep).run())
    await eventually(lambda: given)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert given["identity"], "kopf would ask getpass.getuser(), which raises KeyError there"


async def test_it_waits_longer_each_time_up_to_a_cap() -> None:
    delays: list[float] = []

    async def fails(**_: Any) -> None:
        raise RuntimeError

    async def noted(seconds: float) -> None:
        delays.append(seconds)

    one = waker(fails, sleep=noted, backoff_most=8.0)
    running = asyncio.create_task(one.run())
    await eventually(lambda: len(delays) >= 8)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert 0.75 <= delays[0] <= 1.25
    assert 1.5 <= delays[1] <= 2.5
    assert all(6.0 <= delay <= 10.0 for delay in delays[3:8])


async def test_it_ends_with_the_operator() -> None:
    ended = threading.Event()
    begun = threading.Event()

    async def runs(**_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = asyncio.create_task(waker(runs).run())
    await eventually(begun.is_set)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_scope_is_the_namespaces_or_the_cluster() -> None:
    given: list[dict[str, Any]] = []

    async def noted(**more: Any) -> None:
        given.append(more)

    for namespaces in ((), ("a", "b")):
        running = asyncio.create_task(waker(noted, namespaces=namespaces, sleep=asyncio.sleep).run())
        seen = len(given)
        await eventually(lambda count=seen: len(given) > count)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (given[0]["clusterwide"], given[0]["namespaces"]) == (True, [])
    assert (given[1]["clusterwide"], given[1]["namespaces"]) == (False, ["a", "b"])


def test_it_writes_nothing_by_its_settings() -> None:
    settings = _settings()
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert not settings.posting.enabled
    assert settings.watching.server_timeout < settings.watching.client_timeout  # type: ignore[operator]


async def test_the_real_one_wakes_on_each_event_and_only_reads() -> None:
    async with serving() as api:
        woken: list[tuple[str, str]] = []

        async def here() -> kopf.ConnectionInfo:
            return kopf.ConnectionInfo(server=api.url)

        one = Waker(here, lambda namespace, name: woken.append((namespace, name)))
        running = asyncio.create_task(one.run())
        try:
            await api.watched("balancergroups")
            api.put(group())
            await eventually(lambda: (NAMESPACE, "ivr") in woken)
            api.remove("balancergroups", NAMESPACE, "ivr")
            await eventually(lambda: len(woken) >= 2)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert one.restarts == 0
        assert one.wakes == len(woken)
        assert {request.verb for request in api.requests} <= {"get", "list", "watch"}
        assert {request.resource for request in api.requests if request.resource} == {"balancergroups"}
