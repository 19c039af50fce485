"""RFC 3263 against a name server on loopback that says what the test wants."""

import asyncio
import contextlib
import random
from collections import Counter

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from switchtender.drivers.dns.names import LONGEST, SHORTEST, Name, NotFoundError, Target
from switchtender.drivers.dns.rfc3263 import HOSTS_HOLD, Names, system_hosts


class Zone(asyncio.DatagramProtocol):
    """Answers from ``records``: (name, type) → texts, or a response code; NXDOMAIN for names that are not in it."""

    def __init__(self, records, ttl=60):
        self.records, self.ttl, self.asked = records, ttl, []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        query = dns.message.from_wire(data)
        [question] = query.question
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        found = self.records.get((name, kind))
        if isinstance(found, str):
            answer.set_rcode(dns.rcode.from_text(found))
        elif found:
            answer.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *found))
        elif name not in {known for known, _ in self.records}:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)


async def nobody(host):
    return []


@contextlib.asynccontextmanager
async def served(records, ttl=60, **rest):
    transport, zone = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Zone(records, ttl), local_addr=("127.0.0.62", 0)
    )
    try:
        port = transport.get_extra_info("sockname")[1]
        yield zone, Names([("127.0.0.62", port)], rng=random.Random(1), **{"hosts": nobody, **rest})
    finally:
        transport.close()


HOST = {("fs.example.com", "A"): ["192.0.2.1", "192.0.2.2"], ("fs.example.com", "AAAA"): ["2001:db8::1"]}
NAPTR = {
    ("example.com", "NAPTR"): [
        '30 10 "s" "SIPS+D2T" "" _sips._tcp.example.com.',
        '20 10 "s" "SIP+D2T" "" _sip._tcp.tcp.example.com.',
        '20 5 "S" "sip+d2u" "" _sip._udp.udp.example.com.',
        '10 1 "u" "E2U+sip" "!^.*$!sip:x@y!" .',
    ]
}
SRV = {
    ("_sip._udp.udp.example.com", "SRV"): ["20 0 5082 b.example.com.", "10 0 5080 a.example.com."],
    ("_sip._tcp.tcp.example.com", "SRV"): ["5 0 5090 a.example.com."],
    ("a.example.com", "A"): ["192.0.2.10"],
    ("b.example.com", "A"): ["192.0.2.11"],
}


async def test_a_port_in_the_uri_asks_for_addresses_alone():
    async with served(HOST) as (zone, names):
        found = await names.find(Name("fs.example.com", 5070, "TCP"))
    places = [(target.address, target.port, target.transport) for target in found.targets]
    assert sorted(places[:2]) == [("192.0.2.1", 5070, "TCP"), ("192.0.2.2", 5070, "TCP")], "in whatever order DNS says"
    assert places[2:] == [("2001:db8::1", 5070, "TCP")]
    assert {kind for _, kind in zone.asked} == {"A", "AAAA"}
    assert found.holds == 60.0


async def test_the_other_family_comes_first_where_it_is_preferred():
    async with served(HOST, family="IPv6") as (_, names):
        assert (await names.find(Name("fs.example.com"))).targets[0].address == "2001:db8::1"


async def test_a_transport_in_the_uri_asks_for_its_service():
    records = {("_sip._tcp.example.com", "SRV"): ["1 0 5061 a.example.com."], ("a.example.com", "A"): ["192.0.2.10"]}
    async with served(records) as (zone, names):
        found = await names.find(Name("example.com", transport="TCP", lookup="Service"))
    assert found.targets == (Target("192.0.2.10", 5061, "TCP"),)
    assert "NAPTR" not in {kind for _, kind in zone.asked}


async def test_nothing_in_the_uri_asks_for_naptr_and_the_domain_decides():
    async with served(NAPTR | SRV) as (zone, names):
        found = await names.find(Name("example.com", lookup="Any"))
    assert [(target.address, target.port, target.transport, target.rank) for target in found.targets] == [
        ("192.0.2.10", 5080, "UDP", 0),
        ("192.0.2.11", 5082, "UDP", 1),
        ("192.0.2.10", 5090, "TCP", 2),
    ]
    assert not [name for name, _ in zone.asked if "sips" in name], "TLS is not spoken"


