"""`switchtender-operator run` as a process: what it does when it is killed, stopped, frozen, or started wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from operator_stand import (
    NAMESPACE,
    OWN,
    KubeApi,
    Replica,
    config_map,
    eventually,
    group,
    members,
    pod,
    replica,
    serving,
    writes,
)

PODS = 12


def holder(api: KubeApi) -> str | None:
    lease = api.object("leases", OWN, "switchtender-operator")
    return None if lease is None else lease["spec"].get("holderIdentity")


async def answer(one: Replica, path: str) -> tuple[int, str]:
    """What the replica answers over HTTP; 0 while it does not."""

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{one.url}{path}", timeout=30) as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, ValueError):
            return 0, ""

    return await asyncio.to_thread(ask)


async def ready(one: Replica) -> None:
    for _ in range(1200):
        if (await answer(one, "/readyz"))[0] == 200:
            return
        assert one.process.returncode is None, one.text()
        await asyncio.sleep(0.05)
    raise AssertionError(one.text())


async def test_it_serves_a_group_and_stops_on_sigterm(tmp_path: Path) -> None:
    async with serving(own=False) as api, replica(api, tmp_path) as one:
        await ready(one)
        api.put(config_map())
        api.put(group())
        api.put(pod())
        # It tells of a group a moment after it made its set.
        await eventually(lambda: members(api) == {"fs-0": "Ready"} and '"Accepted"' in one.text())
        assert (await answer(one, "/healthz")) == (200, "ok\n")
        assert "switchtender_operator_is_leader 1.0" in (await answer(one, "/metrics"))[1]
        one.send(signal.SIGTERM)
        assert await asyncio.wait_for(one.process.wait(), 60) == 0
        assert holder(api) == ""
        lines = [json.loads(line) for line in one.text().splitlines()]
        accepted = [line for line in lines if line.get("reason") == "Accepted"]
        assert [(line["group"], line["level"]) for line in accepted] == [("voice/ivr", "info")]
        assert {line["lease"] for line in lines if line["logger"] == "switchtender_kube.lease"} == {
            "switchtender/switchtender-operator"
        }
        assert not [line for line in lines if line["logger"].startswith(("kopf", "aiohttp", "kubernetes"))]


async def test_the_second_replica_takes_over_when_the_first_stops(tmp_path: Path) -> None:
    async with serving() as api, replica(api, tmp_path, identity="a") as first:
        await eventually(lambda: holder(api) == "a")
        async with replica(api, tmp_path, identity="b") as second:
            await ready(second)
            assert holder(api) == "a"
            first.send(signal.SIGTERM)
            await eventually(lambda: holder(api) == "b")
            assert await asyncio.wait_for(first.process.wait(), 60) == 0
            api.put(config_map())
            api.put(group())
            api.put(pod())
            await eventually(lambda: members(api))


async def test_killed_in_a_storm_it_comes_back_to_the_same_sets(tmp_path: Path) -> None:
    async with serving() as api:
        api.put(config_map())
        api.put(group())
        async with replica(api, tmp_path, "--lease-duration", "3", identity="a") as first:
            await eventually(lambda: api.watches("pods"))
            for number in range(PODS):
                api.put(pod(number, ready=number % 2 == 0))
                await asyncio.sleep(0.02)
            await eventually(lambda: members(api))
            first.send(signal.SIGKILL)
            await first.process.wait()
        for number in range(PODS):
            api.put(pod(number))
        api.remove("pods", NAMESPACE, "fs-3")
        wanted = {f"fs-{number}": "Ready" for number in range(PODS) if number != 3}
        async with replica(api, tmp_path, "--lease-duration", "3", identity="b"):
            await eventually(lambda: members(api) == wanted)
            (head,) = api.objects("destinationsets")
            places = [member["name"] for member in head["spec"]["members"]]
            assert len(places) == len(set(places))


async def test_a_frozen_leader_writes_nothing_after_its_lease_ran_out(tmp_path: Path) -> None:
    """Two processes: the leader is stopped for longer than its lease, the other leads; thawed, the first is silent."""
    async with serving() as api:
        api.put(config_map())
        api.put(group())
        flags = ("--lease-duration", "3")
        async with replica(api, tmp_path, *flags, identity="a") as first:
            await eventually(lambda: holder(api) == "a" and api.watches("pods"))
            async with replica(api, tmp_path, *flags, identity="b") as second:
                await ready(second)
                for number in range(PODS):  # changes that it has not written yet when it freezes
                    api.put(pod(number))
                first.send(signal.SIGSTOP)
                await eventually(lambda: holder(api) == "b")
                await eventually(lambda: len(members(api)) == PODS)
                before = len(api.requests)
                api.remove("pods", NAMESPACE, "fs-0")
                first.send(signal.SIGCONT)
                await eventually(lambda: "fs-0" not in members(api))
                await asyncio.sleep(1.0)
                assert holder(api) == "b"
                made = [
                    one for one in api.requests[before:] if one.resource == "destinationsets" and one.verb == "apply"
                ]
                assert len(made) == 1
                assert first.process.returncode is None
                metrics = (await answer(first, "/metrics"))[1]
                assert "switchtender_operator_is_leader 0.0" in metrics


async def test_no_secret_and_no_object_gets_into_the_logs(tmp_path: Path) -> None:
    token = "bearer-of-the-test-0123456789"
    async with serving(token=token) as api, replica(api, tmp_path, "--log-level", "debug") as one:
        await ready(one)
        api.put(config_map())
        api.put(group(esl={"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "a-very-special-key"}}}))
        api.put(pod())
        await eventually(lambda: members(api) and len(api.objects("secrets", OWN)) == 2)
        api.fail("destinationsets", "apply", 422, message="refused with words", times=3)
        api.put(pod(1))
        await eventually(lambda: len(members(api)) == 2)
        api.drop_connections()
        await asyncio.sleep(0.5)
        text = one.text()
        hidden = [token, "a-very-special-key", "passwordFrom"]
        for secret in api.objects("secrets", OWN):
            for encoded in secret["data"].values():
                hidden += [encoded, base64.b64decode(encoded).decode()]
        assert not [word for word in hidden if word in text]
        assert "refused with words" in text


async def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    async with serving() as api, replica(api, tmp_path) as one:
        api.put(config_map())
        api.put(group())
        for number in range(PODS):
            api.put(pod(number))
        await ready(one)
        await eventually(lambda: len(members(api)) == PODS)
        await asyncio.sleep(1.5)
        before = len(api.requests)
        await asyncio.sleep(2.0)
        assert writes(api, before) == []


async def test_flags_may_come_from_the_environment(tmp_path: Path) -> None:
    environment = {"SWITCHTENDER_WATCH_NAMESPACES": "voice,other", "SWITCHTENDER_LEASE_NAME": "st-operator"}
    async with serving() as api, replica(api, tmp_path, "--no-crds", **environment) as one:
        await ready(one)
        await eventually(lambda: api.object("leases", OWN, "st-operator"))
        assert {request.namespace for request in api.calls("list", "balancergroups")} == {"voice", "other"}
        assert not api.calls("get", "customresourcedefinitions")


async def test_it_waits_for_definitions_that_it_may_not_make(tmp_path: Path) -> None:
    async with serving(own=False) as api:
        forbidden = api.fail("customresourcedefinitions", None, 403)
        async with replica(api, tmp_path) as one:
            await eventually(lambda: "install_with" in one.text())
            status, text = await answer(one, "/readyz")
            assert status == 503
            assert "CRDs" in text
            assert (await answer(one, "/healthz"))[0] == 200
            forbidden.clear()
            await ready(one)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--namespace", "Not_A_Name"], "--namespace"),
        (["--watch-namespaces", "a,B!"], "--watch-namespaces"),
        (["--kubeconfig", "/nowhere/config"], "kubeconfig"),
        (["--http-address", "203.0.113.77"], "cannot bind"),
        (["--context", "unknown"], "unknown"),
    ],
)
async def test_what_cannot_start_says_why_and_exits_with_2(tmp_path: Path, flags: list[str], words: str) -> None:
    async with serving() as api, replica(api, tmp_path, *flags) as one:
        assert await asyncio.wait_for(one.process.wait(), 60) == 2
        assert words in one.text()
        assert "Traceback" not in one.text()


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with serving() as api, replica(api, tmp_path) as one:
        await eventually(lambda: holder(api) == "a")
        api.freeze("leases")
        one.send(signal.SIGTERM)
        await eventually(lambda: "stopping" in one.text())
        one.send(signal.SIGTERM)
        assert await asyncio.wait_for(one.process.wait(), 60) == 128 + signal.SIGTERM
