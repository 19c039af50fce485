"""A whole node over real loopback sockets in virtual time: boot, end of life, faults, outside load."""

import asyncio
import json
import re

import pytest
from sim_bench import header, request, status_of, statuses, to_tag
from sim_frames import frames, mask, node_side
from sim_warp import Client, Phone, connected, running, virtual

from switchtender_simulator.lifecycle import Phase

SUBSCRIBE = b"event json HEARTBEAT SHUTDOWN SHUTDOWN_REQUESTED STARTUP"


def event_names(stream: bytes) -> list[str]:
    return [
        json.loads(frame.partition(b"\n\n")[2])["Event-Name"] for frame in frames(stream) if b"text/event-json" in frame
    ]


@virtual
async def test_a_call_over_sockets() -> None:
    async with running() as node:
        with Phone(node) as caller:
            answers = await caller.say(request("INVITE"))
            assert statuses(answers) == [100, 180, 200]
            assert statuses(await caller.hear(2.0)) == [200, 200]
            assert await caller.say(request("ACK", to_tag=to_tag(answers[2]), branch="z9hG4bKa"), 10.0) == []
            assert statuses(await caller.say(request("BYE", to_tag=to_tag(answers[2]), cseq=2))) == [200]
        seen = node.describe()
        assert (seen["sessions"], seen["live_calls"], seen["counters"]["answered"]) == (0, 0, 1)
        assert seen["counters"]["requests"] == 3


@virtual
async def test_zombies_leave_by_the_clock_and_show_in_heartbeats() -> None:
    async with running(max_sessions=1, heartbeat_interval=5) as node, connected(node, SUBSCRIBE) as client:
        with Phone(node) as caller:
            assert statuses(await caller.say(request("INVITE"))) == [503]
        beats = [json.loads(frame.partition(b"\n\n")[2]) for frame in frames(await client.hear(15.5))]
    assert [beat["Session-Count"] for beat in beats] == ["1", "1", "0"]
    assert {beat["Session-Since-Startup"] for beat in beats} == {"1"}


@virtual
async def test_a_crash_says_nothing_and_a_new_life_starts_at_zero() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        first = node.core_uuid
        with Phone(node) as caller:
            await caller.say(request("INVITE"))
            assert node.describe()["live_calls"] == 1
            node.crash()
            assert await client.hear(0.1) == b""
            assert client.reader.at_eof()
            with pytest.raises(ConnectionRefusedError):
                await caller.say(request("OPTIONS"))
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(node)

            starting = asyncio.create_task(node.start())
            await asyncio.sleep(0.01)
            assert node.status.phase is Phase.DEAF
            assert await caller.say(request("OPTIONS", number=5), 1.1) == []  # bound, but nobody reads
            assert statuses(await caller.hear(0.2)) == [200]  # it waited in the socket's buffer
            assert statuses(await caller.say(request("INVITE", number=6), 0.01)) == [503]
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(node)
            await starting
            assert statuses((await caller.say(request("INVITE", number=7), 0.01))[:3]) == [100, 180, 200]
        async with connected(node, SUBSCRIBE) as again:
            beat = json.loads(frames(await again.hear(1.1))[0].partition(b"\n\n")[2])
        assert beat["Core-UUID"] == node.core_uuid != first
        assert beat["Session-Since-Startup"] == "1"
        assert int(beat["Uptime-msec"]) < 3000
        assert node.describe()["lives"] == 2


@virtual
async def test_a_node_that_runs_cannot_be_started() -> None:
    async with running() as node:
        with pytest.raises(RuntimeError, match="fs2 is running"):
            await node.start()


@virtual
async def test_a_taken_address_is_an_error() -> None:
    async with running() as node:
        with pytest.raises(OSError, match="in use"):
            async with running(sip=node.sip_host_port):
                pass
        with pytest.raises(OSError, match="in use"):
            async with running(esl=node.esl_host_port):
                pass