@pytest.mark.parametrize("refusal", [None, "SERVFAIL", "NOTIMP"])
async def test_without_naptr_srv_of_each_transport_is_asked_for(refusal):
    records = {
        ("example.com", "A"): ["192.0.2.9"],
        ("_sip._tcp.example.com", "SRV"): ["1 0 5061 a.example.com."],
        ("a.example.com", "A"): ["192.0.2.10"],
    }
    if refusal:
        records["example.com", "NAPTR"] = refusal
    async with served(records) as (_, names):
        found = await names.find(Name("example.com", lookup="Any"))
    assert [(target.address, target.transport) for target in found.targets] == [("192.0.2.10", "TCP")]


@pytest.mark.parametrize("lookup", ["Any", "Service"])
async def test_without_any_service_the_host_itself_is_meant(lookup):
    async with served({("fs.example.com", "A"): ["192.0.2.1"]}) as (_, names):
        found = await names.find(Name("fs.example.com", lookup=lookup))
    assert found.targets == (Target("192.0.2.1", 5060, "UDP"),)


@pytest.mark.parametrize("service", ["0 0 0 .", "0 0 0 example.com."])
async def test_a_service_that_is_declared_not_to_be_there_is_not(service):
    """Not at the host itself, either (RFC 2782); and at port 0 is nobody."""
    records = {("_sip._udp.example.com", "SRV"): [service], ("example.com", "A"): ["192.0.2.9"]}
    async with served(records) as (_, names):
        with pytest.raises(NotFoundError, match="names no address"):
            await names.find(Name("example.com", lookup="Service"))


async def test_a_server_that_fails_on_srv_does_not_send_us_to_the_host_instead():
    records = {("_sip._udp.example.com", "SRV"): "SERVFAIL", ("example.com", "A"): ["192.0.2.9"]}
    async with served(records) as (_, names):
        with pytest.raises(NotFoundError, match=r"does not say where _sip\._udp\.example\.com is") as refused:
            await names.find(Name("example.com", lookup="Service"))
    assert refused.value.holds == SHORTEST


@pytest.mark.parametrize(("ttl", "holds"), [(0, SHORTEST), (30, 30.0), (86_400, LONGEST)])
async def test_an_answer_holds_for_its_ttl_within_bounds(ttl, holds):
    async with served(HOST, ttl) as (_, names):
        assert (await names.find(Name("fs.example.com"))).holds == holds


async def test_the_shortest_life_on_the_way_counts():
    async with served(NAPTR | SRV) as (zone, names):
        zone.ttl = 300
        asked = zone.datagram_received

        def shorter(data, addr):
            zone.ttl = 7 if b"\x01b\x07example" in data else 300
            asked(data, addr)

        zone.datagram_received = shorter
        assert (await names.find(Name("example.com", lookup="Any"))).holds == 7.0


async def test_weights_share_out_within_a_priority():
    records = {
        ("_sip._udp.example.com", "SRV"): [
            "1 90 5060 a.example.com.",
            "1 10 5060 b.example.com.",
            "1 0 5060 c.example.com.",
        ]
    }
    records |= {(f"{letter}.example.com", "A"): [f"192.0.2.{number}"] for number, letter in enumerate("abc", 1)}
    async with served(records) as (_, names):
        firsts = Counter()
        for _ in range(40):
            found = await names.find(Name("example.com", lookup="Service"))
            assert {target.rank for target in found.targets} == {0}
            firsts[found.targets[0].address] += 1
    assert firsts["192.0.2.1"] > 25
    assert firsts["192.0.2.3"] <= 2


async def test_a_host_that_only_the_system_knows_is_found():
    async def hosts(host):
        return ["192.0.2.77"] if host == "box" else []

    async with served({}, hosts=hosts) as (_, names):
        found = await names.find(Name("box", 5070))
        assert (found.targets, found.holds) == ((Target("192.0.2.77", 5070, "UDP"),), HOSTS_HOLD)
        with pytest.raises(NotFoundError, match="names no address"):
            await names.find(Name("bax", 5070))


async def test_the_system_is_asked_for_literal_addresses_without_any_server():
    assert await system_hosts("127.0.0.1") == ["127.0.0.1"]
    assert await system_hosts("no..name") == []


async def test_an_address_that_means_something_on_one_interface_alone_is_none(monkeypatch):
    found = [(0, 0, 0, "", (address, 0, 0, 0)) for address in ("fe80::1%eth0", "2001:db8::7", "2001:db8::7")]

    async def getaddrinfo(*asked, **rest):
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await system_hosts("box") == ["2001:db8::7"]
