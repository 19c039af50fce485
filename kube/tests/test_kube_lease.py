"""The election in virtual time: never two that may write, whatever the network, the clocks and the processes do."""

import asyncio
import copy
import random
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kube_virtual import MemoryClient, now, run_virtual, virtual
from tests.stand.kube_api import KubeApi

from switchtender_kube import Elector, Fence

DURATION, DEADLINE, RETRY = 15.0, 10.0, 2.0


class Contender:
    """A replica: its elector, its own wall clock, and a writer that writes whenever its fence is open."""

    def __init__(self, api: KubeApi, name: str, *, seed: int = 0) -> None:
        self.name = name
        self.api = api
        self.client = MemoryClient(api, name=name)
        self.wall_off_by = timedelta()
        self.log: list[str] = []
        self.elector = Elector(
            self.client, "voice", "st-operator", name, clock=now, sleep=self._sleep, rng=random.Random(f"{name}{seed}"),
            wall=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now()) + self.wall_off_by,
        )  # fmt: skip
        self.task: asyncio.Task[None] | None = None

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.client.gate.wait()

    async def _started(self) -> None:
        self.log.append("started")
        try:
            await asyncio.sleep(1e9)
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise

    async def _stopped(self) -> None:
        self.log.append("stopped")

    def start(self) -> None:
        self.task = asyncio.create_task(self.elector.run(self._started, self._stopped))

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.task = None

    def freeze(self) -> None:
        """SIGSTOP: nothing of it runs, its clock goes on."""
        self.client.gate.clear()

    def thaw(self) -> None:
        self.client.gate.set()

    @property
    def leads(self) -> bool:
        return self.elector.is_leader()


@asynccontextmanager
async def contenders(*names: str, api: KubeApi | None = None, seed: int = 0):
    api = api or KubeApi()
    all_of_them = [Contender(api, name, seed=seed) for name in names]
    try:
        yield (api, *all_of_them)
    finally:
        for each in all_of_them:
            each.thaw()
            each.client.reachable = True
            if each.task is not None:
                await each.stop()


def spec(api: KubeApi) -> dict[str, Any]:
    lease = api.object("leases", "voice", "st-operator")
    assert lease is not None
    return lease["spec"]


async def until(holds: Callable[[], object], seconds: float) -> float:
    """Wait for something; how long it took. Fails when it takes longer."""
    began = now()
    while not holds():
        assert now() - began < seconds, "it did not come to hold in time"
        await asyncio.sleep(0.01)
    return now() - began


@virtual
async def test_the_first_creates_the_lease_and_leads_at_once() -> None:
    async with contenders("a") as (api, a):
        assert not a.leads
        a.start()
        await until(lambda: a.leads, 0.1)
        assert spec(api)["holderIdentity"] == "a"
        assert spec(api)["leaseDurationSeconds"] == 15
        assert spec(api)["leaseTransitions"] == 0
        assert spec(api)["acquireTime"] == spec(api)["renewTime"]
        assert a.log == ["started"]
        assert a.elector.holder == "a"


