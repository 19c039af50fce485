"""No password and no key ever leaves the process: not in logs at debug, not over HTTP, not in an error."""

import asyncio
import base64
import json
import os
import signal
import sys
from urllib.parse import quote

import aiohttp
import pytest
from click.testing import CliRunner
from serve_stand import Node, config_of, group_of, simulated, write

from switchtender.cli import main

HERE = "127.0.0.230"
RIGHT = "right-in-url-5f1c"
FROM_FILE = "from-file-77ab"
WRONG = "wr@ng: in/url-9d2e"
FROM_ENV = "wrong-from-env-31f0"
ECHOED = "echoed-back-c44d"
MISPLACED = "misplaced-b85a"
SECRETS = (RIGHT, FROM_FILE, WRONG, FROM_ENV, ECHOED, MISPLACED)
USER = "monitor@default"

NODES = [
    Node("fs1", 231, {"password": RIGHT}),
    Node("fs2", 232, {"password": FROM_FILE}),
    Node("fs3", 233, {}),
    Node("fs4", 234, {}),
]


def forms(secret):
    """The ways in which it might be written."""
    raw = secret.encode()
    return {
        secret,
        quote(secret, safe=""),
        quote(secret),
        base64.b64encode(raw).decode(),
        repr(secret)[1:-1],
        raw.hex(),
    }


async def echo(reader, writer):
    """A node that says everything back, as an error and then as no frame at all."""
    writer.write(b"Content-Type: auth/request\n\n")
    said = (await reader.readuntil(b"\n\n")).strip().decode()
    writer.write(f"Content-Type: command/reply\nReply-Text: -ERR {said} is what you said\n\n".encode())
    writer.write(f"{said}\n\n{said}: {said}\nContent-Length: {said}\n\n".encode())
    await writer.drain()
    writer.close()


class Process:
    """`switchtender` as a process, with all that it ever said."""

    def __init__(self, *arguments, **environ):
        self.said = b""
        self._arguments = [sys.executable, "-m", "switchtender", *map(str, arguments)]
        self._environ = {**os.environ, **environ}

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self._arguments, env=self._environ, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def _read(self):
        while piece := await self.process.stdout.read(65536):
            self.said += piece

    async def says(self, text, count=1):
        async with asyncio.timeout(60):
            while self.said.count(text.encode()) < count:
                assert self.process.returncode is None, self.said
                await asyncio.sleep(0.02)

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        await self._reading
        await self.process.wait()


def said_by(*arguments, **environ):
    """What a command says, within this process."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environ)
    assert result.exit_code in {0, 1}, result.output
    return result.output.encode()


async def fetched(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.read()


def documents(tmp_path, echo_port, **changes):
    def member(name, host, credentials="", port=8021):
        return {"name": name, "sip": f"sip:127.0.0.{host}", "load": f"fs://{credentials}127.0.0.{host}:{port}"}

    first = group_of(
        "ivr",
        member("fs1", 231, f":{RIGHT}@"),
        member("fs2", 232),
        member("fs3", 233, f"{quote(USER)}:{quote(WRONG, safe='')}@"),
        member("fs5", 235, f":{ECHOED}@", echo_port),
        esl={"passwordFrom": {"file": str(tmp_path / "password")}},
        **changes,
    )
    second = group_of("conf", member("fs4", 234), esl={"passwordFrom": {"env": "ESL_SECRET"}})
    config = config_of(tmp_path / "state", address=HERE, stop={"deadline": "0s"}, http={"address": HERE, "port": 18110})
    return config, first, second


def broken(tmp_path, echo_port):
    """Passwords where none belongs: in other fields, in malformed URLs, as names of variables and files."""
    for load in (f"fs://:{MISPLACED}@@127.0.0.231", f"fs://:{MISPLACED}", f"sip:{MISPLACED}@127.0.0.231", MISPLACED):
        _, first, _ = document = documents(tmp_path, echo_port)
        first["spec"]["members"]["static"][0]["load"] = load
        yield document
    yield documents(tmp_path, echo_port, **{f"fs://:{MISPLACED}@127.0.0.231": 1})
    yield documents(tmp_path, echo_port, password=MISPLACED)
    config, first, second = documents(tmp_path, echo_port)
    second["spec"]["esl"] = {"password": MISPLACED, "passwordFrom": {"env": "NOT_SET"}}
    yield config, first, second


@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_password_and_no_key_is_ever_shown(tmp_path, form):
    (tmp_path / "password").write_text(FROM_FILE + "\n")
    environ = {"ESL_SECRET": FROM_ENV, "PYTHONASYNCIODEBUG": "1"}
    file = tmp_path / "switchtender.yaml"
    server = await asyncio.start_server(echo, "127.0.0.235", 0)
    port = server.sockets[0].getsockname()[1]
    heard = b""
    with simulated(NODES, tmp_path, "--heartbeat-interval", "1"):
        write(file, *documents(tmp_path, port))
        async with Process(
            "serve", "--config", file, "--log-level", "debug", "--log-format", form, **environ
        ) as serving:
            await serving.says("node is ready: Reporting", count=2)
            await serving.says("AuthenticationFailed", count=3)
            url = f"http://{HERE}:18110"
            for path in ("/metrics", "/api/v1/nodes", "/api/v1/groups", "/healthz", "/nowhere"):
                heard += await fetched(url + path)
            heard += await asyncio.to_thread(
                said_by, "explain", "--url", url, "--request-uri", "sip:1@example.com", "-o", "json"
            )
            heard += await asyncio.to_thread(said_by, "nodes", "--url", url)
            for number, bad in enumerate(broken(tmp_path, port), start=1):
                write(file, *bad)
                await serving.says("configuration refused", count=number)
                heard += said_by("check", file, **environ)
                heard += said_by("check", file, "-o", "json", **environ)
            for path in ("/api/v1/events?limit=1000", "/api/v1/balancer"):
                heard += await fetched(url + path)
    server.close()
    assert b"switchtender_node_state" in heard
    assert heard.count(b'"configuration refused: ') >= number
    assert b'"AuthenticationFailed"' in heard
    assert serving.process.returncode == 0
    keys = [key["secret"] for key in json.loads((tmp_path / "state" / "keys.json").read_text())["keys"]]
    everything = (heard + serving.said).decode()
    for secret in (*SECRETS, *keys):
        for written in forms(secret):
            assert written not in everything, everything[max(0, everything.find(written) - 200) :][:400]
