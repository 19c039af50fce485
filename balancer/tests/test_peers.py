"""R, the balancers that share the nodes: who answers counts, once, and for five seconds."""

import asyncio
import contextlib
import json
import logging
import socket

import pytest
from aiohttp import web

from switchtender.control import peers
from switchtender.control.peers import ALIVE, Peers


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(peers, "INTERVAL", 0.005)


@contextlib.asynccontextmanager
async def replica(answer, address="127.0.0.1"):
    """Something that answers at /healthz; gives its host:port and the number of times it was asked."""
    asked = []

    async def healthz(request):
        asked.append(request)
        text = answer() if callable(answer) else answer
        return text if isinstance(text, web.Response) else web.Response(text=text, content_type="application/json")

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, address, 0).start()
    host, port, *_ = runner.addresses[0]
    try:
        yield (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), asked
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def asking(*addresses, clock=None):
    found = Peers(addresses, "me", clock or Clock())
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def said(instance):
    return json.dumps({"status": "ok", "instance": instance})


async def test_alone_there_is_one():
    found = Peers((), "me", Clock())
    await found.run()
    assert found.replicas() == 1


async def test_each_peer_that_answers_counts_once():
    async with contextlib.AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(replica(said("a")))
        same, asked = await stack.enter_async_context(replica(said("a")))
        second, _ = await stack.enter_async_context(replica(said("b")))
        found = await stack.enter_async_context(asking(first, same, second))
        await eventually(lambda: found.replicas() == 3 and len(asked) > 2)
        assert found.replicas() == 3


async def test_a_peer_at_an_ipv6_address_counts():
    async with replica(said("a"), "::1") as (address, _), asking(address) as found:
        assert address.startswith("[::1]:")
        await eventually(lambda: found.replicas() == 2)


async def test_ourselves_among_the_peers_do_not_count(caplog):
    caplog.set_level(logging.INFO)
    async with replica(said("me")) as (address, asked), asking(address) as found:
        await eventually(lambda: len(asked) > 2)
        assert found.replicas() == 1
    assert [record.message for record in caplog.records if record.name == peers.__name__] == [
        "a peer is this process itself"
    ]


async def test_a_peer_that_falls_silent_counts_for_five_seconds_and_its_loss_is_logged_once(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    async with contextlib.AsyncExitStack() as stack:
        going = await stack.enter_async_context(contextlib.AsyncExitStack())
        address, _ = await going.enter_async_context(replica(said("a")))
        found = await stack.enter_async_context(asking(address, clock=clock))
        await eventually(lambda: found.replicas() == 2)
        await going.aclose()
        clock.now += ALIVE
        assert found.replicas() == 2
        clock.now += 0.1
        assert found.replicas() == 1
        await eventually(lambda: "a peer no longer answers" in caplog.text)
        await asyncio.sleep(0.05)
    assert caplog.text.count("a peer no longer answers") == 1
    assert caplog.text.count("a peer answers") == 1


async def test_a_peer_that_restarts_is_the_same_peer():
    names = iter(["a", "a", "b"])
    async with replica(lambda: said(next(names, "b"))) as (address, asked), asking(address) as found:
        await eventually(lambda: len(asked) > 4)
        assert found.replicas() == 2


@pytest.mark.parametrize(
    "answer",
    [
        "no json",
        "[]",
        "{}",
        "null",
        "[" * 4000,
        '{"instance": "x' + " " * 5000 + '"}',
        lambda: web.Response(body=b"\xff\xfe\xfd", content_type="application/json"),
        lambda: web.Response(text=said("a"), status=500),
        lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
    ],
    ids=["text", "list", "empty", "null", "deep", "long", "bytes", "500", "redirect"],
)
async def test_what_is_no_balancer_does_not_count_and_ends_nothing(answer):
    async with contextlib.AsyncExitStack() as stack:
        stranger, asked = await stack.enter_async_context(replica(answer))
        peer, _ = await stack.enter_async_context(replica(said("a")))
        found = await stack.enter_async_context(asking(stranger, peer))
        await eventually(lambda: len(asked) > 2 and found.replicas() > 1)
        assert found.replicas() == 2


async def test_a_dead_peer_does_not_slow_the_others_down():
    async with replica(said("a")) as (peer, asked):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host, port = silent.getsockname()
            async with asking(f"{host}:{port}", peer) as found:
                await eventually(lambda: len(asked) > 10)
                assert found.replicas() == 2


async def test_others_may_be_named_while_it_asks():
    async with replica(said("a")) as (a, _), replica(said("b")) as (b, b_asked):
        found = Peers((), "me", Clock(), changing=True)
        task = asyncio.create_task(found.run())
        try:
            found.ask((a,))
            await eventually(lambda: found.replicas() == 2)
            found.ask((a, b))
            await eventually(lambda: found.replicas() == 3)
            found.ask((b,))
            await eventually(lambda: found.replicas() == 2)
            found.ask(())
            await eventually(lambda: found.replicas() == 1)
            asked = len(b_asked)
            for _ in range(10):
                await asyncio.sleep(0.005)
            assert len(b_asked) <= asked + 1, "nobody is asked who is not named"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
