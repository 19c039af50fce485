"""The life of the packet core within the process: its tasks while it serves, and its end, graceful or not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

from switchtender._core import Core
from switchtender.control.balancer import Balancer
from switchtender.serve import signals
from switchtender_api.v1alpha1.endpoints import format_endpoint

log = logging.getLogger(__name__)

_STOP_POLL = 0.1
_TURN = 0.005
_TURNS = 1000
"""Looks, ``_TURN`` seconds apart, within which workers must have ended that are told to end now."""
_LIVENESS = 1.0
"""Seconds between two looks at whether the packet workers live."""


class ServeError(Exception):
    """A part of the control side failed while serving; what failed stands in the log."""


async def serve(balancer: Balancer, parts: Iterable[Coroutine[Any, Any, None]], told: signals.Told) -> None:
    """Run ``parts`` beside the started core until told to stop, then until the core has drained. Raises ServeError."""
    core = balancer.core
    _set_aside()
    try:
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(part) for part in (*parts, balancer.run(), _workers_live(core, told.stop))]
            await told.stop.wait()
            await _drain(core, _deadline(balancer), told.hurry)
            for task in background:
                task.cancel()
    except ExceptionGroup as failed:
        for error in _leaves(failed):
            log.critical("a part of the control side failed: the process ends", exc_info=error)
        raise ServeError(f"{_leaves(failed)[0]!r}") from None


def _set_aside() -> None:
    """Let the garbage collector leave alone what is there once all is up: it would look through all of it again and
    again, for some 40 ms each time, and the nodes are to be listened to meanwhile.
    """
    gc.collect()
    gc.freeze()


async def end(core: Core) -> None:
    """End the workers now. One that hangs is left to the end of the process."""
    core.stop(0.0)
    for _ in range(_TURNS):
        if core.stopped():
            return
        await asyncio.sleep(_TURN)


def listeners(core: Core) -> list[str]:
    """The listeners as bound, for the log."""
    bound = json.loads(core.addresses())["listeners"]
    return [f"{entry['name']} {format_endpoint(entry['address'], entry['port'])}" for entry in bound]


def own_address(core: Core) -> str:
    """The address that nodes know us by, as bound; a wildcard where that is what was bound."""
    bound = json.loads(core.addresses())
    address: str = (bound["node_side"] or bound["listeners"][0])["address"]
    return address


def _deadline(balancer: Balancer) -> float:
    """Of the configuration in force, not of the one that the process was started with."""
    return 0.0 if balancer.plan is None else balancer.plan.documents.config.spec.stop.deadline.total_seconds()


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    """What failed, without the groups that tasks wrap it in."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _workers_live(core: Core, stopping: asyncio.Event) -> None:
    """Raise RuntimeError when the packet workers have ended though nobody stopped them."""
    while not stopping.is_set():
        if core.stopped():
            raise RuntimeError("every packet worker has ended")
        await asyncio.sleep(_LIVENESS)


async def _drain(core: Core, deadline: float, hurry: asyncio.Event) -> None:
    """Everything is served on, new calls too, until no transaction was open for a while; ``hurry`` ends it."""
    log.info("stopping", extra={"deadline": deadline, "openTransactions": core.open_transactions()})
    core.stop(deadline)
    while not core.stopped() and not hurry.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), _STOP_POLL)
    await end(core)
    lost = _lost(core)
    if lost:
        log.warning("stopped with open transactions", extra={"openTransactions": lost})


def _lost(core: Core) -> int:
    """Transactions that were open when the workers ended, as they counted them."""
    counters = json.loads(core.stats())["counters"]
    return sum(entry["value"] for entry in counters if entry["name"] == "transactions_lost_at_stop_total")
