"""Reload while serving: by SIGHUP and by a change of the file, whole or not at all."""

import asyncio
import os
import signal

import pytest
from serve_stand import config_of, eventually, group_of, served, write

from switchtender.control import balancer

FS1 = {"name": "fs1", "sip": "sip:127.0.0.83:5060"}
FS2 = {"name": "fs2", "sip": "sip:127.0.0.84:5060"}


@pytest.fixture
def config(tmp_path):
    return config_of(tmp_path / "state")


@pytest.fixture
def file(tmp_path, config):
    return write(tmp_path / "switchtender.yaml", config, group_of("ivr", FS1))


async def names(serving):
    return set(await serving.states())


async def refused(serving, *said):
    """Wait for the refusal; every text stands in one line of it."""
    await eventually(lambda: serving.server.reloads.failures)
    [line] = [message for message in serving.messages() if message.startswith("configuration refused")]
    assert all(text in line for text in said), line
    assert serving.server.reloads.last_ok is False


async def test_a_changed_file_is_taken_up(file, config):
    async with served(file) as serving:
        assert await names(serving) == {"fs1"}
        write(file, config, group_of("ivr", FS1, FS2))
        await eventually(lambda: serving.server.reloads.successes == 2)
        assert await names(serving) == {"fs1", "fs2"}
        assert serving.messages().count("configuration in force") == 1


async def test_sighup_reads_the_file_again_though_it_did_not_change(file):
    async with served(file) as serving:
        serving.signal(signal.SIGHUP)
        await eventually(lambda: serving.server.reloads.successes == 2)
        serving.signal(signal.SIGHUP)
        await eventually(lambda: serving.server.reloads.successes == 3)
        assert await names(serving) == {"fs1"}


async def test_sighup_reads_a_password_file_again(file, config, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("first\n")
    member = {**FS1, "load": "fs://127.0.0.83:9"}
    write(file, config, group_of("ivr", member, esl={"passwordFrom": {"file": str(secret)}}))
    async with served(file) as serving:
        secret.write_text("")
        serving.signal(signal.SIGHUP)
        await refused(serving, "spec.esl.passwordFrom.file", "empty")
        assert await names(serving) == {"fs1"}


async def test_a_bad_file_is_refused_with_its_place_and_the_old_configuration_goes_on(file, config):
    async with served(file) as serving:
        write(file, config, group_of("ivr", FS1, FS2, surprise=1))
        await refused(serving, f"{file}:", "BalancerGroup", "spec.surprise")
        assert await names(serving) == {"fs1"}
        assert (await serving.get("/readyz"))["status"] == "ready"
        write(file, config, group_of("ivr", FS2))
        await eventually(lambda: serving.server.reloads.successes == 2)
        assert await names(serving) == {"fs2"}
        assert serving.server.reloads.last_ok is True


@pytest.mark.parametrize("text", ["", "{", "kind: Nonsense\n", "\x00", "a: &a [*a]\n"])
async def test_what_is_no_configuration_at_all_is_refused(file, text):
    async with served(file) as serving:
        file.write_text(text)
        await eventually(lambda: serving.server.reloads.failures)
        assert await names(serving) == {"fs1"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"listeners": [{"name": "public", "address": "127.0.0.82", "port": 0, "nat": True}]}, "spec.listeners"),
        ({"nodeSide": {"address": "127.0.0.82", "port": 0, "workerPorts": "6000-6010"}}, "spec.nodeSide"),
        ({"workers": 2}, "spec.workers"),
        ({"limits": {"maxTransactions": 7}}, "spec.limits"),
        ({"peers": {"static": ["127.0.0.1:9"]}}, "spec.peers"),
        ({"stateDir": "/nowhere"}, "spec.stateDir"),
        ({"http": {"address": "127.0.0.82", "port": 1}}, "spec.http"),
    ],
)
async def test_a_fixed_field_is_refused_by_its_name_and_nothing_is_taken_up(file, config, change, field):
    async with served(file) as serving:
        changed = {**config, "spec": {**config["spec"], **change}}
        write(file, changed, group_of("ivr", FS2))
        await refused(serving, field, "cannot change without a restart")
        assert await names(serving) == {"fs1"}


async def test_two_fixed_fields_are_both_named(file, config):
    async with served(file) as serving:
        write(file, {**config, "spec": {**config["spec"], "workers": 2, "limits": {"maxTransactions": 7}}})
        await refused(serving, "spec.workers, spec.limits cannot change")


async def test_what_the_packet_core_refuses_is_not_taken_up(file, config, monkeypatch):
    async with served(file) as serving:
        monkeypatch.setattr(balancer, "snapshot", lambda *_, **__: {"format": 99})
        write(file, config, group_of("ivr", FS2))
        await refused(serving, "the packet core says of its /format")
        assert await names(serving) == {"fs1"}


async def test_a_file_that_vanishes_changes_nothing_until_it_is_back(file, config):
    async with served(file) as serving:
        file.unlink()
        await asyncio.sleep(0.2)
        assert (serving.server.reloads.successes, serving.server.reloads.failures) == (1, 0)
        serving.signal(signal.SIGHUP)
        await refused(serving, str(file), "cannot be read")
        write(file, config, group_of("ivr", FS2))
        await eventually(lambda: serving.server.reloads.successes == 2)
        assert await names(serving) == {"fs2"}


async def test_a_swapped_symbolic_link_is_a_change(tmp_path, file, config):
    """As a Kubernetes volume does it: the link to the data is replaced, the file's own name never changes."""
    first, second = tmp_path / "..1", tmp_path / "..2"
    first.mkdir()
    second.mkdir()
    write(first / "switchtender.yaml", config, group_of("ivr", FS1))
    write(second / "switchtender.yaml", config, group_of("ivr", FS2))
    data, link = tmp_path / "..data", tmp_path / "linked.yaml"
    data.symlink_to(first)
    link.symlink_to(data / "switchtender.yaml")
    async with served(link) as serving:
        fresh = tmp_path / "..new"
        fresh.symlink_to(second)
        fresh.replace(data)
        await eventually(lambda: serving.server.reloads.successes == 2)
        assert await names(serving) == {"fs2"}


async def test_the_deadline_of_the_stop_is_the_one_in_force(file, config):
    async with served(file) as serving:
        write(file, {**config, "spec": {**config["spec"], "stop": {"deadline": "0s"}}}, group_of("ivr", FS1))
        await eventually(lambda: serving.server.reloads.successes == 2)
        serving.signal(signal.SIGTERM)
        await eventually(serving.task.done)
        [stopping] = [record for record in serving.records if record.getMessage() == "stopping"]
        assert stopping.deadline == 0.0


async def test_a_reload_while_stopping_is_taken_up_too(file, config):
    async with served(file) as serving:
        serving.signal(signal.SIGTERM)
        await eventually(lambda: "stopping" in serving.messages())
        write(file, config, group_of("ivr", FS1, FS2))
        await eventually(lambda: serving.server.reloads.successes == 2)
        assert await names(serving) == {"fs1", "fs2"}


async def test_many_changes_at_once_end_in_the_last_one(file, config):
    async with served(file) as serving:
        for number in range(5, 20):
            write(file, config, group_of("ivr", {"name": f"fs{number}", "sip": f"sip:127.0.0.84:{5000 + number}"}))
            os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(60):
            while await names(serving) != {"fs19"}:
                await asyncio.sleep(0.02)
        assert serving.server.reloads.failures == 0
