"""Load figures out of FreeSWITCH's heartbeats and `status`, as a real node sent them and as none should."""

from __future__ import annotations

import math

import esl_captures as captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.drivers.esl import parse, wire
from switchtender.drivers.reports import Report


def heartbeats(name: str) -> list[Report]:
    events = [event for frame in captures.frames(captures.from_node(name)) if (event := wire.decode_event(frame))]
    reports = [parse.heartbeat_report(event, received=7.0) for event in events if event.name == "HEARTBEAT"]
    assert reports
    return [report for report in reports if report is not None]


def heartbeat(**headers: str) -> Report | None:
    named = {"session-count": "1", "max-sessions": "100"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return parse.heartbeat_report(wire.Event("HEARTBEAT", named), received=7.0)


STATUS = (
    "UP 0 years, 0 days, 0 hours, 3 minutes, 42 seconds, 903 milliseconds, 426 microseconds\n"
    "FreeSWITCH (Version 1.11.1-release  64bit) is ready\n"
    "309 session(s) since startup\n"
    "4 session(s) - peak 61, last 5min 61 \n"
    "2 session(s) per Sec out of max 30, peak 20, last 5min 20 \n"
    "100 session(s) max\n"
    "min idle cpu 0.00/87.30\n"
    "Current Stack Size/Max 240K/8192K\n"
)


def status(text: str) -> parse.Status:
    return parse.status(text, sent=6.5, received=7.0)


# Heartbeats


def test_heartbeat_of_a_real_node_field_by_field() -> None:
    assert heartbeats("05-event-json-hb1")[0] == Report(
        source="heartbeat",
        sessions=0,
        max_sessions=100,
        received=7.0,
        core_uuid="1b4ad962-82a0-4f17-a79c-9ac1b7f8fcc3",
        uptime_ms=59484,
        sessions_since_startup=0,
        sessions_per_second_limit=None,
        sessions_per_second_last=0,
        idle_cpu=0.933333,
        stamp=1795413653.367936,
        sent=None,
    )


def test_plain_and_json_heartbeats_give_the_same_kind_of_report() -> None:
    plain, json_ = heartbeats("06-event-plain-hb1")[0], heartbeats("05-event-json-hb1")[0]
    assert (plain.core_uuid, plain.max_sessions, plain.idle_cpu) == (json_.core_uuid, 100, 0.8)


@pytest.mark.parametrize("name", ["31-hb-over-json", "32-hb-over-json-1.10.12"])
def test_overload_is_read_alike_in_both_releases(name: str) -> None:
    reports = heartbeats(name)
    assert {report.max_sessions for report in reports} == {20}
    assert max(report.sessions for report in reports) == 20
    assert all(report.idle_cpu is not None and report.stamp is not None for report in reports)


def test_uptime_and_stamp_rise_by_the_interval() -> None:
    first, second = heartbeats("05-event-json-hb1")[:2]
    assert first.stamp is not None
    assert second.stamp is not None
    assert second.stamp - first.stamp == pytest.approx(1.0, abs=0.01)
    assert (second.uptime_ms or 0) - (first.uptime_ms or 0) == 1000


def test_rate_that_wrapped_below_zero_is_unknown_not_four_billion() -> None:
    rates = [report.sessions_per_second_last for report in heartbeats("13-hb-sps-wrap")]
    assert None in rates  # 4294967280 on the wire
    assert set(rates) <= {None, 0, 25, 36, 45}


def test_headers_that_old_versions_lack_are_none() -> None:
    assert heartbeat() == Report(source="heartbeat", sessions=1, max_sessions=100, received=7.0)


@pytest.mark.parametrize("missing", ["session-count", "max-sessions"])
@pytest.mark.parametrize("value", ["", "many", "1.5", "0x10", "9" * 30, "٣"])
def test_without_its_two_figures_a_heartbeat_is_no_report(missing: str, value: str) -> None:
    assert heartbeat(**{missing: value}) is None


@pytest.mark.parametrize(("text", "count"), [("-1", 0), ("4294967295", 0), ("2147483648", 0), ("150", 150)])
def test_counts_never_go_below_zero(text: str, count: int) -> None:
    report = heartbeat(session_count=text)
    assert report is not None
    assert report.sessions == count


def test_count_above_the_limit_is_passed_on() -> None:
    report = heartbeat(session_count="101", max_sessions="100")
    assert report is not None
    assert (report.sessions, report.max_sessions) == (101, 100)


def test_absurd_counts_are_bounded() -> None:
    report = heartbeat(session_count="99999999999999", max_sessions="18446744073709551615")
    assert report is not None
    assert (report.sessions, report.max_sessions) == (2**31 - 1, 2**31 - 1)


@pytest.mark.parametrize(
    ("text", "percent"),
    [("101.5", 100.0), ("-3", 0.0), ("nan", None), ("inf", None), ("-inf", None), ("", None), ("12.5", 12.5)],
)
def test_idle_cpu_is_a_percentage_or_nothing(text: str, percent: float | None) -> None:
    report = heartbeat(idle_cpu=text)
    assert report is not None
    assert report.idle_cpu == percent


def test_core_uuid_is_bounded_and_empty_is_none() -> None:
    long, empty = heartbeat(core_uuid="x" * 5000), heartbeat(core_uuid="")
    assert long is not None
    assert empty is not None
    assert (long.core_uuid, empty.core_uuid) == ("x" * 64, None)


_HEADER = st.sampled_from(
    ["session-count", "max-sessions", "session-per-sec-last", "idle-cpu", "uptime-msec", "event-date-timestamp"]
)
_VALUE = st.text(max_size=25) | st.integers(-(2**70), 2**70).map(str) | st.floats().map(str)


@given(st.dictionaries(_HEADER, _VALUE))
def test_any_headers_give_bounded_figures_or_no_report(headers: dict[str, str]) -> None:
    report = heartbeat(**headers)
    if report is None:
        return
    assert 0 <= report.sessions < 2**31
    assert 0 <= report.max_sessions < 2**31
    assert report.idle_cpu is None or 0 <= report.idle_cpu <= 100
    for figure in (report.sessions_per_second_last, report.uptime_ms, report.stamp):
        assert figure is None or (math.isfinite(figure) and figure >= 0)


# status


def test_status_of_a_real_node_field_by_field() -> None:
    assert status(STATUS) == parse.Status(
        ready=True,
        report=Report(
            source="poll",
            sessions=4,
            max_sessions=100,
            received=7.0,
            sent=6.5,
            uptime_ms=222_903,
            sessions_since_startup=309,
            sessions_per_second_limit=30,
            sessions_per_second_last=2,
            idle_cpu=87.3,
        ),
    )


def test_every_status_of_the_captures_is_read() -> None:
    texts = [frame.text for name in captures.NAMES for frame in _whole_frames(name) if frame.text.startswith("UP ")]
    assert len(texts) > 10
    for text in texts:
        found = status(text)
        assert found.ready is not None
        assert found.report is not None
        assert found.report.sessions_per_second_limit == 30
        assert found.report.uptime_ms


def _whole_frames(name: str) -> list[wire.Frame]:
    return [] if name == captures.CUT_OFF else captures.frames(captures.from_node(name))


def test_status_says_not_ready_when_paused_both_ways() -> None:
    texts = [frame.text for frame in _whole_frames("08-api-set") if frame.text.startswith("UP ")]
    assert [status(text).ready for text in texts] == [True, True, False]


def test_uptime_in_words_becomes_milliseconds() -> None:
    found = status(STATUS.replace("0 years, 0 days, 0 hours, 3 minutes", "2 years, 1 day, 1 hour, 1 minute"))
    assert found.report is not None
    assert found.report.uptime_ms == ((731 * 24 + 1) * 60 + 1) * 60_000 + 42_903


@pytest.mark.parametrize("line", ["4 session(s) - ", "100 session(s) max"])
def test_status_without_its_two_figures_still_tells_readiness(line: str) -> None:
    assert status(STATUS.replace(line, "what ")) == parse.Status(report=None, ready=True)


@pytest.mark.parametrize("line", ["UP ", "309 session(s) since", "2 session(s) per Sec", "min idle cpu", "FreeSWITCH"])
def test_status_lines_that_are_missing_are_none(line: str) -> None:
    found = status(STATUS.replace(line, "what "))
    assert found.report is not None
    assert found.report.sessions == 4


@pytest.mark.parametrize("text", ["", "-ERR no reply\n", "-ERR status Command not found!\n", "\0\n" * 99])
def test_other_output_is_no_status(text: str) -> None:
    assert status(text) == parse.Status(report=None, ready=None)


@given(st.lists(st.sampled_from(STATUS.splitlines()) | st.text(max_size=30)).map("\n".join))
def test_any_text_is_read_without_complaint(text: str) -> None:
    report = status(text).report
    assert report is None or 0 <= report.sessions < 2**31


# fsctl … _check


@pytest.mark.parametrize(
    ("text", "answer"),
    [("true", True), ("false", False), ("false\n", False), ("", None), ("-ERR no reply\n", None), ("TRUE", None)],
)
def test_checks_are_true_false_or_unknown(text: str, answer: bool | None) -> None:
    assert parse.check(text) is answer
