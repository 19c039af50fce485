"""Which Events go out, and what they look like."""

from __future__ import annotations

from datetime import UTC, datetime

from switchtender_operator.publish.events import EventGate, event


def test_the_same_is_not_said_again_for_a_while() -> None:
    gate = EventGate(repeat=600.0)
    assert gate.admits("u", "Ready", "fine", 0.0)
    assert not gate.admits("u", "Ready", "fine", 599.0)
    assert gate.admits("u", "Ready", "other words", 1.0)
    assert gate.admits("other", "Ready", "fine", 1.0)
    assert gate.admits("u", "Ready", "fine", 601.0)


def test_one_object_has_a_few_and_then_one_a_minute() -> None:
    gate = EventGate(burst=3, refill=60.0)
    assert [gate.admits("u", "Flap", str(n), 0.0) for n in range(5)] == [True, True, True, False, False]
    assert gate.admits("u", "Flap", "later", 60.0)
    assert not gate.admits("u", "Flap", "later still", 61.0)
    assert gate.admits("v", "Flap", "0", 61.0)


def test_what_is_kept_in_mind_is_bounded() -> None:
    gate = EventGate(remembered=10)
    for number in range(1000):
        gate.admits(f"u{number}", "Reason", "text", float(number))
    assert len(gate._said) <= 10
    assert len(gate._budget) <= 10


def test_an_event_is_of_the_new_api_and_within_its_limits() -> None:
    made = event(
        namespace="voice", name="ivr", uid="u", kind="Warning", reason="Invalid", note="ü" * 3000, instance="x" * 500,
        at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    )  # fmt: skip
    assert made["apiVersion"] == "events.k8s.io/v1"
    assert made["eventTime"] == "2026-01-02T03:04:05.000678Z"
    assert len(made["note"].encode()) <= 1024
    assert len(made["reportingInstance"]) <= 128
    assert made["metadata"]["namespace"] == made["regarding"]["namespace"] == "voice"
    assert made["action"]
