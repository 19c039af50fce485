"""Names of members over time: what is asked for when, and which address stands."""

import asyncio
import logging

import pytest
from control_fakes import group, plan_of

from switchtender.config.plan import Plan
from switchtender.config.snapshot import GroupMembers
from switchtender.control.naming import Naming
from switchtender.drivers.dns.names import Found, Name, NotFoundError, Target

ONE, TWO, THREE = (Target(f"192.0.2.{number}", 5060, "UDP") for number in (1, 2, 3))
HOST = Name("fs.example.com")


def groups(*hosts):
    """A group whose members are at these hosts."""
    plan: Plan = plan_of(group("ivr", *(f'{{name: fs{n}, sip: "sip:192.0.2.{n + 1}"}}' for n in range(len(hosts)))))
    [entry] = plan.groups
    members = (
        member.model_copy(update={"addresses": (host,)}) for member, host in zip(entry.members, hosts, strict=True)
    )
    return (GroupMembers(entry.group, tuple(members)),)


class Dns:
    """Answers in turn, the last one for ever; ``asked`` tells how often each name was asked for."""

    def __init__(self, *answers):
        self.answers, self.asked, self.gate = list(answers), [], asyncio.Event()
        self.gate.set()

    async def find(self, name):
        self.asked.append(name)
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Found(tuple(answer), 0.001)


@pytest.fixture
async def made():
    kept = []

    def make(dns, **rest):
        kept.append(Naming(lambda: dns, **rest))
        return kept[-1]

    yield make
    for naming in kept:
        await naming.close()


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_new_name_is_waited_for_and_told_of(made):
    changes = []
    naming = made(Dns([ONE, TWO]), changed=lambda: changes.append(1))
    await naming.follow(groups("fs.example.com"), 5)
    assert naming.resolved == {HOST: (ONE, TWO)}
    assert len(changes) == 1


async def test_literal_addresses_are_never_asked_for():
    def finder():
        raise AssertionError

    naming = Naming(finder)
    await naming.follow(groups("192.0.2.9", "2001:db8::9"), 5)
    assert naming.resolved == {}


async def test_patience_ends_and_the_answer_comes_later(made):
    dns = Dns([ONE])
    dns.gate.clear()
    naming = made(dns)
    entry = groups("fs.example.com")
    await naming.follow(entry, 0.001)
    assert (naming.resolved, naming.unresolved(entry[0])) == ({}, ["fs.example.com"])
    dns.gate.set()
    await until(lambda: naming.resolved)
    assert naming.unresolved(entry[0]) == []


async def test_the_present_address_stays_first_while_it_is_among_the_answers(made):
    changes = []
    dns = Dns([ONE, TWO], [TWO, ONE], [THREE, TWO, ONE], [TWO, THREE])
    naming = made(dns, changed=lambda: changes.append(naming.resolved[HOST]))
    await naming.follow(groups("fs.example.com"), 5)
    await until(lambda: len(dns.asked) > 6)
    assert [targets[0] for targets in changes] == [ONE, ONE, TWO]
    assert changes[1] == (ONE, THREE, TWO)
    assert len(changes) == 3, "another order is no change"


async def test_whatever_dns_fails_to_say_the_last_known_address_stays(made, caplog, monkeypatch):
    monkeypatch.setattr("switchtender.control.naming._AGAIN", 0.001)
    error = NotFoundError("DNS does not say where it is: SERVFAIL", 0.001)
    dns = Dns([ONE], error, error, error, [TWO])
    naming = made(dns)
    with caplog.at_level(logging.WARNING):
        await naming.follow(groups("fs.example.com"), 5)
        await until(lambda: len(dns.asked) == 4)
        assert naming.resolved == {HOST: (ONE,)}
        await until(lambda: naming.resolved == {HOST: (TWO,)})
    [record] = caplog.records
    assert "its last known address stands" in record.getMessage()


async def test_an_address_where_no_node_may_be_is_none(made, caplog):
    naming = made(Dns([ONE, TWO]), refusal=lambda address, allow: "not allowed" if address == ONE.address else None)
    await naming.follow(groups("fs.example.com"), 5)
    assert naming.resolved == {HOST: (TWO,)}
    other = made(Dns([ONE]), refusal=lambda address, allow: "not allowed")
    await other.follow(groups("fs.example.com"), 5)
    assert other.resolved == {}
    assert "fs.example.com is at 192.0.2.1: not allowed; it is left out until then" in caplog.text


async def test_names_that_nobody_has_any_more_are_asked_for_no_more(made):
    dns = Dns([ONE])
    naming = made(dns)
    both = groups("fs.example.com", "other.example.com")
    await naming.follow(both, 5)
    naming.keep(groups("other.example.com"))
    await asyncio.sleep(0)
    dns.asked.clear()
    await until(lambda: len(dns.asked) > 3)
    assert {name.host for name in dns.asked} == {"other.example.com"}
    assert HOST not in naming.resolved


async def test_networks_that_are_no_longer_allowed_hold_no_name(made):
    naming = made(
        Dns([ONE]), refusal=lambda address, allow: None if not allow or address in allow else "not in destinations"
    )
    entry = groups("fs.example.com")
    await naming.follow(entry, 5)
    naming.permit([ONE.address])
    assert naming.resolved == {HOST: (ONE,)}
    naming.permit([TWO.address])
    await naming.follow(entry, 5)
    assert naming.resolved == {}
    naming.permit([ONE.address, TWO.address])
    naming.keep([])
    await naming.follow(entry, 5)
    assert naming.resolved == {HOST: (ONE,)}


async def test_an_answer_that_nobody_foresaw_does_not_end_the_asking(made, caplog, monkeypatch):
    monkeypatch.setattr("switchtender.control.naming._AGAIN_AT_MOST", 0.001)
    naming = made(Dns(IndexError("no such record"), [ONE]))
    await naming.follow(groups("fs.example.com"), 5)
    await until(lambda: naming.resolved == {HOST: (ONE,)})
    assert "fs.example.com could not be asked for" in caplog.text


async def test_thousands_of_names_are_asked_for_a_few_at_once(made, monkeypatch):
    monkeypatch.setattr("switchtender.control.naming._AT_ONCE", 3)
    dns = Dns([ONE])
    dns.gate.clear()
    naming = made(dns)
    await naming.follow(groups(*(f"fs{n}.example.com" for n in range(10))), 0.001)
    assert len(dns.asked) == 3
    dns.gate.set()
    await until(lambda: len(naming.resolved) == 10)
