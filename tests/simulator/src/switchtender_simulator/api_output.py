"""What an API command gives back: text, or text that comes later and blocks its connection until then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delay:
    """The output comes after so many seconds (`msleep`)."""

    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class WhenIdle:
    """The output comes when no session is left or the shutdown was cancelled (`fsctl shutdown elegant|asap`)."""

    output: str


Output = str | Delay | WhenIdle
