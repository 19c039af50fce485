"""Any sequence of reports, calls, endings, restarts and clock steps, through model and arithmetic."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_events import Subject, heartbeat, link, poll, poll_timeout, ready, shutdown

from switchtender.load.model import Policy
from switchtender.load.states import REASONS, STATES

core = pytest.importorskip("switchtender._core", reason="the packet core is not built")

NODES = 3

counts = st.integers(0, 300) | st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63])
node = st.integers(0, NODES - 1)
steps = st.one_of(
    st.tuples(st.just("report"), node, counts, counts, st.booleans()),
    st.tuples(st.just("report"), node, st.integers(0, 100), st.just(100), st.booleans()),
    st.tuples(st.just("assign"), node, st.integers(1, 40)),
    st.tuples(st.just("end"), node, st.integers(1, 40)),
    st.tuples(st.just("restart"), node),
    st.tuples(st.just("clock"), node, st.floats(-1e5, 1e5)),
    st.tuples(st.just("wait"), node, st.floats(0, 90)),
    st.tuples(
        st.just("event"), node, st.sampled_from(["closed", "reset", "authenticated", "pause", "ready", "silent"])
    ),
    st.tuples(st.just("shutdown"), node, st.booleans()),
    st.tuples(st.just("inexact"), node),
)
policies = st.builds(
    Policy,
    legs_per_call=st.integers(1, 4),
    cap=st.none() | st.floats(0, 200),
    headroom=st.none() | st.integers(0, 50).map(float),
    when_stale=st.sampled_from(["Auto", "Exclude", "LastValue", "StaticWeight"]),
)


class World:
    """Three nodes under one balancer; the counts are the packet core's."""

    def __init__(self, policy, replicas):
        self.now = 1000.0
        self.nodes = [Subject(policy, replicas) for _ in range(NODES)]
        self.assigned = [0] * NODES
        self.ended = [0] * NODES
        self.created = [0] * NODES
        self.booted = [0.0] * NODES
        self.uuids = ["boot-0"] * NODES
        self.offsets = [0.0] * NODES

    def do(self, kind, index, *arguments):
        self.now += 0.01
        getattr(self, "_" + kind)(index, self.nodes[index], *arguments)

    def _report(self, index, subject, sessions, most, is_poll):
        subject.totals.assigned, subject.totals.ended = self.assigned[index], self.ended[index]
        uptime, since = self.now - self.booted[index], self.created[index]
        if is_poll:
            subject.sees(poll(self.now, sessions, most, uptime=uptime, since=since))
        else:
            offset, uuid = self.offsets[index], self.uuids[index]
            subject.sees(heartbeat(self.now, sessions, most, offset=offset, uuid=uuid, uptime=uptime, since=since))
        subject.totals.exact = True

    def _assign(self, index, _, calls):
        self.assigned[index] += calls
        self.created[index] += calls

    def _end(self, index, _, calls):
        self.ended[index] += calls

    def _restart(self, index, _):
        self.booted[index], self.created[index] = self.now, 0
        self.uuids[index] = f"boot-{self.now}"

    def _clock(self, index, _, offset):
        self.offsets[index] = offset

    def _wait(self, _index, _subject, seconds):
        self.now += seconds

    def _event(self, _, subject, name):
        events = {"pause": ready(self.now, paused=True), "ready": ready(self.now)}
        subject.sees(events.get(name) or (poll_timeout(self.now) if name == "silent" else link(name, self.now)))

    def _shutdown(self, _, subject, requested):
        subject.sees(shutdown(self.now, requested=requested))

    def _inexact(self, _, subject):
        subject.totals.exact = False

    def evaluations(self):
        """Per node what the packet core makes of what is published; None where it takes no new calls."""
        found = []
        for index, subject in enumerate(self.nodes):
            state, published = subject.publish(self.now)
            assert state.name in STATES
            assert state.reason in REASONS
            numbers = [published.sessions, published.max_sessions, published.headroom, published.share]
            assert all(math.isfinite(number) and number >= 0 for number in numbers), published
            assert 0 < published.share <= 1
            assert 0 <= published.weight_factor <= 1
            evaluation = core.evaluate(
                sessions=published.sessions,
                max_sessions=published.max_sessions,
                cap=published.cap,
                headroom=published.headroom,
                share=published.share,
                legs_per_call=subject.policy.legs_per_call,
                assigned=self.assigned[index] - published.baseline_assigned,
                ended=self.ended[index] - published.baseline_ended,
            )
            for number in (evaluation.effective, evaluation.capacity, evaluation.free, evaluation.utilization):
                assert math.isfinite(number), evaluation
            assert evaluation.effective >= 0
            assert evaluation.capacity >= 0
            assert 0 <= evaluation.utilization <= 1
            found.append(evaluation if published.admission == "open" else None)
        return found


@settings(max_examples=150, deadline=None)
@given(policies, st.integers(1, 8), st.lists(steps, max_size=40), st.integers(0, 2**32))
def test_no_sequence_gives_nan_negative_capacity_or_a_full_node_over_a_free_one(policy, replicas, sequence, seed):
    world = World(policy, replicas)
    chooser = core.Chooser("LeastLoad", seed)
    for happening in sequence:
        world.do(*happening)
        evaluations = world.evaluations()
        admitted = [index for index, evaluation in enumerate(evaluations) if evaluation is not None]
        choice = chooser.choose([(evaluations[index], 1.0) for index in admitted], set())
        eligible = [index for index in admitted if evaluations[index].eligible]
        if choice is None:
            assert not eligible
        else:
            index = admitted[choice]
            assert index in eligible
            published = world.nodes[index].publish(world.now)[1]
            within = published.max_sessions - 1 if policy.cap is None else min(published.max_sessions - 1, policy.cap)
            assert evaluations[index].effective + policy.legs_per_call <= within + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=30), st.integers(1, 4))
def test_a_lone_balancer_never_fills_a_node_past_its_limit(seconds, legs):
    """The node counts honestly and all calls are ours: between two reports any number of calls is offered and any
    number of calls ends; the node never sees an INVITE that it has no session for."""
    most, live, now = 40, 0, 1000.0
    subject = Subject(Policy(legs_per_call=legs))
    assigned = ended = created = 0
    for offered, endings in seconds:
        now += 1.0
        subject.totals.assigned, subject.totals.ended = assigned, ended
        subject.sees(poll(now, live * legs, most, since=created))
        _, published = subject.publish(now)
        for call in range(max(offered, endings)):
            if call < endings and live:
                live, ended = live - 1, ended + 1
            evaluation = core.evaluate(
                sessions=published.sessions,
                max_sessions=published.max_sessions,
                cap=None,
                headroom=published.headroom,
                share=published.share,
                legs_per_call=legs,
                assigned=assigned - published.baseline_assigned,
                ended=ended - published.baseline_ended,
            )
            if call < offered and evaluation.eligible:
                live, assigned, created = live + 1, assigned + 1, created + legs
                assert live * legs < most