@virtual
async def test_times_are_micro_time_in_utc() -> None:
    async with contenders("a") as (api, a):
        a.start()
        await until(lambda: a.leads, 1)
        datetime.strptime(spec(api)["renewTime"], "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007
        assert len(spec(api)["renewTime"]) == len("2026-01-01T00:00:00.000000Z")


@virtual
async def test_a_leader_renews_every_two_seconds_and_keeps_its_acquire_time() -> None:
    async with contenders("a", "b") as (api, a, b):
        a.start()
        await until(lambda: a.leads, 1)
        acquired = spec(api)["acquireTime"]
        b.start()
        before = len(api.calls("update", "leases"))
        for _ in range(600):
            await asyncio.sleep(1)
            assert a.leads
            assert not b.leads
            assert a.elector.is_leader.until_deadline() > DEADLINE - RETRY * 1.2 - 0.1
        renewals = len(api.calls("update", "leases")) - before
        assert 600 / 2.4 - 1 <= renewals <= 600 / 2.0 + 1
        assert spec(api)["acquireTime"] == acquired
        assert spec(api)["renewTime"] > acquired
        assert spec(api)["leaseTransitions"] == 0


@virtual
async def test_a_release_lets_the_next_lead_within_two_seconds() -> None:
    async with contenders("a", "b", "c") as (api, a, b, c):
        a.start()
        await until(lambda: a.leads, 1)
        b.start()
        c.start()
        await asyncio.sleep(30.7)
        await a.stop()
        assert not a.leads
        assert a.log == ["started", "cancelled", "stopped"]
        assert await until(lambda: b.leads or c.leads, 2) < 0.5
        assert not (b.leads and c.leads)
        assert spec(api)["leaseTransitions"] == 1


@virtual
async def test_a_released_lease_is_held_by_nobody_for_one_second() -> None:
    async with contenders("a") as (api, a):
        a.start()
        await until(lambda: a.leads, 1)
        await a.stop()
        assert spec(api)["holderIdentity"] == ""
        assert spec(api)["leaseDurationSeconds"] == 1
        assert spec(api)["leaseTransitions"] == 0


@virtual
async def test_the_leader_stops_before_it_releases() -> None:
    async with contenders("a") as (api, a):
        seen: list[tuple[bool, str]] = []

        async def stopped() -> None:
            seen.append((a.elector.is_leader(), spec(api)["holderIdentity"]))

        task = asyncio.create_task(a.elector.run(a._started, stopped))
        await until(lambda: a.leads, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert seen == [(False, "a")]
        assert spec(api)["holderIdentity"] == ""


@virtual
async def test_without_a_watch_the_poll_still_takes_over() -> None:
    async with contenders("a", "b") as (api, a, b):
        api.fail("leases", "watch", 403)
        a.start()
        await until(lambda: a.leads, 1)
        b.start()
        await asyncio.sleep(20)
        await a.stop()
        await until(lambda: b.leads, 2.5)


@virtual
async def test_who_died_is_followed_when_its_lease_ran_out_and_not_before() -> None:
    async with contenders("a", "b") as (api, a, b):
        a.start()
        await until(lambda: a.leads, 1)
        b.start()
        await asyncio.sleep(20.3)
        a.freeze()
        renewed = a.elector.is_leader._renewed_at
        await until(lambda: b.leads, 20)
        assert renewed is not None
        assert DURATION <= now() - renewed < DURATION + 3
        assert spec(api)["leaseTransitions"] == 1
        assert spec(api)["acquireTime"] == spec(api)["renewTime"]


@virtual
async def test_a_late_comer_waits_a_whole_duration_by_its_own_clock() -> None:
    """It cannot know how old the record is: the times in it are another's wall clock."""
    async with contenders("a", "b") as (_, a, b):
        a.start()
        await until(lambda: a.leads, 1)
        a.freeze()
        await asyncio.sleep(3600)
        b.start()
        waited = await until(lambda: b.leads, 20)
        assert DURATION <= waited < DURATION + 1


@virtual
async def test_a_partitioned_leader_stops_before_its_lease_runs_out() -> None:
    async with contenders("a", "b") as (_, a, b):
        a.start()
        await until(lambda: a.leads, 1)
        b.start()
        await asyncio.sleep(20.1)
        for hang in (0.0, 100.0):
            leader, other = (a, b) if a.leads else (b, a)
            leader.client.hang = hang
            leader.client.reachable = False
            lost = await until(lambda leader=leader: not leader.leads, DEADLINE + 0.1)
            assert lost <= DEADLINE
            await asyncio.sleep(0.05)
            assert leader.log[-2:] == ["cancelled", "stopped"]
            assert not other.leads
            await until(lambda other=other: other.leads, DURATION)
            leader.client.reachable = True
            await asyncio.sleep(30)
            assert other.leads
            assert not leader.leads


@virtual
async def test_a_short_outage_costs_no_leadership() -> None:
    async with contenders("a") as (api, a):
        a.start()
        await until(lambda: a.leads, 1)
        for _ in range(20):
            a.client.reachable = False
            await asyncio.sleep(6)
            a.client.reachable = True
            await asyncio.sleep(5)
            assert a.leads
        api.fail("leases", "update", 500, times=3)
        await asyncio.sleep(8)
        assert a.leads
        assert a.log == ["started"]


@virtual
async def test_a_frozen_leader_does_not_lead_when_it_wakes() -> None:
    async with contenders("a", "b") as (_, a, b):
        a.start()
        await until(lambda: a.leads, 1)
        b.start()
        await asyncio.sleep(10)
        a.freeze()
        await asyncio.sleep(60)
        assert b.leads
        # The very moment it wakes, before any task of it ran: the clock alone says so.
        assert not a.elector.is_leader()
        assert a.elector.remaining() < 0
        a.thaw()
        for _ in range(300):
            await asyncio.sleep(0.1)
            assert not a.leads
            assert b.leads
        assert a.log == ["started", "cancelled", "stopped"]


@virtual
async def test_a_frozen_leader_without_a_rival_leads_again_by_a_new_renewal() -> None:
    async with contenders("a") as (api, a):
        a.start()
        await until(lambda: a.leads, 1)
        a.freeze()
        await asyncio.sleep(60)
        assert not a.leads
        a.thaw()
        await until(lambda: a.leads, 5)
        assert a.log == ["started", "cancelled", "stopped", "started"]
        assert spec(api)["leaseTransitions"] == 0


@virtual
async def test_a_renewal_counts_from_when_it_was_begun() -> None:
    async with contenders("a") as (_, a):
        a.start()
        await until(lambda: a.leads, 1)
        a.client.latency = lambda: 2.0  # each way
        await asyncio.sleep(30)
        assert a.leads
        assert a.elector.is_leader.until_deadline() < DEADLINE - 4 + 0.01


@virtual
async def test_jumps_of_the_wall_clock_do_not_matter() -> None:
    async with contenders("a", "b") as (api, a, b):
        a.start()
        await until(lambda: a.leads, 1)
        b.start()
        for jump in (3600, -7200, 86400, -86400):
            a.wall_off_by += timedelta(seconds=jump)
            b.wall_off_by -= timedelta(seconds=3 * jump)
            for _ in range(20):
                await asyncio.sleep(1)
                assert a.leads
                assert not b.leads
        assert spec(api)["leaseTransitions"] == 0


@virtual
async def test_an_update_whose_answer_was_lost_is_not_mistaken_for_anothers() -> None:
    async with contenders("a") as (api, a):
        a.start()
        await until(lambda: a.leads, 1)
        replace, lost = a.client.replace, []

        async def deaf(path: str, body: Any, *, timeout: float) -> Any:
            answer = await replace(path, body, timeout=timeout)
            if len(lost) < 2:
                lost.append(answer)
                from switchtender_kube import Unreachable

                raise Unreachable("the answer was lost")
            return answer

        a.client.replace = deaf  # type: ignore[method-assign]
        for _ in range(200):
            await asyncio.sleep(0.1)
            assert a.leads
        assert len(lost) == 2
        assert a.log == ["started"]
        assert spec(api)["leaseTransitions"] == 0


@virtual
async def test_another_holder_is_obeyed_at_once_and_never_renewed() -> None:
    """Somebody edits the record by hand: the watch tells of it between two renewals."""
    async with contenders("a") as (api, a):
        a.start()
        await until(lambda: a.leads, 1)
        await asyncio.sleep(10)
        api.merge("leases", "voice", "st-operator", {"spec": {"holderIdentity": "somebody"}})
        await until(lambda: not a.leads, 3)
        await asyncio.sleep(5)
        assert spec(api)["holderIdentity"] == "somebody"
        assert a.log == ["started", "cancelled", "stopped"]
        await until(lambda: a.leads, DURATION + 3)
        assert spec(api)["leaseTransitions"] == 1


@virtual
async def test_a_deleted_lease_is_made_again_by_its_holder_and_binds_the_others() -> None:
    async with contenders("a", "b", "c") as (api, a, b, c):
        a.start()
        await until(lambda: a.leads, 1)
        b.start()
        c.start()
        await asyncio.sleep(10)
        api.remove("leases", "voice", "st-operator")
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert a.leads
            assert not b.leads
            assert not c.leads
        assert spec(api)["holderIdentity"] == "a"


@virtual
async def test_a_lease_granted_for_years_by_hand_does_not_last_that_long() -> None:
    async with contenders("a") as (api, a):
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        record = {"holderIdentity": "nobody", "leaseDurationSeconds": 2_000_000_000}
        api.put({**lease, "metadata": {"name": "st-operator", "namespace": "voice"}, "spec": record})
        a.start()
        assert await until(lambda: a.leads, 63) > 55
        assert spec(api)["leaseDurationSeconds"] == 15


@pytest.mark.parametrize(
    ("record", "transitions"),
    [
        (None, 1),
        ({"holderIdentity": None, "leaseDurationSeconds": None, "renewTime": None}, 1),
        ({"holderIdentity": "nobody", "leaseDurationSeconds": 0}, 1),
        ({"holderIdentity": "nobody", "leaseTransitions": 2**31 - 1}, 2**31 - 1),
        ({"holderIdentity": "nobody", "leaseTransitions": "many"}, 1),
    ],
)
def test_whatever_the_record_holds_it_can_be_taken(record: Any, transitions: int) -> None:
    async def main() -> None:
        async with contenders("a") as (api, a):
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
            api.put({**lease, "metadata": {"name": "st-operator", "namespace": "voice"}, "spec": record})
            a.start()
            await until(lambda: a.leads, DURATION + 3)
            assert spec(api)["leaseTransitions"] == transitions

    run_virtual(main)


@virtual
async def test_a_server_restored_from_a_backup_finds_its_leader_again() -> None:
    """The record is older than what everybody knows, and so is its version."""
    async with contenders("a", "b") as (api, a, b):
        a.start()
        await until(lambda: a.leads, 1)
        b.start()
        await asyncio.sleep(60)
        backup = copy.deepcopy(api.object("leases", "voice", "st-operator"))
        await asyncio.sleep(60)
        record = api.object("leases", "voice", "st-operator")
        assert record is not None
        record.clear()
        record.update(backup)
        api.store.version = int(record["metadata"]["resourceVersion"])
        api.store.compact()
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert a.leads
        assert a.log == ["started"]
        api.store.version -= 20
        record = api.object("leases", "voice", "st-operator")
        assert record is not None
        record["metadata"]["resourceVersion"] = str(api.store.version)
        api.store.compact()
        a.freeze()
        await until(lambda: b.leads, DURATION + 5)


@virtual
async def test_a_namespace_or_right_that_is_missing_is_waited_for() -> None:
    async with contenders("a") as (api, a):
        fault = api.fail("leases", None, 403)
        a.start()
        await asyncio.sleep(600)
        assert not a.leads
        fault.clear()
        await until(lambda: a.leads, 5)


@virtual
async def test_an_on_started_that_fails_gives_the_lease_back_and_is_raised() -> None:
    async with contenders("a") as (api, a):

        async def broken() -> None:
            await asyncio.sleep(5)
            raise LookupError("a fault of the caller")

        with pytest.raises(LookupError):
            await a.elector.run(broken, a._stopped)
        assert not a.leads
        assert a.log == ["stopped"]
        assert spec(api)["holderIdentity"] == ""


@virtual
async def test_an_on_started_that_returns_goes_on_leading() -> None:
    async with contenders("a") as (_, a):

        async def brief() -> None:
            a.log.append("brief")

        task = asyncio.create_task(a.elector.run(brief, a._stopped))
        await asyncio.sleep(100)
        assert a.leads
        assert a.log == ["brief"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert a.log == ["brief", "stopped"]


@virtual
async def test_is_leader_is_a_fence_that_knows_what_remains() -> None:
    async with contenders("a") as (_, a):
        assert isinstance(a.elector.is_leader, Fence)
        assert a.elector.remaining() <= 0
        a.start()
        await until(lambda: a.leads, 1)
        assert DEADLINE < a.elector.is_leader.remaining() <= DURATION


@virtual
async def test_a_stop_without_the_server_is_not_held_up() -> None:
    async with contenders("a") as (_, a):
        a.start()
        await until(lambda: a.leads, 1)
        a.client.reachable, a.client.hang = False, 3600.0
        began = now()
        await a.stop()
        assert now() - began <= 3.01


@pytest.mark.parametrize(("duration", "deadline", "retry"), [(10, 10, 2), (15, 2, 2), (15, 10, 0), (61, 10, 2)])
def test_times_that_cannot_be_safe_are_refused(duration: float, deadline: float, retry: float) -> None:
    with pytest.raises(ValueError, match="duration > renew_deadline > retry > 0"):
        Elector(None, "n", "l", "me", duration=duration, renew_deadline=deadline, retry=retry)  # type: ignore[arg-type]


def test_an_empty_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="identity"):
        Elector(None, "n", "l", "")  # type: ignore[arg-type]


EVENTS = st.sampled_from(
    ["freeze", "thaw", "partition", "hang", "heal", "stop", "start", "wall", "slow", "errors", "wait"]
)


@given(
    steps=st.lists(st.tuples(EVENTS, st.integers(0, 2), st.floats(0, 20)), max_size=30),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_two_writers_and_in_the_end_one(steps: list[tuple[str, int, float]], seed: int) -> None:
    """Every replica that runs asks its fence each 0.2 s; a moment at which two may write is a failure.

    So is one at which a request of another, which may last as long as that one's fence said, may still be under way.
    """

    async def main() -> None:
        async with contenders("a", "b", "c", seed=seed) as (api, *replicas):
            done = False
            under_way: dict[str, float] = {}

            async def judge() -> None:
                while not done:
                    may = [each for each in replicas if each.client.gate.is_set() and each.elector.is_leader()]
                    assert len(may) <= 1, [each.name for each in may]
                    for each in replicas:
                        if each.task is None:
                            under_way.pop(each.name, None)  # stopped: its requests were cancelled before the release
                    for each in may:
                        assert all(end <= now() + 1e-6 for name, end in under_way.items() if name != each.name)
                        under_way[each.name] = now() + each.elector.remaining()
                    await asyncio.sleep(0.2)

            judging = asyncio.create_task(judge())
            for each in replicas:
                each.start()
            for step, which, seconds in steps:
                await _event(api, replicas[which], step, seconds)
                await asyncio.sleep(seconds)
                if judging.done():
                    break
            api.clear_faults()
            for each in replicas:
                each.thaw()
                each.client.reachable, each.client.latency = True, lambda: 0.01
                if each.task is None:
                    each.start()
            await asyncio.sleep(60)
            assert sum(each.leads for each in replicas) == 1
            done = True
            await judging

    run_virtual(main)


async def _event(api: KubeApi, replica: Contender, step: str, seconds: float) -> None:
    match step:
        case "freeze":
            replica.freeze()
        case "thaw":
            replica.thaw()
        case "partition" | "hang":
            replica.client.hang = 100.0 if step == "hang" else 0.0
            replica.client.reachable = False
        case "heal":
            replica.client.reachable = True
        case "stop":
            if replica.task is not None and replica.client.gate.is_set():
                await replica.stop()
        case "start":
            if replica.task is None:
                replica.start()
        case "wall":
            replica.wall_off_by += timedelta(seconds=(seconds - 10) * 1000)
        case "slow":
            replica.client.latency = lambda: seconds / 4
        case "errors":
            api.fail("leases", None, 500, times=int(seconds))
