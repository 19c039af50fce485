"""What the groups of a node say of it together: whether it is probed, and what it may carry."""

from __future__ import annotations

import pytest

from switchtender.config.snapshot import GroupMembers
from switchtender.control.balancer import _policy
from switchtender.control.probing import target_of, thresholds
from switchtender_api.static_members import set_members
from switchtender_api.v1alpha1 import BalancerGroup


def entry(name="ivr", resources=(), **spec):
    static = [{"name": "fs1", "sip": "sip:192.0.2.1", "resources": list(resources)}]
    group = BalancerGroup.model_validate({"metadata": {"name": name}, "spec": {"members": {"static": static}, **spec}})
    return GroupMembers(group, set_members(group))


@pytest.mark.parametrize("options", [None, {"interval": "0s"}])
def test_a_group_that_wants_no_probing_leaves_it_to_the_others(options):
    silent = entry(health={"options": options})
    assert (thresholds([silent]), target_of([silent], silent.members, {})) == (None, None)
    asking = entry("conf", health={"options": {"interval": "5s", "failures": 4}})
    target = target_of([silent, asking], [*silent.members, *asking.members], {})
    assert (thresholds([silent, asking]).failures, target.interval) == (4, 5.0)


def test_a_node_carries_what_the_least_of_its_groups_and_its_own_entries_say():
    channels = {"resources": [{"name": "ch", "source": "Reported"}], "legsPerCall": 1}
    plain = entry(capacity={**channels, "maxSessions": 50})
    own = entry("conf", resources=[{"name": "ch", "limit": 30}], capacity=channels)
    policy = _policy([plain, own], [*plain.members, *own.members], None)
    assert (policy.cap, policy.measured) == (30.0, False)
    assert _policy([plain], plain.members, None).cap == 50.0
