"""Keys and the time: what changed is noted at any time, and handed out when its turn comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from switchtender_kube import boottime
from switchtender_operator.reconcile.queue import DirtyKeys

_LOOK_AGAIN = 5.0
"""However wrong a due time was, so late it is noticed: a clock that jumped delays nothing for longer."""


class Turns:
    """The queue on a clock. `changed`, `wake` and the rest may be called from anywhere in the event loop."""

    def __init__(self, queue: DirtyKeys[str], *, clock: Callable[[], float] = boottime) -> None:
        self.queue = queue
        self._clock = clock
        self._news = asyncio.Event()

    def changed(self, key: str) -> None:
        """Note that something about the key changed."""
        self.queue.changed(key, self._clock())
        self._news.set()

    def wake(self, key: str, delay: float) -> None:
        """Give the key a turn in `delay` seconds, changed or not."""
        self.queue.wake(key, self._clock() + delay)
        self._news.set()

    def done(self, key: str) -> None:
        """Note that the key that had its turn was handled well."""
        self.queue.done(key)
        self._news.set()

    def failed(self, key: str, *, at_least: float = 0.0) -> float:
        """Note that it was not; the seconds until it has another turn, no fewer than `at_least`."""
        delay = self.queue.failed(key, self._clock(), at_least=at_least)
        self._news.set()
        return delay

    def oldest(self) -> float:
        """Return for how many seconds the longest waiting changed key has waited."""
        return self.queue.oldest(self._clock())

    async def next(self) -> str:
        """Wait for the key whose turn it is. Only one caller at a time."""
        while True:
            now = self._clock()
            key = self.queue.take(now)
            if key is not None:
                return key
            self._news.clear()
            due = self.queue.next_due()
            patience = _LOOK_AGAIN if due is None else min(_LOOK_AGAIN, max(0.0, due - now))
            try:
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                continue
