"""What signals ask of the process: SIGHUP to read the configuration again, SIGTERM or SIGINT to stop, a second one to
stop at once. Knows nothing of what is done about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

_STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Told:
    """What was asked for so far. ``reload`` is cleared by whoever reloads."""

    reload: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def terminate(self) -> None:
        """Stop; asked again, at once."""
        (self.hurry if self.stop.is_set() else self.stop).set()


@contextlib.contextmanager
def followed() -> Iterator[Told]:
    """Listen to the signals of this process in the running loop, while the block lasts."""
    told, loop = Told(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, told.reload.set)
    for number in _STOPS:
        loop.add_signal_handler(number, told.terminate)
    try:
        yield told
    finally:
        for number in (signal.SIGHUP, *_STOPS):
            loop.remove_signal_handler(number)
