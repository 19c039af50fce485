"""`switchtender serve --kubernetes` against a scripted API server: it follows what is said, silence moves nothing."""

import asyncio
import json
import logging
import os
import signal

import aiohttp
import pytest
import yaml
from kubernetes_stand import (
    GROUP_UID,
    KEYS,
    OWN,
    TOKEN,
    TOKENS,
    KubeApi,
    config,
    eventually,
    head,
    key_file,
    member,
    secret,
    served,
    slice_of,
)

from switchtender.control import cluster as cluster_module
from switchtender_api.problems import DocumentErrors

READY = ("ready", "Unmeasured")
FS = [member(f"fs-{i}", f"192.0.2.{i + 1}") for i in range(4)]
ROUND_ROBIN = {"routing": {"algorithm": "RoundRobin"}}
ESL = {"esl": {"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "password"}}}}
NOWHERE = {**member("fs-0", "192.0.2.1", esl=True)}


@pytest.fixture
async def api():
    async with KubeApi() as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What is waited for on purpose is short here; what it is waited for stays the same."""
    monkeypatch.setattr(cluster_module, "_QUIET", 0.0)
    monkeypatch.setattr(cluster_module, "_LOOK", 0.05)


def names(*numbers):
    return {f"fs-{i}": READY for i in numbers}


async def saved(tmp_path, holds):
    """Wait until the snapshot in stateDir is of this kind."""
    file = tmp_path / "state" / "sets.json"
    await eventually(lambda: file.exists() and holds(json.loads(file.read_text())))
    return json.loads(file.read_text())


# What is in force


async def test_groups_follow_their_sets(api, tmp_path):
    api.put(head("ivr", FS[0]))
    async with served(api, tmp_path) as pod:
        assert await pod.readiness() == (200, None)
        await pod.until(names(0))
        api.put(slice_of("ivr", 2, FS[1]))
        await pod.until(names(0, 1))
        api.merge("destinationsets", "voice", "ivr.2", {"spec": {"members": [FS[2]]}})
        await pod.until(names(0, 2))
        api.remove("destinationsets", "voice", "ivr")
        await pod.until({})
        assert (await pod.state())["groups"] == []


async def test_the_operator_is_told_the_versions_acted_on(api, tmp_path):
    made = api.put(head("ivr", FS[0], generation=7))
    second = api.put(slice_of("ivr", 2, FS[1]))
    async with served(api, tmp_path) as pod:
        state = await pod.state()
        assert (state["format"], state["balancer"], state["unknownFields"]) == (1, "default", 0)
        assert state["sets"] == [
            {"namespace": "voice", "name": each["metadata"]["name"], "uid": each["metadata"]["uid"], "generation": 1}
            for each in (made, second)
        ]
        [group] = state["groups"]
        assert group == {
            "namespace": "voice", "name": "ivr", "uid": GROUP_UID, "generation": 7, "rejected": None, "assigned": 0,
        }  # fmt: skip
        [node, _] = state["nodes"]
        assert {key: node[key] for key in ("namespace", "group", "uid", "name", "state", "reason", "pausedByUs")} == {
            "namespace": "voice", "group": "ivr", "uid": "uid-fs-0", "name": "fs-0", "state": "ready",
            "reason": "Unmeasured", "pausedByUs": False,
        }  # fmt: skip
        assert {"reportAge", "sessions", "maxSessions", "capacity", "effective", "verdict"} <= set(node)


async def test_a_policy_that_cannot_be_read_is_told_and_the_one_before_stays(api, tmp_path):
    api.put(head("ivr", FS[0]))
    async with served(api, tmp_path) as pod:
        await pod.until({"ivr": "LeastLoad"}, of="algorithms")
        api.put(head("ivr", FS[0], FS[1], policy={"routing": {"algorithm": "Astrology"}}, generation=2))
        await pod.until(names(0, 1))
        [group] = (await pod.state())["groups"]
        assert "Astrology" in group["rejected"]
        assert (await pod.state())["sets"][0]["generation"] == 1
        assert await pod.algorithms() == {"ivr": "LeastLoad"}
        assert await pod.metric('switchtender_group_rejected{group="ivr",namespace="voice"}') == 1
        assert await pod.metric("switchtender_config_last_reload_successful") == 0
        api.put(head("ivr", FS[0], policy=ROUND_ROBIN, generation=3))
        await pod.until({"ivr": "RoundRobin"}, of="algorithms")
        [group] = (await pod.state())["groups"]
        assert (group["generation"], group["rejected"]) == (3, None)
        assert await pod.metric('switchtender_group_rejected{group="ivr",namespace="voice"}') is None
    # over a restart with the bad policy still there, the good one is in force
    api.put(head("ivr", FS[0], policy={"routing": {"algorithm": "Astrology"}}, generation=4))
    async with served(api, tmp_path) as pod:
        await pod.until({"ivr": "RoundRobin"}, of="algorithms")
        await eventually(lambda: any("not served as its newest" in text for text in pod.messages(logging.ERROR)))
        assert await pod.algorithms() == {"ivr": "RoundRobin"}


async def test_fields_of_a_newer_version_are_counted_and_left_out(api, tmp_path):
    newer = head("ivr", {**FS[0], "mood": "bright"}, policy={"stars": 5})
    api.put(newer)
    async with served(api, tmp_path) as pod:
        await pod.until(names(0))
        assert (await pod.state())["unknownFields"] == 2
        assert await pod.metric("switchtender_unknown_fields") == 2
        assert [record.fields for record in pod.records if hasattr(record, "fields")]


async def test_only_the_named_namespaces_are_listed(api, tmp_path):
    api.put(head("ivr", FS[0]))
    api.put(head("conf", FS[1], namespace="lab", group_uid="lab"))
    api.put(head("other", FS[2], namespace="elsewhere", group_uid="else"))
    async with served(api, tmp_path, options={"watch_namespaces": ("voice", "lab")}) as pod:
        await pod.until(names(0, 1))
        assert {call.namespace for call in api.calls("list") + api.calls("watch")} == {"voice", "lab", OWN}


# Passwords


async def test_a_password_that_never_was_known(api, tmp_path):
    api.put(head("ivr", NOWHERE, policy=ESL))
    async with served(api, tmp_path) as pod:
        await pod.until({"fs-0": ("unknown", "NoPassword")})
        # each is told once, and none of them shows what is in the Secret
        for data, words in (
            ({"other": "hunter2"}, "no such key"),
            ({"password": b"\xff\xfe"}, "not text"),
            ({"password": "hunter2\nhunter3"}, "line break"),
            ({"password": "\n"}, "empty"),
        ):
            api.put(secret("esl", **data))
            await eventually(lambda words=words: any(words in text for text in pod.messages(logging.ERROR)))
        raw = secret("esl")
        api.put({**raw, "data": {"password": "hunter2!"}})
        await eventually(lambda: any("not base64" in text for text in pod.messages(logging.ERROR)))
        assert await pod.nodes() == {"fs-0": ("unknown", "NoPassword")}
        assert not any("hunter" in repr(vars(record)) for record in pod.records)
        api.put(secret("esl", password="hunter2"))
        await eventually(lambda: pod.watch("uid-fs-0").esl.password is not None)


async def test_a_password_stays_known_when_its_secret_goes(api, tmp_path):
    api.put(secret("esl", password="hunter2\n"))
    api.put(head("ivr", NOWHERE, policy=ESL))
    async with served(api, tmp_path) as pod:
        await eventually(lambda: pod.watch("uid-fs-0").esl.password is not None)
        assert pod.watch("uid-fs-0").esl.password.get_secret_value() == "hunter2"
        api.remove("secrets", "voice", "esl")
        await eventually(lambda: any("is gone" in text for text in pod.messages(logging.WARNING)))
        api.put(head("ivr", NOWHERE, FS[1], policy=ESL, generation=2))
        await eventually(lambda: "uid-fs-1" in pod.balancer.watches)
        assert pod.watch("uid-fs-0").esl.password.get_secret_value() == "hunter2"
        queries = [call.query for call in api.calls("watch", "secrets") if call.namespace == "voice"]
        assert {query["fieldSelector"] for query in queries} == {"metadata.name=esl"}


# Token keys and the operator's token


async def test_nothing_is_signed_before_the_shared_keys_are_known(api, tmp_path):
    async with served(api, tmp_path, wait=False, secrets=False) as pod:
        await eventually(lambda: any("waiting for Secret" in text for text in pod.messages()))
        status, reason = await pod.readiness()
        assert (status, "keys" in reason) == (503, True)
        api.put(secret(KEYS, OWN, keys_json="{}"))
        await eventually(lambda: any("not a key file" in text for text in pod.messages(logging.ERROR)))
        assert not pod.serving
        api.put(secret(KEYS, OWN, keys_json=key_file(5, 4)))
        await eventually(lambda: pod.serving)
        assert [key.id for key in pod.balancer.keys] == [5, 4]
    copy = json.loads((tmp_path / "state" / "keys.json").read_text())
    assert [key["id"] for key in copy["keys"]] == [5, 4]


async def test_a_copy_of_the_keys_serves_until_the_secret_tells_others(api, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "keys.json").write_text(key_file(9))
    async with served(api, tmp_path, secrets=False) as pod:
        assert [key.id for key in pod.balancer.keys] == [9]
        assert await pod.readiness() == (200, None)
        api.put(secret(KEYS, OWN, keys_json=key_file(1, 9)))
        await eventually(lambda: [key.id for key in pod.balancer.keys] == [1, 9])
    (tmp_path / "state" / "keys.json").write_text(key_file(1, 9))
    async with served(api, tmp_path) as pod:
        await eventually(lambda: [key.id for key in pod.balancer.keys] == [1])


async def test_keys_of_before_verify_on_when_their_secret_is_made_anew(api, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "keys.json").write_text(key_file(9))
    async with served(api, tmp_path) as pod:
        await eventually(lambda: [key.id for key in pod.balancer.keys] == [1, 9])
        api.remove("secrets", OWN, KEYS)
        api.put(secret(KEYS, OWN, keys_json=key_file(5)))
        await eventually(lambda: [key.id for key in pod.balancer.keys] == [5, 1, 9])
        assert any("made anew" in text for text in pod.messages(logging.WARNING))


async def test_keys_are_taken_up_while_serving(api, tmp_path):
    async with served(api, tmp_path) as pod:
        generation = pod.balancer.generation
        api.put(secret(KEYS, OWN, keys_json=key_file(1, 2)))
        await eventually(lambda: [key.id for key in pod.balancer.keys] == [1, 2])
        await eventually(lambda: pod.balancer.generation > generation)
        api.put(secret(KEYS, OWN, keys_json="garbage"))
        await eventually(lambda: any("not a key file" in text for text in pod.messages(logging.ERROR)))
        api.remove("secrets", OWN, KEYS)
        await eventually(lambda: any("is gone" in text for text in pod.messages(logging.WARNING)))
        assert [key.id for key in pod.balancer.keys] == [1, 2]
        assert not any(key_file(2)[20:60] in repr(vars(record)) for record in pod.records)


async def test_state_is_for_the_bearer_of_the_token(api, tmp_path):
    async with served(api, tmp_path) as pod:
        assert (await pod.get("/api/v1/state"))[0] == 200
        for wrong in (None, "", "x", TOKEN[:-1], TOKEN + "x"):
            assert (await pod.get("/api/v1/state", wrong))[0] == 401
        api.put(secret(TOKENS, OWN, token="another"))
        while (await pod.get("/api/v1/state"))[0] != 401:
            await asyncio.sleep(0.01)
        assert (await pod.get("/api/v1/state", "another"))[0] == 200


async def test_state_is_shown_to_nobody_before_the_token_is_known(api, tmp_path):
    api.put(secret(KEYS, OWN, keys_json=key_file(1)))
    async with served(api, tmp_path, secrets=False) as pod:
        assert (await pod.get("/api/v1/state", ""))[0] == 401
    async with served(api, tmp_path, secrets=False, options={"token_secret": None}) as pod:
        assert (await pod.get("/api/v1/state"))[0] == 404


# The API server is away, silent, forbidding, forgetful


async def test_a_start_waits_until_the_resource_is_there(tmp_path):
    async with KubeApi(own=False) as api, served(api, tmp_path, wait=False) as pod:
        await eventually(lambda: api.calls("list", "destinationsets") or api.calls())
        status, reason = await pod.readiness()
        assert (status, "DestinationSets" in reason) == (503, True)
        assert (await pod.get("/healthz"))[0] == 200
        assert (await pod.get("/api/v1/state"))[1]["sets"] == []
        assert (await pod.get("/api/v1/nodes"))[1] == {"nodes": []}
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await pod.task
        assert pod.messages()[-1] == "stopped"


async def test_a_start_without_the_api_server_goes_by_the_last_good_snapshot(api, tmp_path):
    api.put(secret("esl", password="hunter2"))
    api.put(head("ivr", NOWHERE, policy={**ESL, **ROUND_ROBIN}))
    api.put(head("conf", FS[1], group_uid="conf"))
    async with served(api, tmp_path):
        snapshot = await saved(tmp_path, lambda content: len(content["sets"]) == 2)
    assert snapshot["format"] == 1
    assert "hunter2" not in json.dumps(snapshot)
    assert (tmp_path / "state" / "sets.json").stat().st_mode & 0o077 == 0
    await api.stop()
    async with served(api, tmp_path, secrets=False) as pod:
        await pod.until({"ivr": "RoundRobin", "conf": "LeastLoad"}, of="algorithms")
        # no token without the API server: the operator is away, too
        assert (await pod.get("/api/v1/state"))[0] == 401
        assert await pod.readiness() == (200, None)
        assert await pod.metric("switchtender_snapshot_age_seconds") > 0
        await eventually(lambda: pod.watch("uid-fs-0").state.reason == "PasswordAwaited")
        before = (tmp_path / "state" / "sets.json").read_text()
        await api.start()
        await eventually(lambda: pod.watch("uid-fs-0").esl.password is not None)
        await pod.until({"ivr": "RoundRobin", "conf": "LeastLoad"}, of="algorithms")
        assert json.loads(before)["sets"] == (await saved(tmp_path, lambda _: True))["sets"]
        # what it says from now on is followed
        api.remove("destinationsets", "voice", "conf")
        await pod.until({"ivr": "RoundRobin"}, of="algorithms")
        await saved(tmp_path, lambda content: len(content["sets"]) == 1)


async def test_rights_to_secrets_withdrawn_over_a_restart(api, tmp_path):
    api.put(secret("esl", password="hunter2"))
    api.put(head("ivr", NOWHERE, policy=ESL))
    async with served(api, tmp_path):
        await saved(tmp_path, lambda content: content["sets"])
    api.fail("secrets", status=403)
    async with served(api, tmp_path, secrets=False) as pod:
        await eventually(lambda: pod.watch("uid-fs-0").state.reason == "PasswordAwaited")
        # a group that was never served has nothing to go on with
        api.put(head("conf", member("fs-9", "192.0.2.9", esl=True), policy=ESL, group_uid="conf"))
        await eventually(lambda: "uid-fs-9" in pod.balancer.watches)
        assert pod.watch("uid-fs-9").state.reason == "NoPassword"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "sets": 7}'])
async def test_a_snapshot_that_cannot_be_read_is_left_aside(api, tmp_path, text):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "sets.json").write_text(text)
    api.put(head("ivr", FS[0]))
    async with served(api, tmp_path) as pod:
        assert any("left aside" in message for message in pod.messages(logging.WARNING))
        await pod.until(names(0))


async def test_deletions_in_a_gap_are_seen_and_calls_go_on_meanwhile(api, tmp_path):
    for group, node in (("ivr", FS[0]), ("conf", FS[1]), ("third", FS[2])):
        api.put(head(group, node, group_uid=group))
    async with served(api, tmp_path) as pod:
        await pod.until(names(0, 1, 2))
        await api.watched("destinationsets")
        await api.stop()
        api.remove("destinationsets", "voice", "conf")
        api.compact()
        assert await pod.nodes() == names(0, 1, 2)
        await api.start()
        await pod.until(names(0, 2))
        restarts = 'switchtender_watch_restarts_total{reason="expired",watch="destinationsets"}'
        assert await pod.metric(restarts)
        assert await pod.metric('switchtender_watch_healthy{watch="destinationsets"}') == 1


@pytest.mark.parametrize("fault", ["forbidden", "gone", "errors", "half-open", "in-stream"])
async def test_whatever_the_api_server_does_what_is_in_force_stays(api, tmp_path, fault):
    api.put(head("ivr", FS[0]))
    async with served(api, tmp_path) as pod:
        await pod.until(names(0))
        await api.watched("destinationsets")
        if fault == "half-open":
            api.freeze()
        elif fault == "in-stream":
            api.in_stream_error(500)
        else:
            api.fail(status={"forbidden": 403, "gone": 404, "errors": 500}[fault])
            api.drop_connections()
        for _ in range(20):
            assert await pod.nodes() == names(0)
            await asyncio.sleep(0.01)
        assert await pod.readiness() == (200, None)
        api.clear_faults()
        api.drop_connections()
        api.put(head("ivr", FS[0], FS[1]))
        await pod.until(names(0, 1))


async def test_a_first_list_that_is_empty_is_doubted_when_there_was_something(api, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "_DOUBT", 3600.0)
    api.put(head("ivr", FS[0]))
    async with served(api, tmp_path):
        await saved(tmp_path, lambda content: content["sets"])
    api.remove("destinationsets", "voice", "ivr")
    async with served(api, tmp_path) as pod:
        await api.watched("destinationsets")
        await pod.until(names(0))
        api.put(head("conf", FS[1], group_uid="conf"))
        await pod.until(names(1))  # it is not empty any more, and so it is believed
    monkeypatch.setattr(cluster_module, "_DOUBT", 0.0)
    api.remove("destinationsets", "voice", "conf")
    async with served(api, tmp_path) as pod:
        await pod.until({})


# Services, peers, configuration


async def test_the_node_side_is_advertised_at_the_address_of_a_service(api, tmp_path):
    side = {"address": "127.0.0.83", "port": 0, "workerPorts": "0-0", "advertise": [{"service": "nodes", "port": 5070}]}
    async with served(api, tmp_path, wait=False, nodeSide=side) as pod:
        await eventually(lambda: any("Service" in text for text in pod.messages(logging.WARNING)))
        assert (await pod.readiness())[0] == 503
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "nodes", "namespace": OWN}}
        api.put({**service, "spec": {"clusterIP": "None"}})
        await eventually(lambda: any("headless" in text for text in pod.messages(logging.WARNING)))
        api.put({**service, "spec": {"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7", "fd00::7"]}})
        await eventually(lambda: pod.serving)
        assert pod.spec.node_side.advertise[0].host == "10.96.7.7"
        await saved(tmp_path, lambda content: content["services"])
    await api.stop()
    async with served(api, tmp_path, secrets=False, nodeSide=side) as pod:
        assert pod.spec.node_side.advertise[0].host == "10.96.7.7"


async def test_peers_are_found_behind_their_service(api, tmp_path):
    def slice_with(*addresses):
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "p", "namespace": OWN, "labels": {"kubernetes.io/service-name": "peers"}},
            "addressType": "IPv4",
            "ports": [{"name": "sip", "port": 5060}, {"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": False}} for address in addresses],
        }

    api.put(slice_with("127.0.0.84"))
    async with served(api, tmp_path, peers={"static": ["127.0.0.85:1"], "service": "peers"}) as pod:
        await eventually(lambda: pod.peers.addresses == ("127.0.0.85:1", "127.0.0.84:8080"))
        api.put(slice_with("127.0.0.86", "127.0.0.87"))
        await eventually(lambda: pod.peers.addresses == ("127.0.0.85:1", "127.0.0.86:8080", "127.0.0.87:8080"))
        api.remove("endpointslices", OWN, "p")
        await eventually(lambda: pod.peers.addresses == ("127.0.0.85:1",))


async def test_the_configuration_is_read_again_and_what_is_fixed_refused(api, tmp_path):
    api.put(head("ivr", FS[0]))
    file = tmp_path / "balancer.yaml"
    async with served(api, tmp_path) as pod:
        await pod.until(names(0))
        file.write_text(yaml.safe_dump(config(tmp_path / "state", workers=2)))
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: any("spec.workers" in text for text in pod.messages(logging.ERROR)))
        file.write_text(yaml.safe_dump(config(tmp_path / "state", groups={"namespaces": ["lab"]})))
        await pod.until({})
        [group] = (await pod.state())["groups"]
        assert "namespace" in group["rejected"]


async def test_a_bad_configuration_ends_the_start(api, tmp_path):
    with pytest.raises(DocumentErrors, match="POD_ADDRESS"):
        async with served(api, tmp_path, wait=False, listeners=[{"address": "$(POD_ADDRESS)"}]) as pod:
            await pod.task


# What it means for calls


async def chosen(pod):
    async with aiohttp.ClientSession() as session:
        http = next(record.http for record in pod.records if hasattr(record, "http"))
        async with session.post(f"http://{http}/api/v1/explain", json={"requestUri": "sip:1000@example.com"}) as answer:
            document = await answer.json()
    return None if document["choice"] is None else document["choice"]["name"]


async def test_many_pods_that_are_not_ready_are_more_likely_a_fault_of_ours(api, tmp_path):
    ready, not_ready = FS[:2], [{**node, "state": "NotReady"} for node in FS[2:]]
    api.put(head("ivr", *ready, *not_ready))
    async with served(api, tmp_path) as pod:
        await pod.until({**names(0, 1), "fs-2": ("down", "PodNotReady"), "fs-3": ("down", "PodNotReady")})
        assert {await chosen(pod) for _ in range(50)} == {"fs-0", "fs-1"}
        api.put(head("ivr", *({**node, "state": "NotReady"} for node in FS)))
        await pod.until({f"fs-{i}": ("down", "PodNotReady") for i in range(4)})
        assert await chosen(pod) is not None
        api.put(head("ivr", *({**node, "state": "Draining"} for node in FS)))
        await pod.until({f"fs-{i}": ("draining", "Draining") for i in range(4)})
        assert await chosen(pod) is None, "what is drained is never overridden"


async def test_it_stays_ready_while_it_stops(api, tmp_path):
    api.put(head("ivr", FS[0]))
    async with served(api, tmp_path) as pod:
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: "stopping" in pod.messages())
        assert await pod.readiness() == (200, None)
        api.put(head("ivr", FS[0], FS[1]))
        await pod.until(names(0, 1))


async def test_a_pod_in_two_groups_is_one_node(api, tmp_path):
    api.put(head("ivr", FS[0], policy={"match": {"priority": 5}}))
    api.put(head("conf", {**FS[0], "name": "other"}, group_uid="conf"))
    async with served(api, tmp_path) as pod:
        await pod.until({"fs-0": READY, "other": READY})
        assert list(pod.balancer.watches) == ["uid-fs-0"]
        assert [group["name"] for group in (await pod.state())["groups"]] == ["ivr", "conf"]