@virtual
async def test_sigterm_takes_the_measured_course() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        with Phone(node) as caller:
            answers = await caller.say(request("INVITE"))
            tag = to_tag(answers[2])
            await caller.say(request("ACK", to_tag=tag, branch="z9hG4bKa"))
            await client.hear(0.5)

            node.terminate()
            [bye] = await caller.hear(0.05)
            assert bye.startswith("BYE ")
            assert header(bye, "Reason") == 'SIP;cause=701;text="SYSTEM_SHUTDOWN"'
            lines = [line for line in bye.split("\r\n") if line.startswith(("Via", "From", "To", "Call-ID", "CSeq"))]
            caller.send("SIP/2.0 200 OK\r\n" + "\r\n".join(lines) + "\r\n\r\n")
            assert statuses(await caller.say(request("INVITE", number=2), 0.01)) == [503]
            assert statuses(await caller.say(request("OPTIONS", number=3), 0.01)) == [200]
            caller.send(request("ACK", number=2, to_tag="x", branch="z9hG4bKI2.1"))
            heard = await client.hear(0.33)
            assert event_names(heard) == ["SHUTDOWN"]
            captured = next(frame for frame in frames(node_side("shutdown-json")) if b'"SHUTDOWN"' in frame)
            assert mask(frames(heard)[0]) == mask(captured)
            heard = await client.hear(0.05)
            assert event_names(heard) == ["HEARTBEAT"]  # "System Ready", after SHUTDOWN
            await asyncio.sleep(0.055)
            assert node.status.phase is Phase.TEARDOWN
            await asyncio.sleep(0.05)  # every BYE was answered: the 410 lasts a moment only
            with pytest.raises(ConnectionRefusedError):
                await caller.say(request("OPTIONS", number=4))
            assert await client.hear(0.3) == frames(node_side("shutdown-json"))[-1]
            assert client.reader.at_eof()
            assert not node.stopped.is_set()
            await asyncio.sleep(3.6)
            assert node.stopped.is_set()


@virtual
async def test_teardown_answers_410_as_long_as_a_bye_is_unanswered() -> None:
    async with running() as node:
        with Phone(node) as caller:
            answers = await caller.say(request("INVITE"))
            await caller.say(request("ACK", to_tag=to_tag(answers[2]), branch="z9hG4bKa"))
            node.terminate()
            await caller.hear(20.0)
            assert [s for s in statuses(await caller.say(request("OPTIONS", number=2), 0.01)) if s] == [410]
            assert [s for s in statuses(await caller.say(request("INVITE", number=3), 0.01)) if s] == [410]
            await asyncio.sleep(45.0)
            assert node.stopped.is_set()


@virtual
async def test_elegant_shutdown_accepts_calls_until_empty() -> None:
    async with running() as node, connected(node, SUBSCRIBE) as client, connected(node, b"nolog") as issuer:
        node.change({"background_sessions": 1})
        assert await issuer.say(b"api fsctl shutdown elegant\n\n", 5.0) == b""  # blocks its connection
        event = frames(await client.hear(0.1))[0]
        captured = next(frame for frame in frames(node_side("elegant")) if b"SHUTDOWN_REQUESTED" in frame)
        assert mask(event) == mask(captured)
        with Phone(node) as caller:
            assert status_of((await caller.say(request("INVITE")))[-1]) == 200
            node.hang_up_all()
        assert node.status.shutdown_check
        node.change({"background_sessions": 0})
        assert event_names(await client.hear(0.2)) == ["SHUTDOWN"]
        assert (
            await issuer.hear(1.0)
            == b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n" + frames(node_side("elegant"))[-1]
        )
        await asyncio.wait_for(node.stopped.wait(), 60)


@virtual
async def test_asap_refuses_and_cancel_undoes() -> None:
    async with (
        running(background_sessions=1) as node,
        connected(node, SUBSCRIBE) as client,
        connected(node, b"nolog") as issuer,
    ):
        assert b"+OK Job-UUID" in await issuer.say(b"bgapi fsctl shutdown asap\n\n")
        with Phone(node) as caller:
            assert statuses(await caller.say(request("INVITE"))) == [503]
            assert b'"Event-Info":"ASAP"' in await client.hear(0.1)
            assert (await issuer.say(b"api fsctl shutdown cancel\n\n")).endswith(b"\n\n+OK\n")
            assert statuses(await caller.say(request("INVITE", number=2)))[-1] == 200
        assert node.status.ready


@virtual
async def test_elegant_term_makes_sigterm_wait() -> None:
    async with running(elegant_term=True, background_sessions=1) as node:
        node.terminate()
        await asyncio.sleep(10)
        assert node.status.shutdown_check
        node.change({"background_sessions": 0})
        await asyncio.wait_for(node.stopped.wait(), 10)


@virtual
async def test_silence_on_the_event_socket() -> None:
    async with running() as node:
        node.change_faults({"esl_silent": True})
        client = await Client.connect(node)
        assert await client.say(b"auth ClueCon\n\n", 5.0) == b""
        assert not client.reader.at_eof()
        await client.close()


@virtual
async def test_slow_drip_sends_one_byte_at_a_time() -> None:
    async with running() as node:
        node.change_faults({"esl_drip": 0.1})
        client = await Client.connect(node)
        assert await client.hear(1.05) == b"Content-Ty"
        node.clear_faults()
        assert await client.hear(0.2) == b"pe: auth/request\n\n"
        node.change_faults({"esl_drip": 0.01})
        reply = b"Content-Type: command/reply\nReply-Text: +OK bye\n\n"
        assert (await client.say(b"exit\n\n", 3.0)).startswith(reply)  # the end waits for the last byte
        assert client.reader.at_eof()
        await client.close()


