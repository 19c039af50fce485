"""Virtual time, and a client that asks the scripted API server without a socket: hours pass in milliseconds."""

import asyncio
import json
import selectors
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any

from tests.stand.kube_api import KubeApi, Refused, Request
from tests.stand.kube_api.server import selected
from tests.stand.kube_api.streams import Stream

from switchtender_kube.errors import Silence, Unreachable, error_of


class _Jump(selectors.DefaultSelector):
    """Waits for nothing: where the loop would sleep, its clock is set forward instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("nothing will ever happen any more")
            self.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of its timers alone."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def run_virtual(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Makes an async test run in virtual time."""

    def run() -> None:
        run_virtual(test)

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def now() -> float:
    return asyncio.get_running_loop().time()


class MemoryClient:
    """What the reflector and the elector need of a client, on a ``KubeApi`` that was not started.

    ``reachable`` false: no answer (after ``hang`` seconds or the request's timeout). ``gate``: every step waits for it,
    as all of a stopped process does. ``latency``: seconds before and after the server acts.
    """

    def __init__(self, api: KubeApi, *, name: str = "test") -> None:
        self.api = api
        self.name = name
        self.reachable = True
        self.hang = 0.0
        self.latency: Callable[[], float] = lambda: 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.streams: set[Stream] = set()
        self.opened: list[Mapping[str, Any]] = []

    def cut(self) -> None:
        """Break this client's watches."""
        for stream in tuple(self.streams):
            self.api.streams.discard(stream)
            stream.queue.put_nowait(b"!cut")

    async def get(self, path: str, query: Mapping[str, Any] | None = None, *, timeout: float = 30.0) -> Any:
        return await self._request("get", "GET", path, query, None, timeout)

    async def create(self, path: str, body: Any, *, timeout: float = 30.0) -> Any:
        return await self._request("create", "POST", path, None, body, timeout)

    async def replace(self, path: str, body: Any, *, timeout: float = 30.0) -> Any:
        return await self._request("update", "PUT", path, None, body, timeout)

    async def watch(
        self, path: str, query: Mapping[str, Any] | None = None, *, silence: float = 70.0
    ) -> AsyncGenerator[bytes, None]:
        self.opened.append(dict(query or {}))
        request, kind = self._asked("watch", "GET", path, query, None)
        self.api.requests.append(request)
        await self._pass(30.0)
        fault = self.api.fault(request)
        stream = Stream(
            kind, request.namespace, selected(request.query), bookmarks="allowWatchBookmarks" in request.query
        )
        if fault is not None and not fault.in_stream:
            raise error_of(fault.status, fault.answer(), None if fault.retry_after is None else str(fault.retry_after))
        if fault is not None:
            stream.say("ERROR", fault.status_object())
            stream.queue.put_nowait(None)
        else:
            self.api.begin(stream, request)
        self.api.streams.add(stream)
        self.streams.add(stream)
        end = now() + float(request.query.get("timeoutSeconds", 3600))
        try:
            while True:
                until = min(end, now() + silence)
                try:
                    async with asyncio.timeout_at(until):
                        line = await stream.queue.get()
                        while not self.reachable:
                            await asyncio.sleep(1.0)
                        await self.api.unless_frozen(request)
                except TimeoutError:
                    if until == end:
                        return
                    raise Silence("not a byte") from None
                await self.gate.wait()
                if line is None:
                    return
                if line == b"!cut":
                    raise Unreachable("cut")
                yield line.rstrip(b"\n")
        finally:
            self.streams.discard(stream)
            self.api.streams.discard(stream)

    def _asked(self, verb: str, method: str, path: str, query: Mapping[str, Any] | None, body: Any) -> Any:
        try:
            kind, namespace, name, sub = self.api.target(path.strip("/").split("/"))
        except Refused as refused:
            raise error_of(refused.code, refused.status) from None
        if verb == "get" and name is None:
            verb = "list"
        texts = {
            k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in (query or {}).items() if v is not None
        }
        body = json.loads(json.dumps(body))
        request = Request(verb, kind.plural, namespace, name, sub, method, path, texts, body, self.name, "", "")
        return request, kind

    async def _request(
        self, verb: str, method: str, path: str, query: Mapping[str, Any] | None, body: Any, timeout: float
    ) -> Any:
        request, kind = self._asked(verb, method, path, query, body)
        self.api.requests.append(request)
        try:
            async with asyncio.timeout(timeout):
                await self._pass(timeout)
                await self.api.unless_frozen(request)
                fault = self.api.fault(request)
                if fault is not None:
                    after = None if fault.retry_after is None else str(fault.retry_after)
                    raise error_of(fault.status, fault.answer(), after)
                answer, _ = self.api.act(request, kind)
                await self._pass(timeout)
        except Refused as refused:
            await self.gate.wait()
            raise error_of(refused.code, refused.status) from None
        except TimeoutError:
            await self.gate.wait()
            raise Unreachable("no answer in time") from None
        return json.loads(json.dumps(answer))

    async def _pass(self, timeout: float) -> None:
        await asyncio.sleep(self.latency())
        await self.gate.wait()
        if not self.reachable:
            await asyncio.sleep(min(self.hang, timeout))
            await self.gate.wait()
            raise Unreachable("no connection")
