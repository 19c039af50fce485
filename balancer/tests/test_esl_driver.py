"""The Event Socket driver over real sockets: every way in which a node can fail it, in virtual time."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import random
import socket
from typing import cast

import esl_captures as captures
import pytest
from esl_fakes import Peer, VirtualTimeLoop, World, in_virtual_time, stay_silent

from switchtender.drivers.esl.driver import Backoff, EslDriver, Timing
from switchtender.drivers.esl.session import CHECKS, STATUS, SUBSCRIBE
from switchtender.drivers.esl.wire import Credentials
from switchtender.drivers.reports import Event, Link, LinkState, PollTimeout, Readiness, Report

GREETING, ACCEPTED, SUBSCRIBED, HEARTBEAT = captures.raw_frames("05-event-json-hb1")[:4]
DENIED = captures.raw_frames("45-userauth")[3]
STATUS_TEXT = next(frame for frame in captures.raw_frames("45-userauth") if b"session(s) max" in frame)
FALSE = b"Content-Type: api/response\nContent-Length: 5\n\nfalse"
TRUE = b"Content-Type: api/response\nContent-Length: 4\n\ntrue"
NOTICE = captures.raw_frames("01-auth-ok")[3]

ANSWERS = dict(zip(CHECKS, (TRUE, FALSE, FALSE), strict=True)) | {STATUS: STATUS_TEXT, SUBSCRIBE: SUBSCRIBED}


async def let_in(peer: Peer) -> None:
    """Greeting and login."""
    peer.says(GREETING)
    assert (await peer.hears()).startswith(("auth ", "userauth "))
    peer.says(ACCEPTED)


async def behave(peer: Peer) -> None:
    """A node in good health."""
    await let_in(peer)
    await answer(peer)


async def answer(peer: Peer) -> None:
    """What a node in good health does after the login."""
    while True:
        peer.says(ANSWERS[await peer.hears()])


def is_report(event: Event) -> bool:
    return isinstance(event, Report)


# A healthy node


def test_reports_flow_every_second_after_the_login() -> None:
    async def test() -> None:
        async with World(behave).watched() as world:
            await world.until(is_report, count=5)
        assert [type(event) for event in world.events[:4]] == [Link, Link, Readiness, Report]
        assert world.states == ["connecting", "authenticated"]
        times = [event.received for event in world.events if isinstance(event, Report)]
        assert [round(time - times[0]) for time in times] == [0, 1, 2, 3, 4]
        assert world.peers[0].heard[:6] == ["auth ClueCon", SUBSCRIBE, *CHECKS, STATUS]

    in_virtual_time(test())


def test_a_flood_is_drained_to_its_last_event() -> None:
    async def flood(peer: Peer) -> None:
        await let_in(peer)
        for _ in range(3000):
            peer.says(HEARTBEAT)
        await answer(peer)

    async def test() -> None:
        async with World(flood).watched() as world:
            await world.until(lambda event: isinstance(event, Report) and event.source == "heartbeat", count=3000)
            await world.until(lambda event: isinstance(event, Report) and event.source == "poll", count=3)
        assert world.states == ["connecting", "authenticated"]

    in_virtual_time(test())


def test_slow_drip_that_comes_in_time_is_read() -> None:
    async def drip(peer: Peer) -> None:
        await let_in(peer)
        while True:
            await peer.drips(ANSWERS[await peer.hears()], 0.001)

    async def test() -> None:
        async with World(drip).watched() as world:
            await world.until(is_report, count=3)
        assert world.states == ["connecting", "authenticated"]

    in_virtual_time(test())


def test_late_replies_count_from_when_they_were_asked() -> None:
    async def answer_late(peer: Peer) -> None:
        await let_in(peer)
        loop = asyncio.get_running_loop()
        while True:
            reply = ANSWERS[await peer.hears()]
            # Timers of the same moment fire in any order; replies have one.
            loop.call_later(1.5 + len(peer.heard) / 1e6, peer.says, reply)

    async def test() -> None:
        async with World(answer_late).watched() as world:
            await world.until(is_report, count=8)
        assert world.states == ["connecting", "authenticated"]
        ages = [event.received - (event.sent or 0) for event in world.events if isinstance(event, Report)]
        assert ages == pytest.approx([1.5] * 8, abs=0.01)

    in_virtual_time(test())


def test_kernel_watches_the_peer_and_the_receive_buffer_is_left_alone() -> None:
    async def test() -> None:
        async with World(behave).watched() as world:
            await world.link("authenticated")
            loop = cast("VirtualTimeLoop", asyncio.get_running_loop())
            ours = loop.transports[0].get_extra_info("socket")
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as plain:
                default = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= default

    in_virtual_time(test())


# Faults of configuration, retried slowly


def _refusal(name: str) -> bytes:
    return captures.from_node(name)


async def reject(peer: Peer) -> None:
    peer.says(_refusal("15-acl-reject"))


async def refuse_password(peer: Peer) -> None:
    peer.says(GREETING)
    assert await peer.hears() == "auth ClueCon"
    peer.says(_refusal("02-auth-wrong").removeprefix(GREETING))


@pytest.mark.parametrize(
    ("conversation", "state"), [(reject, "acl_rejected"), (refuse_password, "auth_failed")], ids=["acl", "password"]
)
def test_refusal_is_a_state_of_its_own_and_retried_slowly(conversation: object, state: LinkState) -> None:
    async def test() -> None:
        async with World(conversation, conversation, behave).watched() as world:  # type: ignore[arg-type]
            first = await world.link(state)
            second = await world.link(state, count=2)
            assert 15 <= second.since - first.since <= 31
            await world.link("authenticated")
        assert world.states == ["connecting", state] * 2 + ["connecting", "authenticated"]

    in_virtual_time(test())


def test_denied_checks_are_said_once_over_all_connections(caplog: pytest.LogCaptureFixture) -> None:
    async def restricted(peer: Peer) -> None:
        await let_in(peer)
        for _ in range(9):
            command = await peer.hears()
            peer.says(DENIED if command in CHECKS else ANSWERS[command])

    async def test() -> None:
        async with World(restricted).watched(Credentials("lbpass", user="lb@127.0.0.2")) as world:
            await world.link("authenticated", count=3)
        assert world.peers[0].heard[:6] == ["userauth lb@127.0.0.2:lbpass", SUBSCRIBE, *CHECKS, STATUS]
        assert world.peers[0].heard[6:] == [STATUS] * 4
        readiness = [event for event in world.events if isinstance(event, Readiness)]
        assert {(event.ready, event.paused_inbound, event.shutdown_requested) for event in readiness} == {
            (True, None, None)
        }
        assert any(is_report(event) for event in world.events)

    in_virtual_time(test())
    said = [record for record in caplog.records if "permission denied" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]


# Faults of the node or the way to it, retried with backoff


def test_nobody_listening_is_unreachable_and_retried_ever_slower() -> None:
    async def test() -> None:
        world = World()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # a port that refuses: bound, and nobody listens
            world.port = taken.getsockname()[1]
            driver = asyncio.ensure_future(world.new_driver().run())
            await world.link("unreachable", count=12)
            driver.cancel()
            await asyncio.wait([driver])
        refused = [event for event in world.events if isinstance(event, Link) and event.state == "unreachable"]
        assert {event.detail for event in refused} == {"Connection refused"}, "as words, without address and number"
        times = [event.since for event in refused]
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        nominal = [0.25, 0.5, 1, 2, 4, 8, 10, 10, 10, 10, 10]
        assert all(0.5 * full <= wait <= full + 0.05 for wait, full in zip(waits, nominal, strict=True))
        assert len({wait / full for wait, full in zip(waits, nominal, strict=True)}) > 5  # jitter

    in_virtual_time(test())


def test_connection_that_does_not_come_about_in_two_seconds_is_unreachable() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        world = World()
        with socket.socket() as full, socket.socket() as waiting:
            full.bind(("127.0.0.1", 0))
            full.listen(0)  # room for one, which the next line takes: the kernel drops every further SYN
            waiting.connect(full.getsockname())
            world.port = full.getsockname()[1]
            began = loop.time()
            driver = asyncio.ensure_future(world.new_driver().run())
            link = await world.link("unreachable")
            driver.cancel()
            await asyncio.wait([driver])
        assert link.detail == "no connection within 2 s"
        assert link.since - began == pytest.approx(2.0, abs=0.01)

    in_virtual_time(test())


def test_name_that_cannot_be_is_unreachable() -> None:
    async def test() -> None:
        links: list[Event] = []
        failed = asyncio.Event()

        def listen(event: Event) -> None:
            links.append(event)
            if len(links) == 2:
                failed.set()

        driver = asyncio.ensure_future(EslDriver("x" * 64 + ".invalid", 8021, Credentials("p"), listen).run())
        await failed.wait()
        driver.cancel()
        await asyncio.wait([driver])
        assert [link.state for link in links if isinstance(link, Link)] == ["connecting", "unreachable"]

    asyncio.run(test())  # in real time: names are resolved in a thread


async def _greet_and_stop(peer: Peer) -> None:
    peer.says(GREETING)
    await stay_silent(peer)


async def _half_a_frame(peer: Peer) -> None:
    await let_in(peer)
    peer.says(SUBSCRIBED, TRUE, FALSE, FALSE, STATUS_TEXT[:99])
    await stay_silent(peer)


async def _drip_the_greeting(peer: Peer) -> None:
    await peer.drips(GREETING, 0.5)


@pytest.mark.parametrize(
    ("conversation", "patience", "detail"),
    [
        (stay_silent, 5.0, "no greeting within 5 s"),
        (_drip_the_greeting, 5.0, "no greeting within 5 s"),
        (_greet_and_stop, 5.0, "no answer to the login within 5 s"),
        (_half_a_frame, 2.0, "no answer to 'api status' within 2 s"),
    ],
    ids=["no greeting", "dripped greeting", "no login reply", "half a frame"],
)
def test_silence_is_found_and_followed_by_a_new_attempt(conversation: object, patience: float, detail: str) -> None:
    async def test() -> None:
        async with World(conversation, behave).watched() as world:  # type: ignore[arg-type]
            link = await world.link("silent")
            assert link.detail == detail
            assert link.since - world.peers[0].came == pytest.approx(patience, abs=0.05)
            await world.until(is_report)
        assert world.states[-2:] == ["connecting", "authenticated"]
        told = any(isinstance(event, PollTimeout) for event in world.events)
        assert told == ("status" in detail)

    in_virtual_time(test())


async def _reset(peer: Peer) -> None:
    await let_in(peer)
    await peer.hears()
    peer.resets()


async def _notice_in_mid_frame(peer: Peer) -> None:
    await let_in(peer)
    peer.says(SUBSCRIBED, HEARTBEAT[:400], NOTICE, HEARTBEAT)
    await stay_silent(peer)


async def _notice_in_mid_frame_and_the_end(peer: Peer) -> None:
    await let_in(peer)
    peer.says(SUBSCRIBED, HEARTBEAT[:400], NOTICE)


async def _shut_down(peer: Peer) -> None:
    await let_in(peer)
    peer.says(SUBSCRIBED, *captures.raw_frames("20-events-shutdown-plain")[3:])


async def _killed(peer: Peer) -> None:
    await let_in(peer)
    peer.says(captures.raw_frames("22-events-shutdown-kill")[2])


@pytest.mark.parametrize(
    ("conversation", "state", "detail"),
    [
        (_reset, "reset", "Connection reset by peer"),
        (_notice_in_mid_frame, "protocol_error", "a disconnect notice inside a frame"),
        (_notice_in_mid_frame_and_the_end, "closed", "the node closed the connection in the middle of a frame"),
        (_shut_down, "closed", "the node said: The system is being shut down."),
        (_killed, "closed", "the node closed the connection"),
    ],
    ids=["reset", "notice in mid-frame", "notice in mid-frame, end", "shutdown", "killed"],
)
def test_lost_connection_is_named_and_made_again(conversation: object, state: LinkState, detail: str) -> None:
    async def test() -> None:
        async with World(conversation, behave).watched() as world:  # type: ignore[arg-type]
            link = await world.link(state)
            assert detail in link.detail
            await world.link("authenticated", count=2)
            await world.until(is_report, count=2)
        assert world.states == ["connecting", "authenticated", state, "connecting", "authenticated"]

    in_virtual_time(test())


def test_reconnect_subscribes_and_polls_again() -> None:
    async def leave_after_five(peer: Peer) -> None:
        await let_in(peer)
        for _ in range(5):
            peer.says(ANSWERS[await peer.hears()])

    async def test() -> None:
        async with World(leave_after_five, behave).watched() as world:
            await world.until(is_report, count=3)
        assert world.peers[1].heard[:6] == ["auth ClueCon", SUBSCRIBE, *CHECKS, STATUS]

    in_virtual_time(test())


def test_timeout_of_the_kernel_is_silence() -> None:
    async def test() -> None:
        async with World(behave).watched() as world:
            await world.until(is_report)
            loop = cast("VirtualTimeLoop", asyncio.get_running_loop())
            gone = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
            loop.transports[0]._fatal_error(gone)  # type: ignore[attr-defined]
            link = await world.link("silent")
            assert "Connection timed out" in link.detail

    in_virtual_time(test())


def test_own_standstill_closes_the_connection_instead_of_catching_up() -> None:
    async def test() -> None:
        async with World(behave).watched() as world:
            await world.until(is_report)
            cast("VirtualTimeLoop", asyncio.get_running_loop()).stand_still(12.0)
            link = await world.link("closed")
            assert "event loop stood still" in link.detail
            await world.link("authenticated", count=2)

    in_virtual_time(test())


def test_own_short_standstill_is_not_the_nodes_silence() -> None:
    async def test() -> None:
        async with World(behave).watched() as world:
            await world.until(is_report, count=2)
            cast("VirtualTimeLoop", asyncio.get_running_loop()).stand_still(8.0)
            await world.until(is_report, count=5)
        assert world.states == ["connecting", "authenticated"]

    in_virtual_time(test())


# The way out


def test_cancel_says_exit_and_waits_for_the_node_to_close() -> None:
    async def test() -> None:
        async with World(behave).watched() as world:
            await world.until(is_report)
        assert world.peers[0].heard[-1] == "exit"
        assert world.states == ["connecting", "authenticated"]  # nothing is told after the cancel

    in_virtual_time(test())


def test_cancel_does_not_wait_long_for_a_node_that_does_not_answer() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with World(_half_a_frame).watched() as world:
            await world.link("authenticated")
            assert world.driver is not None
            began = loop.time()
            world.driver.cancel()
            await asyncio.wait([world.driver])
            assert world.driver.cancelled()
            assert loop.time() - began == pytest.approx(0.5, abs=0.01)
            assert cast("VirtualTimeLoop", loop).transports[0].is_closing()

    in_virtual_time(test())


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.1, 3.0, 4.9, 5.01, 5.2])
def test_cancel_works_at_any_moment(seconds: float) -> None:
    async def test() -> None:
        async with World(stay_silent).watched() as world:
            await asyncio.sleep(seconds)
        assert world.driver is not None
        assert world.driver.cancelled()

    in_virtual_time(test())


def test_fault_of_the_listener_ends_run_and_the_connection() -> None:
    async def test() -> None:
        world = World(behave)

        def fail_at_reports(event: Event) -> None:
            if isinstance(event, Report):
                raise ConnectionError(event.source)

        world.listen = fail_at_reports  # type: ignore[method-assign]
        async with world.watched():
            assert world.driver is not None
            with pytest.raises(ConnectionError, match="poll"):
                await asyncio.shield(world.driver)
            await asyncio.sleep(1)
            assert world.peers[0].writer.is_closing()

    in_virtual_time(test())


def test_cancel_in_the_moment_of_connecting_leaves_nothing_behind() -> None:
    async def test() -> None:
        for steps in range(12):
            async with World(behave).watched() as world:
                for _ in range(steps):
                    await asyncio.sleep(0)
                assert world.driver is not None
                world.driver.cancel()
                await asyncio.wait([world.driver])
                told = len(world.events)
                await asyncio.sleep(5)
                assert len(world.events) == told
                assert all(peer.writer.is_closing() for peer in world.peers)

    in_virtual_time(test())


# Logs


def test_logs_name_node_endpoint_and_state_and_never_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="switchtender.drivers.esl.driver")

    async def echo_the_password(peer: Peer) -> None:
        peer.says(GREETING)
        login = await peer.hears()
        peer.says(f"Content-Type: command/reply\nReply-Text: -ERR what is {login}?\n\n".encode())

    async def test() -> None:
        async with World(echo_the_password, behave).watched(Credentials("s3cret", user="lb@x")) as world:
            await world.until(is_report)

    in_virtual_time(test())
    fields = [vars(record) for record in caplog.records if record.name == "switchtender.drivers.esl.driver"]
    assert [entry["link"] for entry in fields] == ["connecting", "auth_failed", "connecting", "authenticated"]
    assert {entry["node"] for entry in fields} == {"fs1"}
    assert all(entry["endpoint"].startswith("127.0.0.1:") for entry in fields)
    assert "s3cret" not in repr(fields)
    assert "s3cret" not in repr(EslDriver("h", 1, Credentials("s3cret"), lambda _: None).__dict__)


def test_failure_that_goes_on_is_a_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="switchtender.drivers.esl.driver")

    async def test() -> None:
        async with World(reject, reject, reject, refuse_password).watched() as world:
            await world.link("auth_failed")

    in_virtual_time(test())
    warnings = [vars(record)["link"] for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["acl_rejected", "auth_failed"]


# Backoff


def test_backoff_starts_anew_after_a_connection_that_lived() -> None:
    backoff = Backoff(Timing(), random.Random(1))
    short = [backoff.after("reset", lived=0.1) for _ in range(8)]
    assert short[-1] >= 5
    assert backoff.after("closed", lived=60.0) <= 0.25
    assert 0.25 <= backoff.after("closed", lived=0.0) <= 0.5


def test_backoff_stays_in_its_bounds_for_ever() -> None:
    backoff = Backoff(Timing(), random.Random(1))
    waits = [backoff.after("unreachable", lived=0.0) for _ in range(3000)]
    assert max(waits) <= 10.0
    assert min(waits[6:]) >= 5.0


# A password that changes


def test_new_credentials_are_for_the_next_connection_and_leave_this_one_alone() -> None:
    async def leave_when_told(peer: Peer) -> None:
        await let_in(peer)
        for _ in range(12):
            peer.says(ANSWERS[await peer.hears()])

    async def test() -> None:
        world = World(leave_when_told, behave)
        made: list[EslDriver] = []
        new_driver = world.new_driver
        world.new_driver = lambda *args: made.append(new_driver(*args)) or made[0]  # type: ignore[method-assign]
        async with world.watched():
            await world.until(is_report, count=1)
            made[0].renew(Credentials("rotated"))
            await world.until(is_report, count=2)
            assert world.states == ["connecting", "authenticated"]
            await world.link("authenticated", count=2)
        assert [peer.heard[0] for peer in world.peers] == ["auth ClueCon", "auth rotated"]

    in_virtual_time(test())
