"""Whatever the API server does, no set is emptied and nothing true is lost: each way it can fail, on real sockets.

In each test the watch on the sets themselves is taken by `fewest_members`: not even for a moment may members be missing
that are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from operator_stand import (
    NAMESPACE,
    TIMING,
    KubeApi,
    conditions,
    config_map,
    eventually,
    fewest_members,
    group,
    members,
    operating,
    pod,
    serving,
    settled,
    writes,
)

from switchtender_operator.app import Operator

PODS = 20
EVERYTHING = {f"fs-{number}" for number in range(PODS)}


@asynccontextmanager
async def world(**settings: object) -> AsyncIterator[tuple[KubeApi, Operator]]:
    """A group of twenty pods whose set is published, and the operator at rest."""
    async with serving() as api:
        api.put(config_map())
        api.put(group())
        for number in range(PODS):
            api.put(pod(number))
        async with operating(api, **settings) as operator:  # type: ignore[arg-type]
            await eventually(lambda: set(members(api)) == EVERYTHING and conditions(api))
            await settled(api)
            yield api, operator


def nodes(api: KubeApi) -> int:
    """How many nodes the group's status counts."""
    found = api.object("balancergroups", NAMESPACE, "ivr")
    assert found is not None
    return int(found["status"]["nodes"])


async def test_a_deletion_in_the_gap_of_a_410_is_found() -> None:
    async with world() as (api, _):
        fewest = fewest_members(api)
        away = api.fail("pods", "watch", 503)
        api.drop_connections()
        await eventually(lambda: away.hits)
        api.remove("pods", NAMESPACE, "fs-3")
        api.compact()
        away.clear()
        await eventually(lambda: set(members(api)) == EVERYTHING - {"fs-3"})
        assert fewest() == PODS - 1


async def test_a_group_deleted_in_the_gap_of_a_410_gets_no_set_again() -> None:
    async with world() as (api, _):
        api.put(group("conf"))
        await eventually(lambda: members(api, "conf"))
        away = api.fail("balancergroups", "watch", 503)
        api.drop_connections()
        await eventually(lambda: away.hits)
        api.remove("balancergroups", NAMESPACE, "conf")
        api.compact()
        api.put(pod(PODS))
        away.clear()
        await eventually(lambda: len(members(api)) == PODS + 1)
        await settled(api)
        assert members(api, "conf") == {}


async def test_a_set_is_not_created_for_a_group_that_only_the_cache_knows() -> None:
    async with world() as (api, operator):
        api.freeze("balancergroups", "watch")
        api.freeze("destinationsets", "watch")
        api.remove("balancergroups", NAMESPACE, "ivr")
        assert api.objects("destinationsets") == []
        operator._cluster._sets.clear()
        operator._cluster._written.clear()
        asked = len(api.calls("get", "balancergroups"))
        operator._reconciler.all_changed()
        await eventually(lambda: len(api.calls("get", "balancergroups")) > asked)
        await settled(api)
        assert api.objects("destinationsets") == []
        api.thaw()


async def test_a_half_open_watch_is_given_up_and_caught_up() -> None:
    async with world(timing=replace(TIMING, watch_silence=0.5)) as (api, _):
        fewest = fewest_members(api)
        api.freeze("pods", "watch")
        api.put(pod(PODS))
        asked = len(api.calls("watch", "pods"))
        await eventually(lambda: len(api.calls("watch", "pods")) > asked)
        assert set(members(api)) == EVERYTHING
        api.thaw()
        await eventually(lambda: len(members(api)) == PODS + 1)
        assert fewest() == PODS


async def test_errors_in_a_stream_restart_the_watch_and_nothing_else() -> None:
    async with world() as (api, operator):
        fewest = fewest_members(api)
        for code in (500, 410, 429, 403, 504):
            await api.watched("pods")
            api.in_stream_error(code)
            number = PODS + code
            api.put(pod(number))
            await eventually(lambda name=f"fs-{number}": name in members(api))
        assert fewest() == PODS
        assert operator.leading()
        await eventually(lambda: api.watches("balancergroups") >= 1)


async def test_a_storm_of_429_is_waited_out() -> None:
    async with world() as (api, _):
        storm = api.fail("destinationsets", "apply", 429, retry_after=1)
        api.put(pod(PODS))
        await eventually(lambda: storm.hits)
        first = asyncio.get_running_loop().time()
        await asyncio.sleep(0.5)
        assert storm.hits <= 2 + (asyncio.get_running_loop().time() - first)  # at most one a second
        storm.clear()
        await eventually(lambda: len(members(api)) == PODS + 1)


