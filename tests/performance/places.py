"""Where everything of a measurement stands on loopback, and on which processor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

PROXY = "127.0.90.1"
"""What is measured takes calls here, at port 5060."""
CALLER = "127.0.90.2:5060"


def nodes(count: int) -> tuple[str, ...]:
    """The called ends, whose SIP is the generator's and whose Event Socket is the simulator's (port 8021)."""
    return tuple(f"127.0.90.{number}" for number in range(11, 11 + count))


NODE_PORT = 7000
"""Where the generator takes the calls of each node."""
NODE_SIDE = 5070
"""Where the forwarder hears from nodes."""
MEASURED_CPU = 0
OTHER_CPU = 1


@contextlib.contextmanager
def on_processor(number: int) -> Iterator[None]:
    """Whatever is started within the block stays on this processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
