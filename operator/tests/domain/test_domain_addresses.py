"""Where a pod takes SIP, and where its Event Socket is."""

import json
from ipaddress import ip_address, ip_network

import pytest
from domain_worlds import raw_pod
from hypothesis import given
from hypothesis import strategies as st

from switchtender_api.v1alpha1.group import Sip
from switchtender_operator.domain.addresses import Location, NoAddress, kept_annotations, locate
from switchtender_operator.domain.members import Destinations
from switchtender_operator.domain.pods import ANNOTATION_NETWORK_STATUS, project

ANYWHERE = Destinations((ip_network("0.0.0.0/0"), ip_network("::/0")), frozenset({ip_address("10.96.0.1")}))
DUAL = ["10.0.1.7", "fd00::7"]
NETWORKS = json.dumps(
    [
        {"name": "cbr0", "ips": ["10.0.1.7"], "default": True},
        {"name": "voice/sip-net", "interface": "net1", "ips": ["198.51.100.7", "2001:db8::7"]},
        {"name": "other/media", "ips": []},
    ]
)


def sip(kind: str = "PodIP", name: str | None = None, family: str = "IPv4") -> Sip:
    return Sip.model_validate({"addressFrom": {"type": kind, "name": name}, "ipFamily": family})


def located(raw: dict, policy: Sip, destinations: Destinations = ANYWHERE) -> Location | None:
    pod = project(raw, keep=kept_annotations(policy))
    assert pod is not None
    return locate(pod, policy, destinations.refusal)


def refusal(raw: dict, policy: Sip, destinations: Destinations = ANYWHERE) -> str:
    with pytest.raises(NoAddress) as caught:
        located(raw, policy, destinations)
    return str(caught.value)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (sip(), Location(("10.0.1.7", "fd00::7"), "10.0.1.7")),
        (sip(family="IPv6"), Location(("fd00::7", "10.0.1.7"), "fd00::7")),
        (sip("HostIP"), Location(("192.168.1.3", "10.0.1.7", "fd00::7"), "10.0.1.7")),
        (sip("Annotation", "example.com/sip"), Location(("203.0.113.9", "10.0.1.7", "fd00::7"), "10.0.1.7")),
        (
            sip("Annotation", "example.com/sip", "IPv6"),
            Location(("2001:db8::9", "10.0.1.7", "fd00::7"), "fd00::7"),
        ),
        (sip("NetworkStatus", "sip-net"), Location(("198.51.100.7", "10.0.1.7", "fd00::7"), "10.0.1.7")),
        (sip("NetworkStatus", "voice/sip-net"), Location(("198.51.100.7", "10.0.1.7", "fd00::7"), "10.0.1.7")),
        (sip("NetworkStatus", "voice/sip-net", "IPv6"), Location(("2001:db8::7", "10.0.1.7", "fd00::7"), "fd00::7")),
    ],
    ids=str,
)
def test_sip_by_choice_and_esl_at_the_pod(policy: Sip, expected: Location):
    annotations = {"example.com/sip": "203.0.113.9, 2001:DB8::9", ANNOTATION_NETWORK_STATUS: NETWORKS}
    assert located(raw_pod("fs-0", ips=DUAL, annotations=annotations), policy) == expected


def test_a_pod_on_its_hosts_network_has_one_address():
    raw = raw_pod("fs-0", "192.168.1.3", host="192.168.1.3")
    assert located(raw, sip("HostIP")) == Location(("192.168.1.3",), "192.168.1.3")


def test_esl_takes_the_other_family_where_the_pod_lacks_the_groups():
    raw = raw_pod("fs-0", "10.0.1.7", annotations={"example.com/sip": "2001:db8::9"})
    location = located(raw, sip("Annotation", "example.com/sip", "IPv6"))
    assert location == Location(("2001:db8::9", "10.0.1.7"), "10.0.1.7")


@pytest.mark.parametrize("policy", [sip(), sip("HostIP"), sip("Annotation", "a.b/c"), sip("NetworkStatus", "n")])
def test_a_pod_without_an_address_is_not_there_yet(policy: Sip):
    assert located(raw_pod("fs-0", None), policy) is None


