"""Which scorers are installed: Python callables behind entry points, named by ``routing.score`` of a group.

A name that is not installed, or whose code cannot be loaded, refuses the group that wants it. What a scorer does when
it is called is not known here.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from switchtender_api.problems import Finding, quote
from switchtender_api.v1alpha1 import BalancerGroup

ENTRY_POINTS: Final = "switchtender.score"

Scorer = Callable[[Mapping[str, Any], Mapping[str, Any]], float | None]
"""From a node's latest report and its attributes (docs/scoring.md) to a score ≥ 0; None: no opinion."""


class NoScorerError(Exception):
    """No scorer of that name can be had; the text says why."""


def installed() -> list[str]:
    """The names of all scorers that are installed, in order."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=ENTRY_POINTS)})


@functools.cache
def load(name: str) -> Scorer:
    """The scorer of that name, loaded once in the life of the process. Raises NoScorerError."""
    points = importlib.metadata.entry_points(group=ENTRY_POINTS, name=name)
    if not points:
        raise NoScorerError("no scorer of this name is installed")
    try:
        scorer = next(iter(points)).load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code
        raise NoScorerError(f"the scorer cannot be loaded: {type(error).__name__}: {error}") from None
    if not callable(scorer):
        raise NoScorerError(f"what is installed under this name is no callable but a {type(scorer).__name__}")
    loaded: Scorer = scorer
    return loaded


def findings(group: BalancerGroup) -> Iterator[Finding]:
    """Yield that the group names a scorer which cannot be had, if so."""
    name = group.spec.routing.score
    if name is None:
        return
    try:
        load(name)
    except NoScorerError as error:
        accepted = ", ".join(installed()) or f"null: no package with an entry point of {ENTRY_POINTS} is installed"
        yield Finding(("spec", "routing", "score"), str(error), quote(name), accepted)
