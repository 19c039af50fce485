"""Nodes paused for their drain, over real Event Sockets of simulated FreeSWITCHes, in virtual time."""

import asyncio
import contextlib

import pytest
from control_fakes import FS1, FakeCore
from esl_fakes import in_virtual_time
from pydantic import SecretStr

from switchtender.config.plan import EslTarget
from switchtender.control.watch import Watch
from switchtender.load.drains import Drain, Wanted
from switchtender.load.model import Policy
from switchtender.telemetry.journal import Journal
from switchtender_simulator.node import Node
from switchtender_simulator.settings import make_node

DRAIN = Drain(1000.0, 1e12, "Requested")
SERVING = Policy()
DRAINED = Policy(drained=True, drain=Wanted(DRAIN, pause=True))
PAUSED_BEFORE = Policy(drained=True, drain=Wanted(DRAIN, pause=True, paused_by_us=True))
NO_PAUSE = Policy(drained=True, drain=Wanted(DRAIN))


class Pool:
    """One simulated node, and the balancers that watch it."""

    def __init__(self, **settings):
        quick = {"name": "fs1", "sip": "127.0.0.1:0", "esl": "127.0.0.1:0", "heartbeat_interval": 1.0}
        self.node = Node(make_node(quick | settings))
        self.commands = []
        self.claims = []
        self._watches = []
        self._cores = []
        run_api = self.node.run_api

        def noted(name, arguments):
            if name == "fsctl" and arguments.split()[0] in {"pause", "resume"}:
                self.commands.append(arguments)
            return run_api(name, arguments)

        self.node.run_api = noted

    def balancer(self, policy=SERVING, *, user=None, **rest):
        core = FakeCore()
        core.uids = {FS1}
        self._cores.append(core)
        watch = Watch(
            FS1,
            "fs1",
            core,
            clock=asyncio.get_running_loop().time,
            journal=Journal(),
            changed=lambda watch: watch.publish(replicas=1, fresh_share=1.0),
            reported=lambda uid, report: None,
            claimed=lambda uid, ours: self.claims.append(ours),
            **rest,
        )
        self._watches.append(watch)
        host, _, port = self.node.esl_host_port.rpartition(":")
        self._target = EslTarget(host, int(port), user, SecretStr("ClueCon"))
        self.wants(watch, policy)
        return watch

    def wants(self, watch, policy):
        watch.take_up(policy, self._target, 1.0)

    @property
    def paused(self):
        return self.node.status.paused_inbound

    async def until(self, *, paused):
        async with asyncio.timeout(600):
            while self.paused != paused:
                await asyncio.sleep(0.1)
        await asyncio.sleep(3.0)  # a round of checks more: it stays so

    @contextlib.asynccontextmanager
    async def running(self):
        await self.node.start(at_once=True)
        try:
            yield self
        finally:
            for watch in self._watches:
                await watch.stop()
            for core in self._cores:
                core.close()
            await self.node.close()


def on_a_node(test, **settings):
    async def run():
        async with Pool(**settings).running() as pool:
            await test(pool)

    in_virtual_time(run())


def test_a_drained_node_is_paused_once_and_resumed_when_the_drain_is_gone():
    async def test(pool):
        watch = pool.balancer(DRAINED)
        await pool.until(paused=True)
        assert (watch.state.name, watch.state.reason, watch.pausing.ours) == ("draining", "Draining", True)
        pool.wants(watch, SERVING)
        await pool.until(paused=False)
        assert pool.commands == ["pause inbound", "resume inbound"]
        assert (watch.state.name, watch.pausing.ours, pool.claims) == ("ready", False, [True, False])

    on_a_node(test)


def test_outbound_calls_are_left_alone():
    async def test(pool):
        pool.balancer(DRAINED)
        await pool.until(paused=True)
        assert not pool.node.status.paused_outbound

    on_a_node(test)


