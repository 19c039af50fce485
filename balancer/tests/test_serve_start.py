"""Starting: what stands in the way is said in one line with its field, and nothing is left behind."""

import asyncio
import contextlib
import gc
import json
import logging
import socket
import sys

import pytest
from click.testing import CliRunner
from serve_stand import config_of, group_of, served, write

from switchtender.cli import main
from switchtender.control import balancer
from switchtender.control.balancer import Balancer
from switchtender.http.listen import HttpBindError
from switchtender.serve.lifetime import ServeError
from switchtender.serve.server import Server

HERE = "127.0.0.85"
FS1 = group_of("ivr", {"name": "fs1", "sip": "sip:127.0.0.86:5060"})


@pytest.fixture
def serve(tmp_path):
    """The command with this BalancerConfig, within this process; gives its one line."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def serve(*documents):
        file = write(tmp_path / "switchtender.yaml", *documents)
        result = CliRunner().invoke(main, ["serve", "--config", str(file)], prog_name="switchtender")
        assert result.exit_code == 2, result.output
        assert isinstance(result.exception, SystemExit)
        lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]
        assert result.stdout == ""
        [line] = lines
        return line

    yield serve
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def config(tmp_path):
    return lambda **spec: config_of(tmp_path / "state", address=HERE, **spec)


@pytest.fixture
def taken():
    """Binds a socket that stands in the way; gives its port."""
    with contextlib.ExitStack() as stack:

        def taken(kind):
            held = stack.enter_context(socket.socket(socket.AF_INET, kind))
            held.bind((HERE, 0))
            if kind is socket.SOCK_STREAM:
                held.listen()
            return held.getsockname()[1]

        yield taken


def test_a_listener_that_is_taken(serve, config, taken):
    port = taken(socket.SOCK_DGRAM)
    line = serve(config(listeners=[{"name": "public", "address": HERE, "port": port}]), FS1)
    assert line.startswith(
        f"switchtender: spec.listeners, listener public: cannot bind {HERE} port {port}: Address already in use; "
    )
    assert "choose another" in line


def test_an_address_that_is_not_ours(serve, config):
    line = serve(config(listeners=[{"name": "public", "address": "192.0.2.1", "port": 5060}]), FS1)
    assert "spec.listeners, listener public: cannot bind 192.0.2.1 port 5060" in line
    assert "this host has no such address" in line


def test_a_node_side_that_is_taken(serve, config, taken):
    port = taken(socket.SOCK_DGRAM)
    line = serve(config(nodeSide={"address": HERE, "port": port, "workerPorts": "0-0"}), FS1)
    assert line.startswith(f"switchtender: spec.nodeSide: cannot bind {HERE} port {port}: ")


def test_worker_ports_that_are_all_taken(serve, config, taken):
    port = taken(socket.SOCK_DGRAM)
    line = serve(config(nodeSide={"address": HERE, "port": 0, "workerPorts": f"{port}-{port}"}), FS1)
    assert line.startswith(f"switchtender: spec.nodeSide.workerPorts: cannot bind {HERE} port {port}: ")


def test_an_http_port_that_is_taken(serve, config, taken):
    port = taken(socket.SOCK_STREAM)
    line = serve(config(http={"address": HERE, "port": port}), FS1)
    assert line.startswith(f"switchtender: spec.http: cannot bind {HERE} port {port}: Address already in use; ")


def test_a_token_key_file_that_is_none(serve, config, tmp_path):
    (tmp_path / "state").mkdir()
    for text in (b"nonsense", b"\xff\xfe\x80", b"[" * 5000):
        (tmp_path / "state" / "keys.json").write_bytes(text)
        line = serve(config(), FS1)
        assert str(tmp_path / "state" / "keys.json") in line
        assert "move it away" in line
        assert (tmp_path / "state" / "keys.json").read_bytes() == text


def test_a_file_with_an_error_in_it(serve, config):
    line = serve(config(workers="many"), FS1)
    assert "spec.workers" in line
    assert "many" in line


def test_what_the_packet_core_refuses_is_said_with_its_place(serve, config, monkeypatch):
    monkeypatch.setattr(balancer, "snapshot", lambda *_, **__: {"format": 99})
    line = serve(config(), FS1)
    assert line.startswith("switchtender: the packet core refuses the configuration: at /format of what it was given: ")


def test_a_file_that_is_not_there(tmp_path):
    result = CliRunner().invoke(main, ["serve", "--config", str(tmp_path / "nowhere.yaml")])
    assert result.exit_code == 2
    assert "cannot be read: No such file or directory" in result.stderr


async def test_a_second_process_on_the_same_state_dir_is_refused_and_the_first_goes_on(tmp_path, config):
    file = write(tmp_path / "switchtender.yaml", config(), FS1)
    async with served(file) as serving:
        arguments = [sys.executable, "-m", "switchtender", "serve", "--config", str(file)]
        second = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.PIPE)
        _, said = await second.communicate()
        assert second.returncode == 2
        place = f"switchtender: spec.stateDir: {tmp_path / 'state'} is in use by another process; "
        assert said.decode().startswith(place)
        assert len(said.splitlines()) == 1
        assert (await serving.get("/readyz"))["status"] == "ready"


async def test_a_state_dir_that_cannot_be_written_costs_one_warning_for_keys_and_one_for_the_token(tmp_path, config):
    (tmp_path / "state").write_text("a file")
    async with served(write(tmp_path / "c.yaml", config(), FS1)) as serving:
        keys, token = serving.messages(logging.WARNING)
        assert keys.startswith("stateDir cannot be used")
        assert token.startswith("nobody may use the admin verbs")


async def test_what_was_started_is_undone_when_a_later_step_fails(tmp_path, config, taken):
    """The same process can serve the corrected file: no socket, lock or thread outlives the error."""
    port = taken(socket.SOCK_STREAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HERE, 0))
        sip = probe.getsockname()[1]
    listeners = [{"name": "public", "address": HERE, "port": sip}]
    file = tmp_path / "switchtender.yaml"
    write(file, config(listeners=listeners, http={"address": HERE, "port": port}), FS1)
    said = ""
    try:
        await Server(file).run()
    except HttpBindError as error:
        said = str(error)
    assert said == f"HTTP: cannot bind {HERE} port {port}: Address already in use"
    gc.collect()  # the error's frames held the core, which is closed when nobody has it any more
    write(file, config(listeners=listeners), FS1)
    async with served(file) as serving:
        assert serving.listener == (HERE, sip)


async def test_a_failure_in_the_background_ends_the_process_and_is_logged(tmp_path, config, monkeypatch, caplog):
    async def fails(_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Balancer, "run", fails)
    with pytest.raises(ServeError, match="a fault of ours"):
        await Server(write(tmp_path / "c.yaml", config(), FS1)).run()
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.exc_info[1].args == ("a fault of ours",)


def test_serve_has_status_1_when_it_fails_while_serving(tmp_path, config, monkeypatch):
    async def fails(_):
        raise RuntimeError("a fault of ours")

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(Balancer, "run", fails)
    file = write(tmp_path / "c.yaml", config(), FS1)
    result = CliRunner().invoke(main, ["serve", "--config", str(file)])
    root.handlers[:] = handlers
    root.setLevel(level)
    assert result.exit_code == 1
    last = [json.loads(line) for line in result.stderr.splitlines()][-1]
    assert last["level"] == "critical"
    assert "a fault of ours" in last["exception"]


async def test_workers_that_end_by_themselves_end_the_process(tmp_path, config, monkeypatch):
    monkeypatch.setattr("switchtender.serve.lifetime._LIVENESS", 0.01)
    run = Balancer.run

    async def run_without_workers(balancer):
        balancer.core.stop(0.0)
        await run(balancer)

    monkeypatch.setattr(Balancer, "run", run_without_workers)
    with pytest.raises(ServeError, match="every packet worker has ended"):
        async with asyncio.timeout(60):
            await Server(write(tmp_path / "c.yaml", config(), FS1)).run()