async def test_refused_and_failed_writes_are_tried_again_with_patience() -> None:
    async with world() as (api, operator):
        for status in (500, 403, 422):
            failing = api.fail("destinationsets", "apply", status)
            number = PODS + status
            api.put(pod(number))
            await eventually(lambda fault=failing: fault.hits >= 2)
            failing.clear()
            await eventually(lambda name=f"fs-{number}": name in members(api))
        text = operator._metrics.page()[0].decode()
        assert 'writes_total{kind="set",result="refused"}' in text
        assert 'writes_total{kind="set",result="failed"}' in text


async def test_an_api_server_that_is_away_changes_nothing() -> None:
    async with world() as (api, operator):
        fewest = fewest_members(api)
        before = len(api.requests)
        await api.stop()
        await asyncio.sleep(1.0)
        assert not operator.alive()
        assert not operator.unready()
        api.remove("pods", NAMESPACE, "fs-0")
        api.put(pod(PODS))
        await api.start()
        await eventually(lambda: set(members(api)) == (EVERYTHING | {f"fs-{PODS}"}) - {"fs-0"})
        assert fewest() >= PODS - 1
        assert len([one for one in writes(api, before) if "/destinationsets/" in one]) <= 2


async def test_a_leader_that_cannot_renew_stops_writing_and_leads_again() -> None:
    async with world(lease_duration=1.5) as (api, operator):
        away = api.fail("leases", None, 500)
        await eventually(lambda: not operator.leading())
        before = len(api.requests)
        api.put(pod(PODS))
        await asyncio.sleep(0.4)
        assert [one for one in writes(api, before) if "/destinationsets/" in one] == []
        away.clear()
        await eventually(lambda: len(members(api)) == PODS + 1)
        await eventually(operator.leading)


async def test_a_clock_that_jumps_moves_no_member() -> None:
    offset = [timedelta(0)]
    async with world(wall=lambda: datetime.now(UTC) + offset[0]) as (api, operator):
        fewest = fewest_members(api)
        for hours in (24, -24, 0):
            offset[0] = timedelta(hours=hours)
            before = len(api.requests)
            operator._reconciler.all_changed()
            await settled(api)
            assert [one for one in writes(api, before) if "/destinationsets/" in one] == []
            assert len([one for one in writes(api, before) if one.endswith("/status")]) <= 1
            before_it = nodes(api)
            api.put(pod(PODS + abs(hours) + before_it))
            await eventually(lambda least=before_it: nodes(api) > least)
        assert fewest() == PODS


async def test_an_empty_list_is_not_believed_at_once() -> None:
    async with world() as (api, _):
        fewest = fewest_members(api)
        lists = len(api.calls("list", "pods"))
        api.empty_list("pods", times=1)
        await api.watched("pods")
        api.in_stream_error(410, "pods")
        await eventually(lambda: len(api.calls("list", "pods")) >= lists + 2)
        await settled(api)
        assert set(members(api)) == EVERYTHING
        assert fewest() == PODS


async def test_pods_that_are_really_gone_go_after_the_second_list() -> None:
    async with world() as (api, _):
        away = api.fail("pods", "watch", 503)
        api.drop_connections()
        await eventually(lambda: away.hits)
        for number in range(PODS):
            api.remove("pods", NAMESPACE, f"fs-{number}")
        api.compact()
        away.clear()
        await eventually(lambda: members(api) == {})
        assert api.objects("destinationsets")


async def test_an_empty_list_of_groups_and_sets_deletes_nothing() -> None:
    async with world() as (api, _):
        fewest = fewest_members(api)
        for resource in ("balancergroups", "destinationsets", "configmaps"):
            lists = len(api.calls("list", resource))
            api.empty_list(resource, times=1)
            await api.watched(resource)
            api.in_stream_error(410, resource)
            await eventually(lambda name=resource, seen=lists: len(api.calls("list", name)) >= seen + 2)
        await settled(api)
        assert set(members(api)) == EVERYTHING
        assert fewest() == PODS
        assert not api.calls("delete")
        assert conditions(api)["Accepted"] == ("True", "Accepted")


