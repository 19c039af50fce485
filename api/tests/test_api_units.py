"""Durations, networks, port ranges, times and patterns."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.patterns import parse_pattern
from switchtender_api.v1alpha1.units import (
    PortRange,
    format_duration,
    format_time,
    parse_duration,
    parse_network,
    parse_port_range,
    parse_time,
)


@given(st.integers(0, 10**12).map(lambda milliseconds: timedelta(milliseconds=milliseconds)))
def test_a_duration_survives_writing_and_reading(duration):
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("500ms", 0.5), ("2s", 2), ("180s", 180), ("2h", 7200), ("1h30m", 5400), ("1m1ms", 60.001)],
)
def test_durations_as_people_write_them(text, seconds):
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "s", "-1s", "1.5s", "1 s", "1d", "1S", "1s2m", "1s1s", "\uff11s", "1ms1s", "Auto", "1s\n"]
)
def test_other_durations_are_refused(text):
    with pytest.raises(Refusal):
        parse_duration(text)


@pytest.mark.parametrize("text", ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::/0", "0.0.0.0/0"])
def test_networks(text):
    assert str(parse_network(text)).removesuffix("/32") == text.removesuffix("/32")


@pytest.mark.parametrize(
    "text", ["", "192.0.2.1/24", "192.0.2.0/33", "192.0.2", "fe80::1%eth0", "2001:db8::1/32", "any"]
)
def test_other_networks_are_refused(text):
    with pytest.raises(Refusal):
        parse_network(text)


@pytest.mark.parametrize(
    "text",
    ["192.0.2.0/255.255.255.0", "192.0.2.0/0.0.0.255", "192.0.0.0/08", "::ffff:192.0.2.1", "::ffff:192.0.2.0/120"],
)
def test_what_an_api_server_takes_for_no_network_is_none_in_a_file_either(text):
    with pytest.raises(Refusal, match=r"prefix|within an IPv6"):
        parse_network(text)


def test_port_ranges():
    assert parse_port_range("5071-5134") == PortRange(5071, 5134)
    assert PortRange(5071, 5134).size == 64
    assert parse_port_range("0-0") == PortRange(0, 0)


@pytest.mark.parametrize("text", ["", "5071", "5071-", "5134-5071", "0-5", "1-65536", "a-b", "5071\u20135134"])
def test_other_port_ranges_are_refused(text):
    with pytest.raises(Refusal):
        parse_port_range(text)


def test_times():
    assert parse_time("2026-03-01T22:00:00Z") == datetime(2026, 3, 1, 22, tzinfo=UTC)
    assert parse_time("2026-03-01t22:00:00.5+01:00") == datetime(2026, 3, 1, 21, 0, 0, 500_000, tzinfo=UTC)
    assert format_time(parse_time("2026-03-01T22:00:00Z")) == "2026-03-01T22:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-03-01", "2026-03-01T22:00:00", "2026-02-30T00:00:00Z", "9999-01-01T00:00:00Z"),
        *("0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00+14:00", "2999-12-31T23:59:59-14:00"),
    ],
)
def test_other_times_are_refused(text):
    with pytest.raises(Refusal):
        parse_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "^conf",
        "^(conf|room)-[0-9]{3,5}$",
        r"^\+49\d{6,12}$",
        r"^(?:a|b)*?c$",
        r"^(?i:IVR)$",
        "^(?P<kind>[a-z]+)$",
        r"[\]a]",
        r"[^\]a-z]",
        r"\.\$\{",
        "a{3}",
        "a{3,}",
        "^[0-9]{1,255}$",
    ],
)
def test_patterns_of_the_common_subset(text):
    assert parse_pattern(text) == text
    re.compile(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?<!a)b",
        r"(a)\1",
        r"(?P<x>a)(?P=x)",
        "(?(1)a|b)",
        "(?>a)",
        "(?i)a",
        "(?#comment)",
        "a*+",
        "a++",
        "a{2}+",
        "a{",
        "a{,5}",
        "a{x}",
        "(a",
        "a)",
        "[a",
        "[]a]",
        "[]--a]",
        "[[a]]",
        "[a&&b]",
        "[a--b]",
        r"[\b]",
        r"\Z",
        r"\p{L}",
        r"\x41",
        "a\\",
        "*a",
        "a**",
        "((a{100}){100}){100}",
        "a{9999}",
        "(abcdefgh){200}{200}",
        "(" + "a" * 100 + "){50}",
        "a" * 513,
        "ä",
        "a\nb",
    ],
)
def test_other_patterns_are_refused(text):
    with pytest.raises(Refusal):
        parse_pattern(text)


@given(st.text("ab01()[]{}?*+|^$\\,-&~.:=<>!PdwZ", max_size=20))
def test_any_pattern_compiles_or_is_refused(text):
    try:
        accepted = parse_pattern(text)
    except Refusal:
        return
    re.compile(accepted)
    assert not re.search(r"\(\?[=!<>#(]", re.sub(r"\\.|\[[^\]]*\]", "", accepted))
