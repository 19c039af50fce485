"""Deadlines for logic that must not know a clock: whoever owns the clock asks `next_deadline` and calls `run`."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timer:
    """One pending call of a function; `cancel` makes it a no-operation."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[float], None]) -> None:
        self.action: Callable[[float], None] | None = action

    def cancel(self) -> None:
        """Never call the function; cheap, the entry is thrown away when its time comes."""
        self.action = None


class Timers:
    """A heap of deadlines; equal deadlines run in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, when: float, action: Callable[[float], None]) -> Timer:
        """Call `action(now)` once `run` sees `when`."""
        timer = Timer(action)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def next_deadline(self) -> float | None:
        """When `run` has to be called next; None with nothing pending."""
        heap = self._heap
        while heap and heap[0][2].action is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run(self, now: float) -> None:
        """Call everything that is due at `now`, each once, in order of its deadline."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            if (action := timer.action) is not None:
                timer.action = None
                action(now)

    def clear(self) -> None:
        """Forget everything: the process that owned the deadlines is gone."""
        self._heap.clear()
