"""Which groups are to be looked at, and when: changes are gathered, failures wait longer each time.

`DirtyKeys` is a value over an abstract clock: it never sleeps and never asks the time, so tests give it any. Whoever
drives it waits until `next_due`. It does not know what a key stands for.
"""

from __future__ import annotations

import random
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Entry:
    """Since when the key is dirty, and when it is due. A later wake-up is not dirty, only due."""

    since: float | None
    due: float


@dataclass(slots=True)
class DirtyKeys(Generic[Key]):
    """Keys that wait, each at most once, and keys that are being worked on.

    A changed key is due `quiet` seconds after its last change, at the latest `most_delay` after the first. A key that
    changes while it is worked on waits for its turn again; one key is never handed out twice at a time. All times are
    seconds of the caller's monotonic clock.
    """

    quiet: float = 0.1
    most_delay: float = 0.4
    backoff_first: float = 0.2
    backoff_most: float = 30.0
    rng: random.Random = field(default_factory=random.Random)
    coalesced: int = 0
    """Changes that needed no turn of their own."""
    _waiting: dict[Key, _Entry] = field(default_factory=dict)
    _working: set[Key] = field(default_factory=set)
    _failures: dict[Key, int] = field(default_factory=dict)

    def changed(self, key: Key, now: float) -> None:
        """Note that the key changed."""
        entry = self._waiting.get(key)
        if entry is None:
            self._waiting[key] = _Entry(now, now + self.quiet)
        elif entry.since is None:
            entry.since = now
            entry.due = min(entry.due, now + self.quiet)
        else:
            self.coalesced += 1
            entry.due = min(now + self.quiet, entry.since + self.most_delay)

    def wake(self, key: Key, due: float) -> None:
        """Note that the key is to be looked at when `due` comes, changed or not; an earlier turn stands for it."""
        entry = self._waiting.get(key)
        if entry is None:
            self._waiting[key] = _Entry(None, due)
        else:
            entry.due = min(entry.due, due)

    def next_due(self) -> float | None:
        """Return when the next key is due; None if none waits that nobody works on."""
        return min((entry.due for key, entry in self._waiting.items() if key not in self._working), default=None)

    def take(self, now: float) -> Key | None:
        """Return the key that is due longest, which is then worked on until `done` or `failed`; None if none is due."""
        ready = [(entry.due, key) for key, entry in self._waiting.items() if entry.due <= now]
        ready = [(due, key) for due, key in ready if key not in self._working]
        if not ready:
            return None
        _, key = min(ready, key=lambda pair: pair[0])
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Note that the key was handled well."""
        self._working.discard(key)
        self._failures.pop(key, None)

    def failed(self, key: Key, now: float, *, at_least: float = 0.0) -> float:
        """Note that handling the key failed; it has another turn after the returned delay.

        The delay doubles with each failure in a row, is random between half of that and all of it (so that many keys
        do not come back at once), and is no less than `at_least` (Retry-After).
        """
        self._working.discard(key)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        full = min(self.backoff_most, self.backoff_first * 2.0 ** min(failures - 1, 32))
        delay = max(at_least, full * self.rng.uniform(0.5, 1.0))
        self.wake(key, now + delay)
        return delay

    def forget(self, key: Key) -> None:
        """Drop all that is known of a key; one that is being worked on stays so until it is done."""
        self._waiting.pop(key, None)
        self._failures.pop(key, None)

    def clear(self) -> None:
        """Drop every key that waits."""
        self._waiting.clear()
        self._failures.clear()

    @property
    def depth(self) -> int:
        """How many changed keys wait."""
        return sum(entry.since is not None for entry in self._waiting.values())

    @property
    def open(self) -> int:
        """How many changed keys wait or are being worked on."""
        return self.depth + len(self._working)

    def oldest(self, now: float) -> float:
        """Return for how many seconds the longest waiting changed key has waited; 0 if none waits."""
        return max((now - entry.since for entry in self._waiting.values() if entry.since is not None), default=0.0)
