"""Which names a plan asks for, how much of each is asked, and where it then sends."""

from __future__ import annotations

import pytest

from switchtender.config.names import Name, Target, hop_targets, member_target, names_of
from switchtender_api.static_members import set_members
from switchtender_api.v1alpha1 import BalancerGroup


def group(*members, sip=None, hops=()):
    static = [{"name": f"fs{number}", "sip": uri} for number, uri in enumerate(members)]
    spec = {"members": {"static": static}, "sip": sip or {}}
    if hops:
        spec["egress"] = {"nextHops": [{"sip": uri} for uri in hops]}
    return BalancerGroup.model_validate({"metadata": {"name": "ivr"}, "spec": spec})


@pytest.mark.parametrize(
    ("uri", "sip", "name"),
    [
        ("sip:FS1.example.com", {}, Name("fs1.example.com", lookup="Any")),
        ("sip:fs1.example.com;transport=tcp", {}, Name("fs1.example.com", 5060, "TCP", "Service")),
        ("sip:fs1.example.com:5080", {}, Name("fs1.example.com", 5080, "UDP", "Address")),
        ("sip:fs1.example.com:5080;transport=tcp", {}, Name("fs1.example.com", 5080, "TCP", "Address")),
        ("sip:fs1.example.com", {"port": 5090, "transport": "TCP"}, Name("fs1.example.com", 5090, "TCP", "Address")),
    ],
)
def test_of_a_member_dns_is_asked_what_its_uri_and_its_group_leave_open(uri, sip, name):
    one = group(uri, sip=sip)
    assert list(names_of(one, set_members(one))) == [name]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sip:carrier.example.com", Name("carrier.example.com", lookup="Any")),
        ("sip:carrier.example.com;transport=udp", Name("carrier.example.com", 5060, "UDP", "Service")),
        ("sip:carrier.example.com:5062", Name("carrier.example.com", 5062, "UDP", "Address")),
    ],
)
def test_of_a_next_hop_dns_is_asked_what_its_uri_leaves_open(uri, name):
    one = group("sip:192.0.2.1", hops=[uri, "sip:[2001:db8::1]"], sip={"port": 5090, "transport": "TCP"})
    assert list(names_of(one, set_members(one))) == [name], "the group speaks of its nodes alone"


def test_an_address_is_no_question():
    one = group("sip:192.0.2.1:5080;transport=tcp", hops=["sip:192.0.2.9;transport=tcp"])
    (member,) = set_members(one)
    assert member_target(member, {}) == Target("192.0.2.1", 5080, "TCP")
    assert hop_targets(one.spec.egress.next_hops[0], {}) == (Target("192.0.2.9", 5060, "TCP"),)


def test_a_name_is_where_it_was_found_and_nowhere_before():
    one = group("sip:fs1.example.com", hops=["sip:carrier.example.com"])
    (member,), (hop,) = set_members(one), one.spec.egress.next_hops
    assert member_target(member, {}) is None
    assert hop_targets(hop, {}) == ()
    first, second = Target("192.0.2.5", 5070, "TCP"), Target("192.0.2.6", 5070, "TCP", rank=1)
    resolved = dict.fromkeys(names_of(one, [member]), (first, second))
    assert member_target(member, resolved) == first
    assert hop_targets(hop, resolved) == (first, second)
