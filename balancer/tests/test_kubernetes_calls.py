"""Real calls through `switchtender serve --kubernetes`: they follow the sets, and nothing that befalls the API server
touches those that stand.

A scripted API server, simulated FreeSWITCH nodes, SIPp, in a network namespace of the test's own.
"""

from __future__ import annotations

import asyncio
import shutil

import pytest
from kubernetes_island import Node, StandingCall, island, needed, town
from kubernetes_stand import head, secret, slice_of
from tests.stand import sipp

pytestmark = [pytest.mark.judge, pytest.mark.slow]

REPORTING = ("ready", "Reporting")
ESL = {"esl": {"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "password"}}}}


@pytest.fixture(autouse=True)
def own_network():
    needed(shutil.which("sipp"), "SIPp is not installed (Debian: apt-get install sip-tester)")
    with island():
        yield
    sipp.end_all()


async def all_well(place, count=20):
    result = await place.calls(count)
    assert (result.successful, result.failed) == (count, 0), result.output


async def test_calls_follow_sets_and_secrets(tmp_path):
    one, two, three = (Node(f"fs-{i}", 10 + i, password="first") for i in range(3))
    async with town(tmp_path, one, two, three) as place:
        place.api.put(secret("esl", password="first\n"))
        place.api.put(head("ivr", one.member(), two.member(), policy=ESL))
        async with place.serving():
            await place.until({"fs-0": REPORTING, "fs-1": REPORTING})
            await all_well(place)
            assert place.handled()["fs-0"] > 0
            assert place.handled()["fs-1"] > 0
            standing = StandingCall()

            # another pod, in another slice
            place.api.put(slice_of("ivr", 2, three.member()))
            await place.until(dict.fromkeys(("fs-0", "fs-1", "fs-2"), REPORTING))
            # the first two leave: one drains, one is not ready; what stands goes on
            drain = {"since": "2026-01-01T00:00:00Z", "deadline": "2099-01-01T00:00:00Z", "reason": "Terminating"}
            gone = [one.member(state="Draining", drain=drain), two.member(state="NotReady")]
            place.api.merge("destinationsets", "voice", "ivr", {"spec": {"members": gone}})
            draining, not_ready = ("draining", "Draining"), ("down", "PodNotReady")
            await place.until({"fs-0": draining, "fs-1": not_ready, "fs-2": REPORTING})
            before = place.handled()
            await all_well(place)
            after = place.handled()
            assert (after["fs-0"], after["fs-1"]) == (before["fs-0"], before["fs-1"])
            assert after["fs-2"] == before["fs-2"] + 20
            await asyncio.to_thread(standing.still_stands)

            # another password: who is logged in stays so, who logs in again uses the new one
            logins = 'switchtender_esl_errors_total{group="ivr"'
            place.api.merge("destinationsets", "voice", "ivr", {"spec": {"members": [one.member(), two.member()]}})
            await place.until(dict.fromkeys(("fs-0", "fs-1", "fs-2"), REPORTING))
            errors = await place.metric(logins)
            for node in (one, two, three):
                await asyncio.to_thread(place.nodes.change, node.name, password="second")
            place.api.put(secret("esl", password="second"))
            await all_well(place)
            assert await place.metric(logins) == errors
            await asyncio.to_thread(place.nodes.do, "fs-2", "crash")
            await asyncio.to_thread(place.nodes.do, "fs-2", "start?wait=1")
            await place.until(dict.fromkeys(("fs-0", "fs-1", "fs-2"), REPORTING))
            await asyncio.to_thread(standing.end)
            assert "first" not in place.log()
            assert "second" not in place.log()


async def test_calls_outlive_the_api_server_and_the_balancer(tmp_path):
    one, two = (Node(f"fs-{i}", 10 + i, password="hush") for i in range(2))
    both = dict.fromkeys(("fs-0", "fs-1"), REPORTING)
    async with town(tmp_path, one, two) as place:
        place.api.put(secret("esl", password="hush"))
        place.api.put(head("ivr", one.member(), two.member(), policy=ESL))
        async with place.serving():
            await place.until(both)
            await place.api.watched("secrets", 3)
            standing = StandingCall()
            # away for a while: nobody notices
            await place.api.stop()
            await all_well(place)
            assert await place.states() == both
            await place.api.start()
            # half-open: it accepts and says nothing
            place.api.freeze()
            await all_well(place)
            assert (await place.asked("/readyz"))["status"] == "ready"
            place.api.thaw()
            # our rights are withdrawn
            place.api.drop_connections()
            fault = place.api.fail(status=403)
            await all_well(place)
            assert await place.states() == both
            fault.clear()
            await place.until(both)
        await place.api.stop()
        async with place.serving():
            # it knows no password, so it goes by what it places itself
            await place.until(dict.fromkeys(("fs-0", "fs-1"), ("ready", "PasswordAwaited")))
            await all_well(place)
            await asyncio.to_thread(standing.still_stands)
            await place.api.start()
            await place.until(both)
            await all_well(place)
            await asyncio.to_thread(standing.end)


async def test_a_deleted_group_takes_no_calls_and_keeps_its_dialogs(tmp_path):
    one = Node("fs-0", 10, password="hush")
    async with town(tmp_path, one) as place:
        place.api.put(secret("esl", password="hush"))
        place.api.put(head("ivr", one.member(), policy=ESL))
        async with place.serving():
            await place.until({"fs-0": REPORTING})
            standing = StandingCall()
            place.api.remove("destinationsets", "voice", "ivr")
            await place.until({})
            result = await place.calls(1)
            assert (result.successful, result.failed) == (0, 1)
            await asyncio.to_thread(standing.still_stands)
            await asyncio.to_thread(standing.end)