def test_what_a_person_paused_stays_paused():
    async def test(pool):
        pool.node.status.set_paused("inbound", paused=True)
        watch = pool.balancer(DRAINED)
        await asyncio.sleep(5.0)
        pool.wants(watch, SERVING)
        await asyncio.sleep(30.0)
        assert (pool.paused, pool.commands, pool.claims) == (True, [], [])
        assert watch.state.reason == "Paused"

    on_a_node(test)


def test_a_pause_that_somebody_lifts_in_mid_drain_is_renewed():
    async def test(pool):
        pool.balancer(DRAINED)
        await pool.until(paused=True)
        pool.node.status.set_paused("inbound", paused=False)
        await pool.until(paused=True)

    on_a_node(test)


def test_a_drain_that_no_longer_pauses_leaves_the_node_as_it_is_until_it_is_gone():
    async def test(pool):
        watch = pool.balancer(DRAINED)
        await pool.until(paused=True)
        pool.wants(watch, NO_PAUSE)
        await asyncio.sleep(30.0)
        assert pool.paused
        pool.wants(watch, SERVING)
        await pool.until(paused=False)

    on_a_node(test)


def test_a_connection_that_breaks_in_mid_drain_changes_nothing():
    async def test(pool):
        watch = pool.balancer(DRAINED)
        await pool.until(paused=True)
        for transport in asyncio.get_running_loop().transports:
            transport.abort()
        await asyncio.sleep(10.0)
        assert (watch.logins.connects, pool.commands, watch.pausing.ours) == (2, ["pause inbound"], True)
        pool.wants(watch, SERVING)
        await pool.until(paused=False)

    on_a_node(test)


def test_a_node_that_comes_back_as_another_process_is_paused_anew():
    async def test(pool):
        watch = pool.balancer(DRAINED)
        await pool.until(paused=True)
        first = pool.node.core_uuid
        pool.node.crash()
        await asyncio.sleep(1.0)
        await pool.node.start(at_once=True)
        assert (pool.paused, pool.node.core_uuid != first) == (False, True)
        await pool.until(paused=True)
        assert (watch.model.restarts, watch.pausing.ours) == (1, True)
        pool.wants(watch, SERVING)
        await pool.until(paused=False)

    on_a_node(test, esl="127.0.0.196:8021")


def test_a_new_process_that_a_person_paused_is_theirs():
    async def test(pool):
        watch = pool.balancer(DRAINED)
        await pool.until(paused=True)
        pool.node.crash()
        await asyncio.sleep(1.0)
        await pool.node.start(at_once=True)
        pool.node.status.set_paused("inbound", paused=True)
        await asyncio.sleep(15.0)
        assert (watch.model.restarts, watch.pausing.ours) == (1, False)
        pool.wants(watch, SERVING)
        await asyncio.sleep(15.0)
        assert pool.paused

    on_a_node(test, esl="127.0.0.196:8021")


def test_a_drain_that_comes_and_goes_leaves_the_node_as_it_was():
    async def test(pool):
        watch = pool.balancer()
        for turn in range(20):
            pool.wants(watch, SERVING if turn % 2 else DRAINED)
            await asyncio.sleep(0.7)
        await pool.until(paused=False)
        await asyncio.sleep(30.0)
        assert (pool.paused, watch.pausing.ours, watch.state.name) == (False, False, "ready")

    on_a_node(test)


def test_two_balancers_at_once_do_no_harm():
    async def test(pool):
        watches = [pool.balancer(DRAINED), pool.balancer(DRAINED)]
        await pool.until(paused=True)
        assert set(pool.commands) == {"pause inbound"}
        for watch in watches:
            pool.wants(watch, PAUSED_BEFORE)  # as the set says, once one of them told that it was it
            pool.wants(watch, SERVING)
        await pool.until(paused=False)
        await asyncio.sleep(30.0)
        assert not pool.paused
        assert [watch.pausing.ours for watch in watches] == [False, False]

    on_a_node(test)


