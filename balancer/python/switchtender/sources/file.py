"""A configuration file on disk: read it, and say when it has changed and come to rest.

Polls the file's identity rather than using inotify: editors replace files, and Kubernetes swaps a symbolic link two
directories up; both change what ``stat`` says of the path, and neither is seen by a watch on the old inode.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

QUIET = 0.1
"""Seconds a file must stay as it is before it is read: a half-written file is not a change."""

_POLL = 0.05

Identity = tuple[int, int, int, int] | None


def identity(path: Path) -> Identity:
    """What tells one state of the file from the next: device, inode, size and modification time.

    None when it is not there.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


async def changes(path: Path, since: Identity) -> AsyncIterator[None]:
    """Yield each time the file differs from ``since`` (then from what it was at the last yield) and has been quiet
    for ``QUIET``.

    A file that vanished is not a change: the configuration in force goes on until there is a new one.
    """
    known = since
    while True:
        await asyncio.sleep(_POLL)
        seen = identity(path)
        if seen is None or seen == known:
            continue
        seen = await _at_rest(path, seen)
        known = seen
        yield


async def _at_rest(path: Path, seen: Identity) -> Identity:
    while True:
        await asyncio.sleep(QUIET)
        now = identity(path)
        if now == seen and now is not None:
            return now
        seen = now
