"""Scores: the numbers that installed Python code gives nodes from their reports, beside everything that must not wait.

A scorer is a callable behind an entry point of the group ``switchtender.score``. It runs in a thread of its own, one
call at a time; nothing waits for it. What it says within its time multiplies a node's weight; whatever else it does
(another type, a negative number, an exception, no end) leaves the last good score in force, is counted, and is logged
once of its kind. While a call has not come back, none is made: of the reports that come meanwhile the newest of each
node is kept.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from switchtender.config.scorers import Scorer

log = logging.getLogger(__name__)

LIMIT: Final = 0.05
"""Seconds that one evaluation may take."""

Fault = Literal["NoNumber", "Negative", "NotFinite", "Exception", "TimedOut"]
FAULTS: Final[tuple[Fault, ...]] = ("NoNumber", "Negative", "NotFinite", "Exception", "TimedOut")

Key = tuple[str, str]
"""A node's uid and a group's key."""

_Question = tuple[Mapping[str, Any], Mapping[str, Any]]
_Outcome = tuple[float | None, Fault | None, str]


class ScorerThread:
    """One scorer at work. ``tell`` gets each good score in the event loop that made this object.

    The thread is a daemon: one that is stuck keeps no process from ending.
    """

    def __init__(self, name: str, scorer: Scorer, tell: Callable[[Key, float], None], *, limit: float = LIMIT) -> None:
        self.name = name
        self.faults: Counter[str] = Counter()
        self._scorer = scorer
        self._tell = tell
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Key, _Question] = {}
        self._asking: Key | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._known: set[str] = set()
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._work, name=f"score {name}", daemon=True).start()

    def ask(self, key: Key, report: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        """Have this report scored; one of the same node and group that waits is overtaken by it."""
        self._waiting[key] = report, attributes
        self._next()

    def forget(self, keep: Callable[[Key], bool]) -> None:
        """Score no more what ``keep`` does not want."""
        self._waiting = {key: question for key, question in self._waiting.items() if keep(key)}

    def close(self) -> None:
        """Ask nothing any more."""
        self._waiting.clear()
        if self._overdue is not None:
            self._overdue.cancel()
        self._closed = True
        self._questions.put(None)

    @property
    def stuck(self) -> bool:
        """Whether an evaluation is past its time and has not come back."""
        return self._asking is not None and self._overdue is None

    # In the event loop

    def _next(self) -> None:
        if self._asking is not None or not self._waiting or self._closed:
            return
        key = next(iter(self._waiting))
        self._asking = key
        self._overdue = self._loop.call_later(self._limit, self._late)
        self._questions.put(self._waiting.pop(key))

    def _late(self) -> None:
        self._overdue = None
        self._fault("TimedOut", f"no score within {self._limit * 1000:g} ms; it is not asked again until it returns")

    def _returned(self, outcome: _Outcome, took: float) -> None:
        key, self._asking = self._asking, None
        in_time = self._overdue is not None
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        score, fault, words = outcome
        if in_time and took > self._limit:  # its time was over before our own timer had its turn
            self._fault("TimedOut", f"a score after {took * 1000:.0f} ms")
        elif in_time and fault is not None:
            self._fault(fault, words)
        elif in_time and score is not None and key is not None and not self._closed:
            self._tell(key, score)
        self._next()

    def _fault(self, fault: Fault, words: str) -> None:
        self.faults[fault] += 1
        if fault not in self._known:
            self._known.add(fault)
            log.warning("scorer %s: %s; the last good score stays", self.name, words, extra={"scorer": self.name})

    # In the thread

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            began = time.monotonic()
            try:
                outcome = evaluate(self._scorer, *question)
            except BaseException as error:  # noqa: BLE001 - sys.exit, or an exception that cannot be told of
                outcome = None, "Exception", f"it raised {type(error).__name__}"
            took = time.monotonic() - began
            try:
                self._loop.call_soon_threadsafe(self._returned, outcome, took)
            except RuntimeError:  # the event loop is closed: the process ends
                return


def evaluate(scorer: Scorer, report: Mapping[str, Any], attributes: Mapping[str, Any]) -> _Outcome:
    """Score one report: the score, or what is wrong with it and in which words."""
    try:
        found: object = scorer(report, attributes)
    except Exception as error:  # noqa: BLE001 - other people's code, and it never stops routing
        return None, "Exception", f"it raised {type(error).__name__}: {error}"
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None, "NoNumber", f"it returned {type(found).__name__}, not a number"
    try:
        score = float(found)
    except OverflowError:
        return None, "NotFinite", "it returned a number that is not finite"
    if not math.isfinite(score):
        return None, "NotFinite", "it returned a number that is not finite"
    if score < 0:
        return None, "Negative", f"it returned {score:g}, less than 0"
    return score, None, ""
