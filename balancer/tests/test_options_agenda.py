"""When which node is probed and what each probe came to, in virtual time."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.drivers.options.agenda import Agenda, Target
from switchtender.drivers.options.message import Answer

NODE = Target(address=("192.0.2.11", 5060), interval=10.0, timeout=2.0)


class Network:
    """Records what is sent and told; answers as the test says."""

    def __init__(self, *, sent_by="192.0.2.1:40000", seed=1):
        self.sent, self.told, self.now = [], [], 0.0
        self.answers = lambda sending: None
        self.agenda = Agenda(
            lambda _: sent_by, self._send, lambda uid, probe: self.told.append((uid, probe)), random.Random(seed)
        )

    def _send(self, sending):
        self.sent.append((self.now, sending))
        status = self.answers(sending)
        if status is not None:
            self.answer(sending, status)

    def answer(self, sending, status, *, call_id=None, source=None):
        question = sending.question
        given = Answer(status, "Words", question.branch, call_id or question.call_id)
        self.agenda.receive(given, source or sending.target.address, self.now)

    def until(self, end):
        while self.agenda.deadline is not None and self.agenda.deadline <= end:
            self.now = self.agenda.deadline
            self.agenda.tick(self.now)
        self.now = end

    def first(self):
        self.now = self.agenda.deadline
        self.agenda.tick(self.now)
        return self.sent[-1][1]


@pytest.fixture
def network():
    return Network()


def test_every_node_is_asked_once_an_interval_and_spread_over_it(network):
    targets = {f"n{i}": Target(address=("192.0.2.11", 5060 + i), interval=10.0) for i in range(200)}
    network.answers = lambda sending: 200
    network.agenda.set_targets(targets, 0.0)
    network.until(10.0)
    first = {sending.target.address: at for at, sending in network.sent}
    assert len(first) == 200
    seconds = Counter(int(at) for at in first.values())
    assert all(5 <= seconds[second] <= 40 for second in range(10)), "not all in one moment"
    network.until(100.0)
    counts = Counter(uid for uid, _ in network.told)
    assert set(counts.values()) <= {9, 10, 11}
    assert network.agenda.open == 0


def test_an_answer_tells_its_status_and_round_trip(network):
    network.agenda.set_targets({"a": NODE}, 0.0)
    sending = network.first()
    network.now += 0.03
    network.answer(sending, 100)
    assert network.told == [], "100 is no answer"
    network.answer(sending, 503)
    [(uid, probe)] = network.told
    assert (uid, probe.answered, probe.status, probe.detail) == ("a", True, 503, "503 Words")
    assert probe.round_trip == pytest.approx(0.03)
    network.answer(sending, 200)
    assert len(network.told) == 1, "told once"


def test_a_code_that_does_not_count_is_a_failure_with_its_code(network):
    network.agenda.set_targets({"a": Target(address=NODE.address, codes=((), ("2xx",)))}, 0.0)
    network.answer(network.first(), 503)
    [(_, probe)] = network.told
    assert (probe.answered, probe.status) == (False, 503)


def test_silence_is_asked_again_at_doubling_gaps_until_the_time_is_over():
    network = Network()
    network.agenda.set_targets({"a": Target(address=NODE.address, timeout=10.0, interval=600.0)}, 0.0)
    network.first()
    begin = network.now
    network.until(begin + 20)
    assert [at - begin for at, _ in network.sent] == pytest.approx([0.0, 0.5, 1.5, 3.5, 7.5])
    assert len({sending.data for _, sending in network.sent}) == 1, "a retransmission is the same request"
    [(_, probe)] = network.told
    assert (probe.answered, probe.status, probe.round_trip, probe.detail) == (
        False,
        None,
        None,
        "no answer within 10 s",
    )
    assert (probe.sent, probe.received - probe.sent) == (begin, pytest.approx(10.0))


def test_over_tcp_nothing_is_sent_twice(network):
    network.agenda.set_targets({"a": Target(address=NODE.address, transport="TCP", interval=600.0)}, 0.0)
    network.first()
    network.until(network.now + 5)
    assert len(network.sent) == 1


@pytest.mark.parametrize(
    "wrong", [{"call_id": "another"}, {"source": ("192.0.2.66", 5060)}, {"source": ("192.0.2.11", 5061)}]
)
def test_an_answer_to_something_else_or_from_somebody_else_is_none(network, wrong):
    network.agenda.set_targets({"a": NODE}, 0.0)
    sending = network.first()
    network.answer(sending, 200, **wrong)
    assert network.told == []
    network.answer(sending, 200)
    assert len(network.told) == 1


def test_no_two_probes_share_an_identity(network):
    network.agenda.set_targets({"a": NODE, "b": Target(address=("192.0.2.12", 5060))}, 0.0)
    network.answers = lambda sending: 200
    network.until(200.0)
    for part in ("branch", "call_id", "tag"):
        assert len({getattr(sending.question, part) for _, sending in network.sent}) == len(network.sent)
    assert {sending.question.sender for _, sending in network.sent} == {"sip:switchtender@192.0.2.1:40000"}


def test_a_broken_connection_is_told_at_once_and_only_once(network):
    network.agenda.set_targets({"a": Target(address=NODE.address, transport="TCP")}, 0.0)
    sending = network.first()
    network.agenda.fail(sending.question.branch, "Connection refused", network.now)
    network.agenda.fail(sending.question.branch, "again", network.now)
    assert [(probe.answered, probe.detail) for _, probe in network.told] == [(False, "Connection refused")]


def test_without_a_way_the_probe_fails_unsent():
    network = Network(sent_by=None)
    network.agenda.set_targets({"a": NODE}, 0.0)
    network.until(11.0)
    assert network.sent == []
    assert [probe.detail for _, probe in network.told] == ["no way to its address from here"]


def test_a_reload_that_changes_nothing_keeps_everybodys_turn(network):
    network.answers = lambda sending: 200
    network.agenda.set_targets({"a": NODE}, 0.0)
    due = network.agenda.deadline
    for _ in range(3):
        network.agenda.set_targets({"a": Target(address=NODE.address)}, 0.0)
    assert network.agenda.deadline == due
    network.until(100.0)
    assert 9 <= len(network.told) <= 11


def test_who_left_or_changed_is_told_of_no_more(network):
    network.agenda.set_targets({"a": NODE}, 0.0)
    sending = network.first()
    moved = Target(address=("192.0.2.99", 5060))
    network.agenda.set_targets({"a": moved}, network.now)
    network.answer(sending, 200)
    assert network.told == []
    network.answers = lambda sending: 200
    network.until(network.now + 60)
    assert {sending.target for _, sending in network.sent[1:]} == {moved}
    network.agenda.set_targets({}, network.now)
    known = len(network.sent)
    network.until(network.now + 60)
    assert len(network.sent) == known
    assert network.agenda.deadline is None


@given(st.integers(0, 1000), st.lists(st.sampled_from([None, 100, 200, 503]), min_size=1, max_size=30))
def test_every_probe_has_exactly_one_outcome(seed, statuses):
    network = Network(seed=seed)
    script = iter(statuses)
    network.answers = lambda sending: next(script, None)
    network.agenda.set_targets({f"n{i}": Target(address=("192.0.2.1", 5000 + i)) for i in range(3)}, 0.0)
    network.until(50.0)
    network.agenda.set_targets({f"n{i}": Target(address=("192.0.2.1", 5000 + i)) for i in range(3)}, 50.0)
    network.until(60.0)
    branches = {sending.question.branch for _, sending in network.sent}
    assert len(network.told) + network.agenda.open == len(branches)