@pytest.mark.parametrize("known", ["kept", "set"])
def test_a_balancer_that_starts_in_mid_drain_resumes_what_was_paused_before_its_time(known):
    async def test(pool):
        pool.node.status.set_paused("inbound", paused=True)
        watch = pool.balancer(DRAINED, paused=True) if known == "kept" else pool.balancer(PAUSED_BEFORE)
        await asyncio.sleep(10.0)
        assert pool.commands == []
        pool.wants(watch, SERVING)
        await pool.until(paused=False)
        assert pool.commands == ["resume inbound"]

    on_a_node(test)


def test_a_user_who_may_not_run_fsctl_pauses_nothing_and_that_is_told_once():
    user = {"name": "lb@example.com", "password": "ClueCon", "api": ["status"]}

    async def test(pool):
        watch = pool.balancer(DRAINED, user="lb@example.com")
        await asyncio.sleep(60.0)
        assert (pool.paused, pool.commands, watch.pausing.ours) == (False, [], False)
        [event] = [event for event in watch._journal.after(0) if event.type == "NodePause"]
        assert (event.reason, "esl-allowed-api" in event.message) == ("Unknown", True)
        assert watch.state.reason == "Draining"

    on_a_node(test, users=[user])


def test_that_a_user_may_not_run_fsctl_is_told_of_a_drain_that_begins_later():
    user = {"name": "lb@example.com", "password": "ClueCon", "api": ["status"]}

    async def test(pool):
        watch = pool.balancer(SERVING, user="lb@example.com")
        await asyncio.sleep(10.0)
        for policy in (DRAINED, PAUSED_BEFORE):
            pool.wants(watch, policy)
            await asyncio.sleep(10.0)
        assert [event.reason for event in watch._journal.after(0) if event.type == "NodePause"] == ["Unknown"]

    on_a_node(test, users=[user])


def test_a_new_process_that_is_known_late_for_one_is_resumed_as_well():
    """Without `status` only a heartbeat tells that it is another one: by then it is paused."""
    user = {"name": "lb@example.com", "password": "ClueCon", "api": ["fsctl"]}

    async def test(pool):
        watch = pool.balancer(DRAINED, user="lb@example.com")
        await pool.until(paused=True)
        await asyncio.sleep(30.0)
        pool.node.crash()
        await asyncio.sleep(1.0)
        await pool.node.start(at_once=True)
        await pool.until(paused=True)
        assert watch.model.restarts == 0
        await asyncio.sleep(60.0)
        assert (watch.model.restarts, watch.pausing.ours) == (1, True)
        pool.wants(watch, SERVING)
        await pool.until(paused=False)

    on_a_node(test, esl="127.0.0.196:8021", heartbeat_interval=20.0, users=[user])


def test_a_node_that_is_asked_to_end_is_not_opened_to_new_calls_until_that_is_taken_back():
    async def test(pool):
        watch = pool.balancer(DRAINED)
        await pool.until(paused=True)
        pool.node.request_shutdown("elegant")
        await asyncio.sleep(5.0)
        pool.wants(watch, SERVING)
        await asyncio.sleep(30.0)
        assert (pool.paused, watch.state.reason) == (True, "ShutdownRequested")
        pool.node.cancel_shutdown()
        await pool.until(paused=False)

    on_a_node(test, background_sessions=1)


def test_a_node_that_refuses_is_asked_ever_more_seldom_and_stays_logged_in():
    async def test(pool):
        run_api, asked = pool.node.run_api, []

        def refusing(name, arguments):
            if arguments == "pause inbound":
                asked.append(arguments)
                return "-ERR permission denied\n"
            return run_api(name, arguments)

        pool.node.run_api = refusing
        watch = pool.balancer(DRAINED)
        await asyncio.sleep(120.0)
        assert (2 < len(asked) < 8, watch.pausing.ours, watch.logins.connects) == (True, False, 1)
        assert [event.reason for event in watch._journal.after(0) if event.type == "NodePause"] == ["Refused"]

    on_a_node(test)