@virtual
async def test_half_open_neither_reads_nor_writes_and_recovers() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        node.change_faults({"esl_half_open": True})
        assert await client.say(b"api fsctl ready_check\n\n", 10.0) == b""
        assert not client.reader.at_eof()
        assert node.describe()["esl_connections"] == 1
        node.clear_faults()
        heard = await client.hear(0.5)
        assert event_names(heard) == ["HEARTBEAT"] * 10
        assert heard.endswith(b"\n\ntrue")


@virtual
async def test_a_notice_in_the_middle_of_a_frame_and_then_the_end() -> None:
    async with running() as node, connected(node, SUBSCRIBE) as client:
        node.cut_in_mid_frame()
        heard = await client.hear()
        head, _, rest = heard.partition(b"\n\n")
        assert int(re.search(rb"Content-Length: (\d+)", head)[1]) > len(rest)
        assert heard.endswith(b"Content-Length: 39\n\nkilled listener because of lost events\n")
        assert client.reader.at_eof()


@virtual
async def test_heartbeats_can_stop_while_commands_go_on() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        node.change_faults({"no_heartbeat": True})
        assert await client.hear(10.0) == b""
        assert (await client.say(b"api fsctl ready_check\n\n")).endswith(b"true")


@virtual
async def test_a_frozen_node_holds_everything_and_then_goes_on() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        node.change_faults({"frozen": True})
        assert await client.say(b"api fsctl ready_check\n\n", 5.0) == b""
        with Phone(node) as caller:
            assert statuses(await caller.say(request("INVITE"), 3.0)) == [100]
            assert statuses(await caller.say(request("OPTIONS", number=2))) == [200]
        node.clear_faults()
        assert (await client.hear(0.1)).endswith(b"true")


@virtual
async def test_silence_on_sip_leaves_the_event_socket_alone() -> None:
    async with running() as node, connected(node, SUBSCRIBE) as client:
        node.change_faults({"sip_silent": True})
        with Phone(node) as caller:
            assert await caller.say(request("INVITE"), 5.0) == []
        assert node.counters.unanswered == 1
        assert (await client.say(b"api fsctl ready_check\n\n")).endswith(b"true")


@virtual
async def test_an_interval_changed_live_starts_a_new_grid() -> None:
    async with running(heartbeat_interval=20) as node, connected(node, SUBSCRIBE) as client:
        node.change({"heartbeat_interval": 1})
        assert len(frames(await client.hear(6.1))) in {5, 6}


@virtual
async def test_the_nodes_clock_may_be_off() -> None:
    async with running(heartbeat_interval=1, clock_offset=-3600.0) as node, connected(node, SUBSCRIBE) as client:
        with_offset = json.loads(frames(await client.hear(1.1))[0].partition(b"\n\n")[2])
        node.change({"clock_offset": 0.0})
        without = json.loads(frames(await client.hear(1.1))[0].partition(b"\n\n")[2])
    apart = int(without["Event-Date-Timestamp"]) - int(with_offset["Event-Date-Timestamp"])
    assert 3590 < apart / 1e6 < 3610


@virtual
async def test_outside_calls_come_and_go_at_their_rate() -> None:
    async with running(outside_rate=20.0, outside_holding=5.0, max_sessions=1000, sessions_per_second=200) as node:
        node._random.seed(11)
        await asyncio.sleep(120)
        seen = node.describe()
        assert 2100 < seen["counters"]["outside_calls"] < 2700
        assert 70 < seen["sessions"] < 130
        node.change({"outside_rate": 0})
        await asyncio.sleep(120)
        assert node.describe()["sessions"] == 0


@virtual
async def test_outside_calls_meet_the_limit() -> None:
    async with running(outside_rate=20.0, outside_holding=60.0, max_sessions=10) as node:
        await asyncio.sleep(10)
        seen = node.describe()
        assert seen["sessions"] == 10
        assert seen["counters"]["outside_refused"] > 100
        assert seen["zombies"] >= 1


@virtual
async def test_background_sessions_are_there_from_the_start_and_change_live() -> None:
    async with running(background_sessions=7, max_sessions=8) as node:
        assert node.describe()["sessions"] == 7
        with Phone(node) as caller:
            assert statuses(await caller.say(request("INVITE"))) == [503]  # the eighth is the boundary
            node.change({"background_sessions": 2, "max_sessions": 20})
            assert statuses(await caller.say(request("INVITE", number=2)))[-1] == 200
        seen = node.describe()
        assert (seen["sessions"], seen["background_sessions"], seen["zombies"]) == (4, 2, 1)
