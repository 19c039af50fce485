"""The Event Socket driver against the FreeSWITCH simulator: real sockets, the whole dialogue, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from esl_fakes import World, in_virtual_time

from switchtender.drivers.esl.wire import Credentials
from switchtender.drivers.reports import Event, Link, Readiness, Report, Shutdown
from switchtender_simulator.node import Node
from switchtender_simulator.settings import NodeSettings, make_node


class Simulated(World):
    """A driver on a simulated node."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        quick = {"name": "fs1", "sip": "127.0.0.1:0", "esl": "127.0.0.1:0", "heartbeat_interval": 1.0}
        self.settings: NodeSettings = make_node(quick | settings)
        self.node: Node

    @contextlib.asynccontextmanager
    async def watched(self, credentials: Credentials | None = None, timing: Any = None) -> AsyncIterator[Simulated]:
        self.node = Node(self.settings)
        await self.node.start(at_once=True)
        self.port = int(self.node.esl_host_port.rpartition(":")[2])
        self.driver = asyncio.ensure_future(self.new_driver(credentials, timing).run())
        try:
            yield self
        finally:
            self.driver.cancel()
            await asyncio.wait([self.driver])
            await self.node.close()

    async def report(self, source: str, count: int = 1) -> Report:
        found = await self.until(lambda event: isinstance(event, Report) and event.source == source, count=count)
        assert isinstance(found, Report)
        return found

    async def after(self, kind: type[Event], **fields: object) -> Event:
        """The next event from now on that has these fields."""
        self.events.clear()
        return await self.until(
            lambda event: (
                isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
            )
        )


def test_heartbeats_and_polls_agree() -> None:
    async def test() -> None:
        async with Simulated(max_sessions=40, sessions_per_second=20, background_sessions=7).watched() as world:
            poll, beat = await world.report("poll", 3), await world.report("heartbeat", 2)
        assert (poll.sessions, poll.max_sessions) == (beat.sessions, beat.max_sessions) == (7, 40)
        assert poll.sessions_per_second_limit == 20
        assert beat.core_uuid == world.node.core_uuid
        assert beat.stamp is not None
        assert poll.uptime_ms is not None

    in_virtual_time(test())


def test_pause_and_shutdown_requests_are_seen_and_go_away() -> None:
    async def test() -> None:
        async with Simulated(background_sessions=1).watched() as world:
            await world.report("poll")
            for command, fields in [
                ("pause inbound", {"ready": True, "paused_inbound": True}),
                ("resume inbound", {"ready": True, "paused_inbound": False}),
                ("pause", {"ready": False, "paused_inbound": True}),
                ("resume", {"ready": True, "paused_inbound": False}),
            ]:
                await _fsctl(world.port, command)
                await world.after(Readiness, **fields)
            world.node.request_shutdown("elegant")
            await world.after(Shutdown, requested=True)
            await world.after(Readiness, shutdown_requested=True)
            world.node.cancel_shutdown()
            await world.after(Readiness, shutdown_requested=False)

    in_virtual_time(test())


async def _fsctl(port: int, command: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"auth ClueCon\n\napi fsctl {command}\n\n".encode())
    await reader.readuntil(b"+OK\n")
    writer.close()
    await writer.wait_closed()


def test_orderly_end_and_new_life_of_a_node() -> None:
    async def test() -> None:
        async with Simulated(esl="127.0.0.1:0").watched() as world:
            first = await world.report("heartbeat")
            world.node.terminate()
            await world.after(Shutdown, requested=False)
            closed = await world.link("closed")
            assert "being shut down" in closed.detail
            await world.link("unreachable")
            await world.node.stopped.wait()
            await world.node.start()
            world.events.clear()
            second = await world.report("heartbeat")
        assert second.core_uuid != first.core_uuid

    in_virtual_time(test())


def test_crash_and_reboot() -> None:
    async def test() -> None:
        async with Simulated().watched() as world:
            await world.report("poll")
            world.node.crash()
            lost = await world.until(lambda event: isinstance(event, Link) and event.state in {"reset", "closed"})
            assert isinstance(lost, Link)
            await world.link("unreachable")
            await world.node.start()
            await world.after(Report)

    in_virtual_time(test())


@pytest.mark.parametrize("fault", ["esl_silent", "esl_half_open", "frozen"])
def test_node_that_stops_answering_is_silent_and_comes_back(fault: str) -> None:
    async def test() -> None:
        async with Simulated().watched() as world:
            await world.report("poll")
            world.node.change_faults({fault: True})
            await world.after(Link, state="silent")
            world.node.clear_faults()
            await world.after(Report)

    in_virtual_time(test())


def test_notice_in_mid_frame_is_the_end_of_the_connection_not_a_report() -> None:
    async def test() -> None:
        async with Simulated().watched() as world:
            await world.report("heartbeat")
            world.node.cut_in_mid_frame()
            ending = await world.until(lambda event: isinstance(event, Link) and event.state in _ENDINGS)
            assert isinstance(ending, Link)
            assert "frame" in ending.detail
            await world.after(Report)

    in_virtual_time(test())


_ENDINGS = {"closed", "protocol_error"}


def test_drip_that_is_slower_than_two_polls_is_silent() -> None:
    async def test() -> None:
        async with Simulated().watched() as world:
            await world.report("poll")
            world.node.change_faults({"esl_drip": 0.05})
            await world.after(Link, state="silent")

    in_virtual_time(test())


def test_access_list_and_wrong_password_are_told_apart() -> None:
    async def test() -> None:
        async with Simulated(acl=["192.0.2.0/24"]).watched() as world:
            await world.link("acl_rejected")
        async with Simulated(password="other").watched() as world:
            await world.link("auth_failed")

    in_virtual_time(test())


def test_restricted_user_reports_load_without_readiness_checks() -> None:
    user = {
        "name": "lb@example.com",
        "password": "lbpass",
        "events": ["HEARTBEAT", "SHUTDOWN", "SHUTDOWN_REQUESTED", "STARTUP"],
        "api": ["status", "uptime", "version", "show"],
    }

    async def test() -> None:
        async with Simulated(users=[user]).watched(Credentials("lbpass", user="lb@example.com")) as world:
            await world.report("poll", 3)
            await world.report("heartbeat", 2)
            told = [event for event in world.events if isinstance(event, Readiness)]
        assert told
        assert all((one.ready, one.paused_inbound, one.shutdown_requested) == (True, None, None) for one in told)

    in_virtual_time(test())
