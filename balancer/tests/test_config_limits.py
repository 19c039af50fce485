"""Limits of resources: the parts of replicas, and which limit holds for a node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.config.limits import WHOLE, Part, counted, limits_of, own_cap, part_of, parts_of
from switchtender_api.static_members import set_members
from switchtender_api.v1alpha1 import BalancerGroup


@given(st.integers(0, 10**6), st.integers(1, 64))
def test_the_parts_of_a_limit_sum_up_to_it_and_are_alike(limit, replicas):
    parts = [part_of(limit, Part(replicas, rank)) for rank in range(replicas)]
    assert sum(parts) == limit
    assert max(parts) - min(parts) <= 1
    assert part_of(limit, WHOLE) == limit


@given(st.integers(0, 1000), st.integers(1, 16), st.data())
def test_no_replica_more_gives_any_other_more(limit, replicas, data):
    rank = data.draw(st.integers(0, replicas - 1))
    assert part_of(limit, Part(replicas + 1, rank)) <= part_of(limit, Part(replicas, rank))


@pytest.mark.parametrize(("replicas", "rank"), [(0, 0), (2, 2), (1, -1)])
def test_a_rank_is_one_of_the_replicas(replicas, rank):
    with pytest.raises(ValueError, match="no rank"):
        Part(replicas, rank)


def group(resources, *members, legs=2):
    static = [
        {"name": f"fs{number}", "sip": f"sip:192.0.2.{number + 1}", "resources": own}
        for number, own in enumerate(members)
    ]
    spec = {"members": {"static": static}, "capacity": {"resources": resources, "legsPerCall": legs}}
    return BalancerGroup.model_validate({"metadata": {"name": "ivr"}, "spec": spec})


MIXED = [{"name": "ch", "source": "Reported"}, {"name": "conf", "limit": 10}, {"name": "fax", "limit": 0}]


def test_a_member_has_the_groups_limits_but_for_its_own():
    one = group(MIXED, [], [{"name": "conf", "limit": 5}, {"name": "fax", "limit": 3}], [{"name": "ch", "limit": 30}])
    assert counted(one) == ("conf", "fax")
    plain, own, capped = set_members(one)
    assert limits_of(one, plain) == {"conf": 10, "fax": 0}
    assert limits_of(one, own) == {"conf": 5, "fax": 3}
    assert limits_of(one, capped) == {"conf": 10, "fax": 0}, "what is reported is not counted, mixed as they may be"
    assert parts_of(limits_of(one, own), Part(2, 0)) == {"conf": 3, "fax": 2}
    assert parts_of(limits_of(one, own), Part(2, 1)) == {"conf": 2, "fax": 1}


def test_a_number_written_down_for_what_others_report_caps_the_sessions_of_a_node():
    one = group(MIXED, [], [{"name": "ch", "limit": 30}], [{"name": "conf", "limit": 30}])
    assert [own_cap(one, member) for member in set_members(one)] == [None, 60, None]
    single = group(MIXED, [{"name": "ch", "limit": 30}], legs=1)
    assert own_cap(single, set_members(single)[0]) == 30
