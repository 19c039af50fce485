"""kopf, kept at arm's length: it watches BalancerGroups, and whatever it sees wakes the reconciler. Nothing else.

kopf's watch loses deletions over a 410 and ends the whole operator on some errors in a stream. So it runs in a thread
and an event loop of its own (it cancels what it did not start), is started again when it ends, writes nothing to any
object, and what it says is never taken for the truth: the reflectors' stores are. Without it the operator is as right,
and as fast.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import kopf

from switchtender_api.constants import GROUP, VERSION
from switchtender_operator.kopf_adapter.login import Login

log = logging.getLogger(__name__)

Wake = Callable[[str, str], None]
"""Called with namespace and name of a BalancerGroup, in the operator's own event loop."""

_PLURAL = "balancergroups"
_HEALTHY_AFTER = 60.0
_THREAD_PATIENCE = 1.0


class Waker:
    """Runs kopf for the namespaces, or for the cluster if there are none, until cancelled."""

    def __init__(
        self,
        login: Login,
        wake: Wake,
        *,
        namespaces: Sequence[str] = (),
        backoff_most: float = 60.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        start: Callable[..., Coroutine[Any, Any, None]] = kopf.operator,
    ) -> None:
        self.restarts = 0
        self.wakes = 0
        self._login = login
        self._wake = wake
        self._namespaces = list(namespaces)
        self._backoff_most = backoff_most
        self._sleep = sleep
        self._start = start

    async def run(self) -> None:
        """Keep kopf running: it is started again after 1 s, 2 s, …; from the beginning once it ran for a minute."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            begun = loop.time()
            problem = await self._once()
            failures = 1 if loop.time() - begun > _HEALTHY_AFTER else failures + 1
            delay = min(self._backoff_most, 2.0 ** min(failures - 1, 16)) * random.uniform(0.75, 1.25)  # noqa: S311
            self.restarts += 1
            log.warning(
                "kopf ended and will be started again; the reflectors go on",
                extra={"error": problem, "after_seconds": round(delay, 1)},
            )
            await self._sleep(delay)

    async def _once(self) -> str:
        """Run kopf in a thread until it ends; says why it ended. A cancelled caller cancels it and waits a little."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str] = loop.create_future()
        stopped = threading.Event()
        inner: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

        def wake(namespace: str, name: str) -> None:
            self.wakes += 1
            self._wake(namespace, name)

        async def operate() -> None:
            inner.append((asyncio.get_running_loop(), asyncio.current_task()))  # type: ignore[arg-type]
            if stopped.is_set():  # before there was anything to cancel
                return
            await self._start(
                registry=_registry(self._login, _in(loop, wake)),
                settings=_settings(),
                # Its own guess asks for the name of the user, and a container's user has none.
                identity="switchtender-operator",
                namespaces=self._namespaces,
                clusterwide=not self._namespaces,
            )

        def settle(problem: str) -> None:
            if not ended.done():
                ended.set_result(problem)

        def body() -> None:
            problem = "it returned"
            try:
                asyncio.run(operate())
            except BaseException as error:  # noqa: BLE001 - a thread that ends must say so, however it ended
                problem = type(error).__name__
            with contextlib.suppress(RuntimeError):  # the operator's loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, problem)

        threading.Thread(target=body, name="kopf", daemon=True).start()
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            stopped.set()
            for kopf_loop, task in inner:  # its own way to stop would first wait for requests that are under way
                with contextlib.suppress(RuntimeError):
                    kopf_loop.call_soon_threadsafe(task.cancel)
            await asyncio.wait([ended], timeout=_THREAD_PATIENCE)
            raise


def _in(loop: asyncio.AbstractEventLoop, wake: Wake) -> Wake:
    """Return a function for kopf's thread that calls `wake` in the loop."""

    def hand_over(namespace: str, name: str) -> None:
        loop.call_soon_threadsafe(wake, namespace, name)

    return hand_over


def _registry(login: Login, wake: Wake) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def _(**_: Any) -> kopf.ConnectionInfo:
        return await login()

    @kopf.on.event(GROUP, VERSION, _PLURAL, registry=registry)
    async def _(namespace: str | None, name: str | None, **_: Any) -> None:
        if namespace and name:
            wake(namespace, name)

    return registry


def _settings() -> kopf.OperatorSettings:
    """Return settings with which kopf only reads: no peering, no scanning, no Events, and no marks on objects."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 5
    settings.queueing.idle_timeout = 0.1  # a worker of each object outlives a stop for so long
    settings.queueing.exit_timeout = 0.5
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = [base * random.uniform(0.75, 1.25) for base in (1, 2, 4, 8, 16)]  # noqa: S311
    settings.networking.enforce_retry_after = True
    settings.execution.default_backoff = 5
    settings.process.ultimate_exiting_timeout = None
    return settings
