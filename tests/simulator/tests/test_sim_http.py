"""The control API over real loopback sockets in virtual time."""

from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from sim_bench import request, statuses
from sim_warp import Phone, connected, running, virtual

from switchtender_simulator.http import ROUTES, make_app


class Api:
    def __init__(self, session: ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def ask(self, method: str, path: str, body=None, status: int = 200):
        async with self.session.request(method, self.url + path, json=body) as response:
            assert response.status == status, await response.text()
            return await response.json() if response.content_type == "application/json" else await response.text()


@asynccontextmanager
async def controlled(**values):
    async with running(**values) as node, running(name="fs3") as other:
        runner = web.AppRunner(make_app({"fs2": node, "fs3": other}), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with ClientSession() as session:
                yield node, Api(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()


@virtual
async def test_the_index_lists_every_route_and_each_one_exists() -> None:
    async with controlled() as (_, api):
        assert (await api.ask("GET", "/"))["routes"] == ROUTES
        for route in ROUTES:
            method, path = route.split(" ")
            async with api.session.request(method, api.url + path.format(name="fs3"), json={}) as response:
                assert response.status in {200, 409}, route


@virtual
async def test_nodes_show_phase_counters_settings_and_faults() -> None:
    async with controlled(max_sessions=20) as (node, api):
        first, second = await api.ask("GET", "/nodes")
        assert (first["name"], second["name"]) == ("fs2", "fs3")
        assert (first["phase"], first["ready"], first["max_sessions"]) == ("running", True, 20)
        assert first["core_uuid"] == node.core_uuid
        assert set(first["counters"]) >= {
            "requests", "dropped", "retransmitted", "invites", "answered", "refused", "cancels", "byes_received",
            "byes_sent",
        }  # fmt: skip
        assert await api.ask("GET", "/nodes/fs2") == {**first, "uptime": (await api.ask("GET", "/nodes/fs2"))["uptime"]}
        assert "no node 'x'" in await api.ask("GET", "/nodes/x", status=404)


@virtual
async def test_refusals_are_told_apart() -> None:
    async with controlled(max_sessions=1) as (node, api):
        with Phone(node) as caller:
            for number in (1, 2):
                assert statuses(await caller.say(request("INVITE", number=number))) == [503]
            await caller.say(request("INVITE", "486", number=3))
        shown = await api.ask("GET", "/nodes/fs2")
        assert (shown["counters"]["refused"], shown["zombies"]) == ({"boundary": 1, "full": 2}, 1)
        await api.ask("PATCH", "/nodes/fs2", {"max_sessions": 9})
        with Phone(node) as caller:
            await caller.say(request("INVITE", "486", number=4))
        assert (await api.ask("GET", "/nodes/fs2"))["counters"]["failed"] == {"486": 1}


@virtual
async def test_settings_change_live_all_or_none() -> None:
    async with controlled() as (node, api):
        shown = await api.ask(
            "PATCH",
            "/nodes/fs2",
            {
                "max-sessions": 50,
                "sessions_per_second": 9,
                "background_sessions": 3,
                "idle_cpu": 12.5,
                "zombie_seconds": 1,
            },
        )
        assert (shown["max_sessions"], shown["sessions"], shown["settings"]["sessions_per_second"]) == (50, 3, 9)
        assert (node.ledger.sessions_per_second, node.ledger.idle_cpu, node.ledger.zombie_seconds) == (9, 12.5, 1)
        for wrong in (
            {"max_sessions": 7, "bogus": 1},
            {"max_sessions": 7, "name": "x"},
            {"max_sessions": 0},
            {"max_sessions": "many"},
            {"answer_delay": -1},
            {"bye_from": "nobody"},
            {"elegant_term": "perhaps"},
        ):
            assert "error" in await api.ask("PATCH", "/nodes/fs2", wrong, status=400)
        assert node.settings.max_sessions == 50
        await api.ask("PATCH", "/nodes", {"answer_delay": 2})
        assert {seen["settings"]["answer_delay"] for seen in await api.ask("GET", "/nodes")} == {2.0}
        assert "JSON object" in (await api.ask("PATCH", "/nodes/fs2", [1], status=400))["error"]


@virtual
async def test_faults_are_thrown_and_cleared() -> None:
    async with controlled() as (_, api):
        shown = await api.ask("PATCH", "/nodes/fs2/faults", {"sip_silent": True, "esl_drip": 0.5})
        assert (shown["faults"]["sip_silent"], shown["faults"]["esl_drip"]) == (True, 0.5)
        assert "error" in await api.ask("PATCH", "/nodes/fs2/faults", {"sip_silent": 3}, status=400)
        assert not any((await api.ask("DELETE", "/nodes/fs2/faults"))["faults"].values())


@virtual
async def test_fsctl_over_http() -> None:
    async with controlled(background_sessions=1) as (node, api):
        assert (await api.ask("POST", "/nodes/fs2/pause?direction=inbound"))["paused_inbound"]
        assert not (await api.ask("POST", "/nodes/fs2/resume"))["paused_inbound"]
        assert not (await api.ask("POST", "/nodes/fs2/pause"))["ready"]
        await api.ask("POST", "/nodes/fs2/resume")
        assert "sideways" in (await api.ask("POST", "/nodes/fs2/pause?direction=sideways", status=400))["error"]
        assert (await api.ask("POST", "/nodes/fs2/standby?on=1"))["standby"]
        assert not (await api.ask("POST", "/nodes/fs2/standby?on=0"))["standby"]
        assert (await api.ask("POST", "/nodes/fs2/shutdown?mode=elegant"))["shutdown_requested"] == "elegant"
        assert (await api.ask("POST", "/nodes/fs2/shutdown?mode=cancel"))["shutdown_requested"] is None
        assert "never" in (await api.ask("POST", "/nodes/fs2/shutdown?mode=never", status=400))["error"]
        assert (await api.ask("POST", "/nodes/fs2/shutdown"))["phase"] == "stopping"
        await node.stopped.wait()


@virtual
async def test_lives_over_http() -> None:
    async with controlled() as (node, api):
        assert "fs2 is running" in (await api.ask("POST", "/nodes/fs2/start", status=409))["error"]
        assert (await api.ask("POST", "/nodes/fs2/crash"))["phase"] == "stopped"
        assert (await api.ask("POST", "/nodes/fs2/start"))["phase"] == "deaf"
        assert (await api.ask("POST", "/nodes/fs2/crash"))["phase"] == "stopped"
        before = node.core_uuid
        shown = await api.ask("POST", "/nodes/fs2/start?wait=1")
        assert (shown["phase"], shown["lives"]) == ("running", 3)
        assert shown["core_uuid"] != before
        assert (await api.ask("POST", "/nodes/fs2/term"))["phase"] == "stopping"
        await node.stopped.wait()
        assert (await api.ask("GET", "/nodes/fs2"))["phase"] == "stopped"


@virtual
async def test_bytes_on_demand() -> None:
    async with controlled() as (node, api), connected(node, b"event plain HEARTBEAT") as client:
        await api.ask("POST", "/nodes/fs2/heartbeat")
        assert b"Event-Name: HEARTBEAT" in await client.hear()
        await api.ask("POST", "/nodes/fs2/garbage?size=33")
        assert len(await client.hear()) == 33
        await api.ask("POST", "/nodes/fs2/notice-mid-frame")
        assert (await client.hear()).endswith(b"lost events\n")
        async with connected(node, b"nolog") as second:
            await api.ask("POST", "/nodes/fs2/esl-close")
            assert await second.hear() == b""
            assert second.reader.at_eof()
        async with connected(node, b"nolog") as third:
            await api.ask("POST", "/nodes/fs2/esl-close?reset=1")
            with pytest.raises(ConnectionResetError):
                await third.hear()


@pytest.mark.parametrize("path", ["/nodes/fs2/dance", "/nodes/nobody/crash"])
@virtual
async def test_what_does_not_exist_is_404(path: str) -> None:
    async with controlled() as (_, api):
        await api.ask("POST", path, status=404)
