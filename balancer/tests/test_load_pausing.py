"""Whether a node is to be paused or resumed: what is ours to resume, and how often it is tried."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.load.pausing import (
    FIRST_GAP,
    LONGEST_GAP,
    Pausing,
    answered,
    restarted,
    seen,
    told,
    unanswered,
)

OURS = Pausing(ours=True)


@pytest.mark.parametrize(
    ("known", "intent", "paused", "wish"),
    [
        (Pausing(), "Pause", False, True),
        (Pausing(), "Pause", True, None),
        (OURS, "Pause", False, True),
        (OURS, "Pause", True, None),
        (OURS, "Keep", True, None),
        (OURS, "Resume", True, False),
        (OURS, "Resume", False, None),
        (Pausing(), "Resume", True, None),
        (Pausing(), "Resume", False, None),
        (Pausing(), "Keep", False, None),
    ],
)
def test_what_a_check_leads_to(known, intent, paused, wish):
    assert seen(known, intent, 0.0, paused=paused)[1] == wish


def test_a_node_is_ours_from_the_moment_it_is_asked_for_the_answer_may_be_lost():
    known, _ = seen(Pausing(), "Pause", 0.0, paused=False)
    assert (known.ours, unanswered(known).ours, answered(known, accepted=True).ours) == (True, True, True)
    assert not answered(known, accepted=False).ours


def test_nothing_is_asked_while_an_answer_is_awaited():
    known, _ = seen(Pausing(), "Pause", 0.0, paused=False)
    assert seen(known, "Pause", 1000.0, paused=False) == (known, None)
    assert seen(known, "Resume", 1000.0, paused=True) == (known, None)


def test_what_is_seen_to_be_resumed_is_no_longer_ours():
    assert seen(OURS, "Resume", 0.0, paused=False)[0] == Pausing()
    assert seen(OURS, "Resume", 0.0, paused=True)[0].ours, "not before it is seen"


def test_a_new_process_of_the_node_is_not_ours_unless_it_was_just_asked():
    assert restarted(OURS) == Pausing()
    known, _ = seen(Pausing(), "Pause", 0.0, paused=False)
    assert answered(restarted(known), accepted=True).ours


def test_what_another_balancer_paused_is_resumed_too():
    assert seen(told(Pausing()), "Resume", 0.0, paused=True)[1] is False


def test_a_node_that_refuses_is_asked_ever_more_seldom():
    known, now, asked = Pausing(), 0.0, []
    while now < 3600.0:
        known, wish = seen(known, "Pause", now, paused=False)
        if wish is not None:
            asked.append(now)
            known = answered(known, accepted=False)
        now += 1.0
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert gaps[0] == FIRST_GAP
    assert all(one <= other for one, other in itertools.pairwise(gaps))
    assert max(gaps) == LONGEST_GAP
    assert not known.ours


def test_one_that_did_what_it_was_asked_is_asked_at_once_when_it_has_to_be_again():
    known, _ = seen(Pausing(), "Pause", 0.0, paused=False)
    known, _ = seen(answered(known, accepted=True), "Pause", 0.1, paused=True)
    assert seen(known, "Pause", 0.2, paused=False)[1] is True


class Node:
    """What a node is, and who made it so last."""

    def __init__(self):
        self.paused, self.by = False, None

    def set(self, by, *, paused):
        if self.paused != paused:
            self.paused, self.by = paused, by if paused else None


steps = st.lists(
    st.tuples(
        st.sampled_from(["pause", "resume", "drain", "undrain", "check", "lose", "restart"]), st.sampled_from("ab")
    ),
    max_size=60,
)


@given(steps)
def test_a_person_who_paused_the_node_is_never_overruled_and_nothing_of_ours_is_left_behind(steps):
    """Two balancers and a person on one node, with answers that may be lost after the node has acted."""
    node, balancers, intent, now = Node(), {"a": Pausing(), "b": Pausing()}, "Resume", 0.0

    def check(name, *, lost=False):
        known, wish = seen(balancers[name], intent, now, paused=node.paused)
        if wish is False:
            assert node.by != "person before us"
        if wish is not None:
            node.set(name, paused=wish)
            known = unanswered(known) if lost else answered(known, accepted=True)
        balancers[name] = known

    for step, name in steps:
        now += 1000.0
        if step == "pause" and not any(known.ours for known in balancers.values()):
            node.set("person before us", paused=True)
        elif step == "resume":
            node.set(None, paused=False)
        elif step in {"drain", "undrain"}:
            intent = "Pause" if step == "drain" else "Resume"
        elif step == "restart":
            node.set(None, paused=False)
            balancers = {name: restarted(known) for name, known in balancers.items()}
        elif step in {"check", "lose"}:
            check(name, lost=step == "lose")
    intent = "Resume"
    for name in ("a", "b", "a", "b"):
        now += 1000.0
        check(name)
    assert not node.paused or node.by == "person before us"
    if not node.paused:
        assert balancers == {"a": Pausing(), "b": Pausing()}
