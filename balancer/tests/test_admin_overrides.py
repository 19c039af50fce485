"""What operators override: kept over restarts, applied to members, and forgotten a day after the node left."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.config.overrides import Override, drained_since, overridden, strictest
from switchtender.config.snapshot import GroupMembers
from switchtender.control.admin import FILE, KEPT, Admin
from switchtender_api.v1alpha1 import BalancerGroup, SetMember
from switchtender_api.v1alpha1.members import Resource

FS1, FS2 = "voice/ivr/fs1@127.0.0.11:5060", "voice/ivr/fs2@127.0.0.12:5060"


class Directory:
    def __init__(self, text=None):
        self.text, self.writes = text, 0

    def read(self, name):
        assert name == FILE
        return self.text

    def write(self, name, text):
        assert name == FILE
        self.text, self.writes = text.encode(), self.writes + 1


def members(*uids, **rest):
    group = BalancerGroup.model_validate(
        {
            "metadata": {"name": "ivr", "namespace": "voice"},
            "spec": {"members": {"static": [{"name": "x", "sip": "sip:192.0.2.1"}]}},
        }
    )
    made = tuple(
        SetMember(uid=uid, name=uid.split("@")[0].split("/")[-1], addresses=("192.0.2.1",), **rest) for uid in uids
    )
    return (GroupMembers(group, made),)


states = st.tuples(st.sampled_from(["Drained", "Disabled"]), st.floats(0, 1e10)) | st.just((None, None))
overrides = st.builds(
    lambda state, weight, resources: Override(state[0], weight, resources, since=state[1]),
    states,
    st.none() | st.integers(1, 10_000),
    st.dictionaries(st.sampled_from(["ch", "conf", "rec"]), st.integers(0, 1000), max_size=3),
)


@given(st.dictionaries(st.sampled_from([FS1, FS2, "voice/ivr/fs3@x:1"]), overrides))
def test_what_was_set_is_there_after_a_restart(wanted):
    directory = Directory()
    Admin(directory).set(wanted)
    again = Admin(directory)
    assert again.overrides == {uid: override for uid, override in wanted.items() if override}


def test_what_an_older_version_kept_began_when_it_was_first_read():
    entry = {"uid": FS1, "state": "Drained", "weight": None, "resources": {}, "goneSince": None}
    directory = Directory(json.dumps({"format": 1, "members": [entry]}).encode())
    assert Admin(directory, lambda: 1000.0).overrides[FS1] == Override("Drained", since=1000.0)
    assert Admin(directory, lambda: 2000.0).overrides[FS1].since == 1000.0


def test_a_node_that_was_paused_from_here_is_known_after_a_restart_by_any_of_its_members():
    now = [1000.0]
    directory = Directory()
    Admin(directory, lambda: now[0]).remember_paused([FS1, FS2], paused=True)
    again = Admin(directory, lambda: now[0])
    assert (again.paused([FS2]), again.paused(["voice/ivr/fs3@x:1"])) == (True, False)
    again.remember_paused([FS1], paused=False)
    assert [Admin(directory).paused([uid]) for uid in (FS1, FS2)] == [False, True]
    again.present({FS1})
    assert again.paused([FS2]), "for a day a mistake in the file costs nothing"
    now[0] += KEPT + 1
    again.present({FS1})
    assert not Admin(directory).paused([FS2])


def test_a_pause_that_lasts_for_days_is_known_for_a_day_after_its_node_left_the_configuration():
    now = [1000.0]
    directory = Directory()
    admin = Admin(directory, lambda: now[0])
    admin.remember_paused([FS1], paused=True)
    admin.present({FS1})
    now[0] += 3 * KEPT
    admin.present(set())
    assert Admin(directory, lambda: now[0]).paused([FS1])
    now[0] += KEPT - 1
    admin.present({FS1})
    now[0] += KEPT - 1
    admin.present(set())
    assert admin.paused([FS1]), "it was there again in between"
    again = Admin(directory, lambda: now[0])
    now[0] += KEPT + 1
    again.present(set())
    assert not Admin(directory).paused([FS1])


def test_a_claim_that_changes_nothing_writes_nothing():
    directory = Directory()
    admin = Admin(directory)
    for paused in (False, True, True):
        admin.remember_paused([FS1], paused=paused)
    assert directory.writes == 1


@pytest.mark.parametrize(
    ("orders", "since"),
    [
        ([None], None),
        ([Override("Disabled", since=3.0)], None),
        ([Override("Drained", since=7.0), None, Override("Drained", since=5.0)], 5.0),
    ],
)
def test_a_node_is_drained_since_the_first_order_about_one_of_its_members(orders, since):
    assert drained_since(orders) == since


def test_what_ends_is_forgotten():
    directory = Directory()
    admin = Admin(directory)
    admin.set({FS1: Override("Drained"), FS2: Override(weight=3)})
    admin.set({FS1: Override()})
    assert set(Admin(directory).overrides) == {FS2}


def test_a_node_that_is_gone_keeps_its_override_for_a_day_of_absence():
    now = [1000.0]
    directory = Directory()
    admin = Admin(directory, lambda: now[0])
    admin.set({FS1: Override("Drained"), FS2: Override(weight=3)})
    admin.present({FS2})
    now[0] += KEPT - 1
    restarted = Admin(directory, lambda: now[0])
    restarted.present({FS2})
    assert set(restarted.overrides) == {FS1, FS2}, "a restart does not begin the day anew, nor end it"
    restarted.present({FS1, FS2})
    now[0] += KEPT
    restarted.present({FS2})
    assert set(restarted.overrides) == {FS1, FS2}, "it was there meanwhile"
    now[0] += KEPT + 1
    restarted.present({FS2})
    assert set(restarted.overrides) == {FS2}
    assert set(Admin(directory).overrides) == {FS2}


def test_a_plan_that_changes_nothing_writes_nothing():
    directory = Directory()
    admin = Admin(directory)
    admin.set({FS1: Override("Drained")})
    for _ in range(3):
        admin.present({FS1, FS2})
    assert directory.writes == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no JSON",
        b"[]",
        b"[" * 100_000,
        b'{"format": 2, "members": []}',
        b'{"format": 1}',
        b'{"format": 1, "members": [{"uid": "a"}]}',
        b'{"format": 1, "members": [{"uid": "a", "state": "X", "weight": null, "resources": {}, "goneSince": null}]}',
        b'{"format": 1, "members": [{"uid": "a", "state": null, "weight": 1, "resources": [], "goneSince": null}]}',
        b'{"format": 1, "members": [], "paused": ["a"]}',
    ],
)
def test_a_file_that_cannot_be_read_is_left_aside_with_a_warning(text, caplog):
    assert Admin(Directory(text)).overrides == {}
    assert "left aside" in caplog.text


def test_weights_and_resources_replace_those_of_the_configuration():
    configured = members(
        FS1, FS2, weight=2, resources=(Resource(name="conf", limit=5), Resource(name="ch", source="Reported"))
    )
    [entry] = overridden(configured, {FS1: Override(weight=7, resources={"conf": 9, "rec": 1})})
    first, second = entry.members
    assert (first.weight, {resource.name: resource.limit for resource in first.resources}) == (
        7,
        {"conf": 9, "ch": None, "rec": 1},
    )
    assert second is configured[0].members[1]


def test_a_state_changes_no_member_and_nothing_changes_nothing():
    configured = members(FS1, FS2)
    assert overridden(configured, {})[0] is configured[0]
    assert overridden(configured, {FS1: Override("Drained")})[0].members[0] is configured[0].members[0]


@pytest.mark.parametrize(
    ("states", "wanted"),
    [((), None), ((None,), None), ((None, "Drained"), "Drained"), (("Drained", "Disabled"), "Disabled")],
)
def test_of_one_nodes_members_the_strictest_stands(states, wanted):
    assert strictest(None if state is None else Override(state) for state in states) == wanted


def test_the_file_is_for_people_too():
    directory = Directory()
    Admin(directory).set({FS1: Override("Drained", 3, {"conf": 2}, since=1000.0)})
    assert json.loads(directory.text)["members"] == [
        {"uid": FS1, "state": "Drained", "since": 1000.0, "weight": 3, "resources": {"conf": 2}, "goneSince": None}
    ]
