"""Follows the configuration: reads it again when told, and puts it in force or refuses it whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from switchtender._core import ConfigError
from switchtender.config.plan import read_plan
from switchtender.config.settings import fixed_fields_changed
from switchtender.control.balancer import Balancer
from switchtender.metrics.reloads import Reloads
from switchtender.sources.file import Identity, changes
from switchtender.telemetry.journal import Journal
from switchtender_api.problems import DocumentErrors
from switchtender_api.v1alpha1 import BalancerConfigSpec

TakeUp = Callable[[], Awaitable[dict[str, Any]]]
"""Reads the configuration and puts it in force; what is worth a word in the journal. Raises DocumentErrors,
FixedFieldsError, ConfigError."""

_SHOWN = 20
"""Problems of one configuration that are told one by one."""


class FixedFieldsError(Exception):
    """A reload would change what is fixed for the life of the process."""


async def follow(
    path: Path, since: Identity, wanted: asyncio.Event, take_up: TakeUp, reloads: Reloads, journal: Journal
) -> None:
    """Reload for ever: when ``wanted`` is set, and when the file is no longer what it was at ``since``."""

    async def watch_file() -> None:
        async for _ in changes(path, since):
            wanted.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch_file())
        while True:
            await wanted.wait()
            wanted.clear()
            await reload(take_up, reloads, journal)


async def reload(take_up: TakeUp, reloads: Reloads, journal: Journal) -> None:
    """Take the configuration up; a bad one is told of and counted, and what was in force before stays so whole."""
    try:
        done = await take_up()
    except DocumentErrors as errors:
        refused = [problem.render() for problem in errors.problems]
    except FixedFieldsError as error:
        refused = [str(error)]
    except ConfigError as error:
        pointer, message = error.args
        refused = [f"the packet core says of its {pointer}: {message}"]
    else:
        journal.record("Configuration", "Applied", "configuration in force", details=done)
        reloads.succeeded(time.time())
        return
    for problem in refused[:_SHOWN]:
        journal.record("Configuration", "Refused", f"configuration refused: {problem}", severity="error")
    if len(refused) > _SHOWN:
        more = f"configuration refused: {len(refused) - _SHOWN} more problems: switchtender check says them all"
        journal.record("Configuration", "Refused", more, severity="error")
    reloads.failed()


def of_file(path: Path, balancer: Balancer) -> TakeUp:
    """Takes up a file that holds everything, groups too."""

    async def take_up() -> dict[str, Any]:
        # Not in the event loop: a large file takes its time, and the nodes are to be listened to meanwhile.
        plan = await asyncio.to_thread(read_plan, path)
        if balancer.plan is not None:
            refuse_fixed(balancer.plan.documents.config.spec, plan.documents.config.spec)
        await balancer.apply(plan)
        return {"generation": balancer.generation, "groups": len(plan.groups)}

    return take_up


def refuse_fixed(before: BalancerConfigSpec, after: BalancerConfigSpec) -> None:
    """Raise FixedFieldsError where a reload cannot take ``after`` up."""
    changed = fixed_fields_changed(before, after)
    if changed:
        raise FixedFieldsError(
            f"{', '.join(changed)} cannot change without a restart; nothing of the file was taken up"
        )