async def test_a_partial_list_is_not_believed_at_once() -> None:
    async with world() as (api, _):
        fewest = fewest_members(api)
        lists = len(api.calls("list", "pods"))
        api.partial_list("pods", keep=3, times=1)
        await api.watched("pods")
        api.in_stream_error(410, "pods")
        await eventually(lambda: len(api.calls("list", "pods")) >= lists + 2)
        await settled(api)
        assert set(members(api)) == EVERYTHING
        assert fewest() == PODS


async def test_withdrawn_rights_leave_everything_as_it_is() -> None:
    async with world() as (api, operator):
        fewest = fewest_members(api)
        withdrawn = api.fail(None, None, 403, when=lambda request: request.resource != "leases")
        api.drop_connections()
        await eventually(lambda: withdrawn.hits > 8)
        api.put(pod(PODS))
        assert not operator.alive()
        assert set(members(api)) == EVERYTHING
        withdrawn.clear()
        await eventually(lambda: len(members(api)) == PODS + 1)
        assert fewest() == PODS


async def test_credentials_that_expire_leave_everything_as_it_is() -> None:
    async with world() as (api, _):
        expired = api.fail(None, None, 401)
        api.drop_connections()
        await eventually(lambda: expired.hits > 8)
        assert set(members(api)) == EVERYTHING
        expired.clear()
        api.put(pod(PODS))
        await eventually(lambda: len(members(api)) == PODS + 1)


async def test_definitions_that_vanish_leave_everything_as_it_is() -> None:
    """As when they are deleted and made anew: what was known is not taken back, and the watch begins again."""
    async with world() as (api, operator):
        vanished = api.fail("balancergroups", None, 404)
        api.drop_connections()
        await eventually(lambda: vanished.hits > 2)
        api.put(pod(PODS))
        await eventually(lambda: len(members(api)) == PODS + 1)
        vanished.clear()
        api.put(group("conf"))
        await eventually(lambda: members(api, "conf"))
        assert operator.leading()


async def test_kopf_may_die_and_nothing_is_late() -> None:
    def by_kopf(request: object) -> bool:
        return str(getattr(request, "user_agent", "")).startswith("kopf")

    async with serving() as api:
        api.put(config_map())
        api.put(pod())
        api.fail(None, None, 403, when=by_kopf)
        async with operating(api, kopf=True) as operator:
            await eventually(lambda: [one for one in api.requests if by_kopf(one)])
            api.put(group())
            await eventually(lambda: members(api) == {"fs-0": "Ready"})
            assert operator.leading()


async def test_kopf_is_started_again() -> None:
    def watch_by_kopf(request: object) -> bool:
        return str(getattr(request, "user_agent", "")).startswith("kopf")

    async with serving() as api:
        api.put(config_map())
        api.put(group())
        broken = api.fail("balancergroups", "watch", 500, in_stream=True, when=watch_by_kopf)
        async with operating(api, kopf=True) as operator:
            await eventually(lambda: operator._waker.restarts >= 1)
            broken.clear()
            wakes = operator._waker.wakes
            await eventually(lambda: operator._waker.wakes > wakes)


async def test_a_set_changed_by_another_hand_is_put_right() -> None:
    async with world() as (api, _):
        api.merge("destinationsets", NAMESPACE, "ivr", {"spec": {"members": []}})
        await eventually(lambda: set(members(api)) == EVERYTHING)
        api.remove("destinationsets", NAMESPACE, "ivr")
        await eventually(lambda: set(members(api)) == EVERYTHING)


async def test_a_late_write_cannot_undo_what_another_wrote_since() -> None:
    """The fence is a matter of time; this is the API server's own: a set's version is a precondition of its apply."""
    async with world() as (api, operator):
        api.freeze("destinationsets", "watch")
        api.merge("destinationsets", NAMESPACE, "ivr", {"metadata": {"labels": {"by": "another"}}})
        before = len(api.calls("apply", "destinationsets"))
        api.put(pod(PODS))
        await eventually(lambda: len(api.calls("apply", "destinationsets")) > before)
        await asyncio.sleep(0.1)
        assert set(members(api)) == EVERYTHING
        api.thaw()
        await eventually(lambda: len(members(api)) == PODS + 1)
        assert 'writes_total{kind="set",result="conflict"}' in operator._metrics.page()[0].decode()
