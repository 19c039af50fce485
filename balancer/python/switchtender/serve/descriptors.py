"""Room for as many open files as connections may need: the usual 1024 are used up by what one source may have. Knows
nothing of sockets.
"""

from __future__ import annotations

import logging
import resource

OTHERS = 4096
"""Descriptors beside those of SIP connections: Event Sockets, HTTP, the sockets of workers."""

log = logging.getLogger(__name__)


def make_room(max_connections: int) -> None:
    """Raise the soft limit of open files, as far as the hard one lets it, to what ``spec.tcp.maxConnections`` may need:
    so many connections of callers, of nodes, and that we open. Warn where not even those of callers would fit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = 3 * max_connections + OTHERS
    allowed = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < max_connections:
        log.warning(
            "spec.tcp.maxConnections is %d, but the process may open %d files only: lower it, or raise the hard limit",
            max_connections,
            hard,
        )
