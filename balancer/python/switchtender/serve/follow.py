"""Follows the configuration: reads it again when told, and puts it in force or refuses it whole."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from switchtender._core import ConfigError
from switchtender.config.plan import Plan, read_plan
from switchtender.config.settings import fixed_fields_changed
from switchtender.control.balancer import Balancer
from switchtender.metrics.reloads import Reloads
from switchtender.sources.file import Identity, changes
from switchtender_api.problems import DocumentErrors

log = logging.getLogger(__name__)


class FixedFieldsError(Exception):
    """A reload would change what is fixed for the life of the process."""


async def follow(path: Path, since: Identity, wanted: asyncio.Event, balancer: Balancer, reloads: Reloads) -> None:
    """Reload for ever: when ``wanted`` is set, and when the file is no longer what it was at ``since``."""

    async def watch_file() -> None:
        async for _ in changes(path, since):
            wanted.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch_file())
        while True:
            await wanted.wait()
            wanted.clear()
            await reload(path, balancer, reloads)


async def reload(path: Path, balancer: Balancer, reloads: Reloads) -> None:
    """Read the file and put it in force; a bad one is logged and counted, and the plan before stays in force whole."""
    try:
        # Not in the event loop: a large file takes its time, and the nodes are to be listened to meanwhile.
        plan = await asyncio.to_thread(read_plan, path)
        _refuse_fixed(balancer.plan, plan)
        await balancer.apply(plan)
    except DocumentErrors as errors:
        for problem in errors.problems:
            log.error("configuration refused: %s", problem.render())
        reloads.failed()
    except FixedFieldsError as error:
        log.error("configuration refused: %s", error)
        reloads.failed()
    except ConfigError as error:
        pointer, message = error.args
        log.error("configuration refused: the packet core says of its %s: %s", pointer, message)
        reloads.failed()
    else:
        log.info("configuration in force", extra={"generation": balancer.generation, "groups": len(plan.groups)})
        reloads.succeeded(time.time())


def _refuse_fixed(before: Plan | None, after: Plan) -> None:
    if before is None:
        return
    changed = fixed_fields_changed(before.documents.config.spec, after.documents.config.spec)
    if changed:
        raise FixedFieldsError(
            f"{', '.join(changed)} cannot change without a restart; nothing of the file was taken up"
        )
