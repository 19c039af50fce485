"""How those who follow something hear that there is more of it, without queues. For the event loop's thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class Bell:
    """Sets the event of each who listens when it rings; who listens clears it and looks what there is."""

    def __init__(self) -> None:
        self._ears: set[asyncio.Event] = set()

    def ring(self) -> None:
        """Wake all who listen."""
        for ear in self._ears:
            ear.set()

    @contextlib.contextmanager
    def heard_by(self, ear: asyncio.Event) -> Iterator[None]:
        """Set this event at each ring while the block lasts."""
        self._ears.add(ear)
        try:
            yield
        finally:
            self._ears.discard(ear)