@pytest.mark.parametrize(
    ("raw", "policy", "message"),
    [
        (raw_pod("p"), sip(family="IPv6"), "the pod has no IPv6 address (sip.ipFamily)"),
        (raw_pod("p"), sip("HostIP", family="IPv6"), "the pod's host has no IPv6 address (sip.ipFamily)"),
        (raw_pod("p"), sip("Annotation", "a.b/c"), "it has no annotation a.b/c"),
        (
            raw_pod("p", annotations={"a.b/c": "fs.example.com"}),
            sip("Annotation", "a.b/c"),
            'annotation a.b/c: "fs.example.com" is not an IP address',
        ),
        (
            raw_pod("p", annotations={"a.b/c": "192.0.2.7,"}),
            sip("Annotation", "a.b/c"),
            'annotation a.b/c: "": the host is neither an IP address nor a host name',
        ),
        (
            raw_pod("p", annotations={"a.b/c": "::ffff:192.0.2.7"}),
            sip("Annotation", "a.b/c", "IPv6"),
            'annotation a.b/c: "::ffff:192.0.2.7": an IPv4 address within an IPv6 one',
        ),
        (
            raw_pod("p", annotations={"a.b/c": "fe80::1%eth0"}),
            sip("Annotation", "a.b/c", "IPv6"),
            'annotation a.b/c: "fe80::1%eth0": a zone is not accepted in an address',
        ),
        (
            raw_pod("p", annotations={"a.b/c": "0.0.0.0"}),
            sip("Annotation", "a.b/c"),
            'annotation a.b/c: "0.0.0.0": nobody can be reached at this address',
        ),
        (raw_pod("p"), sip("NetworkStatus", "sip-net"), f"it has no annotation {ANNOTATION_NETWORK_STATUS}"),
        (
            raw_pod("p", annotations={ANNOTATION_NETWORK_STATUS: "{"}),
            sip("NetworkStatus", "sip-net"),
            f"annotation {ANNOTATION_NETWORK_STATUS} is not JSON",
        ),
        (
            raw_pod("p", annotations={ANNOTATION_NETWORK_STATUS: NETWORKS}),
            sip("NetworkStatus", "media"),
            f"annotation {ANNOTATION_NETWORK_STATUS} names no network media",
        ),
        (
            raw_pod("p", annotations={ANNOTATION_NETWORK_STATUS: NETWORKS}),
            sip("NetworkStatus", "other/media"),
            "network other/media has no IPv4 address (sip.ipFamily)",
        ),
        (
            raw_pod("p", "127.0.0.1"),
            sip(),
            "SIP address 127.0.0.1: no node is at a loopback or link-local address in a cluster",
        ),
        (
            raw_pod("p", annotations={"a.b/c": "169.254.169.254"}),
            sip("Annotation", "a.b/c"),
            "SIP address 169.254.169.254: no node is at a loopback or link-local address in a cluster",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_a_pod_has_no_usable_address(raw: dict, policy: Sip, message: str):
    assert refusal(raw, policy) == message


def test_the_api_server_is_no_node():
    raw = raw_pod("p", annotations={"a.b/c": "10.96.0.1"})
    assert refusal(raw, sip("Annotation", "a.b/c")).startswith("SIP address 10.96.0.1: ")


def test_destinations_bind_the_event_socket_too():
    outside = Destinations((ip_network("203.0.113.0/24"),), frozenset())
    raw = raw_pod("p", annotations={"a.b/c": "203.0.113.9"})
    assert refusal(raw, sip("Annotation", "a.b/c"), outside) == (
        "Event Socket address 10.0.1.7: destinations.allow of the balancer holds no network with this address"
    )


def test_a_pods_other_addresses_are_left_out_where_no_node_may_be():
    inside = Destinations((ip_network("10.0.0.0/8"),), frozenset())
    assert located(raw_pod("p", ips=DUAL), sip(), inside) == Location(("10.0.1.7",), "10.0.1.7")


NETWORK_STATUS_LIKE = ["[]", "[1]", '[{"name":"n"}]', '[{"name":"n","ips":[7]}]', "[" * 9]


@given(value=st.text(max_size=60) | st.sampled_from(NETWORK_STATUS_LIKE))
@pytest.mark.parametrize("policy", [sip("Annotation", "a.b/c"), sip("NetworkStatus", "n")])
def test_an_annotation_gives_an_address_or_a_reason_whatever_it_holds(policy: Sip, value: str):
    (annotation,) = kept_annotations(policy)
    pod = project(raw_pod("p", annotations={annotation: value}), keep=frozenset({annotation}))
    assert pod is not None
    outcome: Location | NoAddress | None
    try:
        outcome = locate(pod, policy, ANYWHERE.refusal)
    except NoAddress as reason:
        outcome = reason
    if isinstance(outcome, Location):
        assert ip_address(outcome.addresses[0]).version == 4
    else:
        assert str(outcome)


def test_an_ipv4_address_within_an_ipv6_one_passes_by_no_rule():
    mapped = ["10.0.1.7", "::ffff:127.0.0.1"]
    assert located(raw_pod("a", ips=mapped), sip()) == Location(("10.0.1.7",), "10.0.1.7")
    assert "IPv4 address within" in refusal(raw_pod("a", ips=["::ffff:10.96.0.1"]), sip("HostIP"))
