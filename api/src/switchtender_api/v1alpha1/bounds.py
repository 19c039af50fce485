"""Two durations of which one is no greater than the other: checked in a model, and the same in CEL. Knows no field."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.cel import cel, cel_text
from switchtender_api.v1alpha1.units import DURATION_PATTERN


def in_order_rule(low: tuple[str, str], high: tuple[str, str]) -> dict[str, Any]:
    """Return the CEL of `in_order` for two fields, each a name with its default; true while one is no duration."""
    pattern = cel_text(DURATION_PATTERN)
    readable = [
        f"(!has(self.{name}) || self.{name} != '' && self.{name}.matches({pattern}))" for name, _ in (low, high)
    ]
    least, most = (f"has(self.{name}) ? self.{name} : '{default}'" for name, default in (low, high))
    rule = f"{' && '.join(readable)} ? duration({least}) <= duration({most}) : true"
    return cel(rule, f"{low[0]} no greater than {high[0]}", low[0])


def in_order(low: tuple[str, timedelta], high: tuple[str, timedelta]) -> None:
    """Raise Refusal where the first of two fields, each a name with its value, is greater than the second."""
    if low[1] > high[1]:
        raise Refusal(f"{low[0]} is greater than {high[0]}", accepted=f"{low[0]} no greater than {high[0]}")
