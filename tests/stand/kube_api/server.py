"""The scripted API server's HTTP side, its watches and its faults."""

import asyncio
import base64
import contextlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import web

from tests.stand.kube_api import reviews, scales
from tests.stand.kube_api.discovery import discovery
from tests.stand.kube_api.faults import Fault, Request, Shortened
from tests.stand.kube_api.kinds import Json, Kind
from tests.stand.kube_api.refusals import Refused, bad_request, not_served
from tests.stand.kube_api.selectors import BadSelector, Matches, parse
from tests.stand.kube_api.store import MERGE_PATCH, Change, Store
from tests.stand.kube_api.streams import Stream

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_LONGEST_WATCH = 3600.0


class KubeApi:
    """An API server on loopback: ``async with KubeApi() as api``. All of its parts may be used from the test's loop.

    ``own``: whether Switchtender's resources are served from the start; else once their definitions were created.
    ``token``: what a request has to bear; None lets everybody in. ``bookmark_every``: seconds, None = only on demand
    and when a watch ends in its time.
    """

    def __init__(self, *, own: bool = True, token: str | None = None, bookmark_every: float | None = None) -> None:
        self.store = Store(own=own)
        self.reviews = reviews.Reviews()
        for kind in reviews.KINDS:
            self.store.register(kind)
        self.token = token
        self.requests: list[Request] = []
        self.streams: set[Stream] = set()
        self._bookmark_every = bookmark_every
        self._faults: list[Fault] = []
        self._shortened: list[Shortened] = []
        self._frozen: list[Fault] = []
        self._thawed = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0
        self.store.subscribers.add(self._tell)

    # --- life -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, after a stop on the same port as before."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Be away: no listener, every connection cut. The objects stay."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._cut(runner)
            await runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def kubeconfig(self, path: Path, *, namespace: str = "default", token: str | None = None) -> Path:
        """Write a kubeconfig for this server, for processes."""
        named = {"name": "scripted"}
        bearer = token or self.token
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "scripted",
            "clusters": [{**named, "cluster": {"server": self.url}}],
            "users": [{**named, "user": {"token": bearer} if bearer else {}}],
            "contexts": [
                {**named, "context": {"cluster": "scripted", "user": "scripted", "namespace": namespace}}
            ],
        }  # fmt: skip
        path.write_text(json.dumps(document))
        return path

    # --- the test's hand on the objects -----------------------------------------------------------------------

    def kind(self, plural: str) -> Kind:
        """The type named by its plural; the first of that name."""
        for kind in self.store.kinds.values():
            if kind.plural == plural:
                return kind
        raise LookupError(plural)

    def put(self, body: Json) -> Json:
        """Create the object or make it exactly that, status included; apiVersion and kind say what it is."""
        kind = self.store.kind_of(body)
        namespace = body["metadata"].get("namespace", "default") if kind.namespaced else None
        key = (namespace, body["metadata"]["name"])
        if self.store.find(kind, key) is None:
            return self.store.create(kind, namespace, body, whole=True)
        metadata = {name: value for name, value in body["metadata"].items() if name != "resourceVersion"}
        metadata["resourceVersion"] = self.store.get(kind, key)["metadata"]["resourceVersion"]
        return self.store.update(kind, key, {**body, "metadata": metadata}, whole=True)

    def merge(self, plural: str, namespace: str | None, name: str, patch: Json) -> Json:
        """Merge into the object, whatever it touches (a status with the rest too)."""
        kind = self.kind(plural)
        key = (namespace, name)
        done = self.store.merge(kind, key, patch)
        return self.store.merge(kind, key, patch, status=True) if kind.status and "status" in patch else done

    def object(self, plural: str, namespace: str | None, name: str) -> Json | None:
        """The object, or None."""
        return self.store.find(self.kind(plural), (namespace, name))

    def objects(self, plural: str, namespace: str | None = None) -> list[Json]:
        """All objects of a type, of one namespace if named."""
        return self.store.objects(self.kind(plural), namespace)

    def delete(self, plural: str, namespace: str | None, name: str, *, grace: int | None = None) -> None:
        """As a client would: a pod on a node stays, terminating, until ``remove``."""
        self.store.delete(self.kind(plural), (namespace, name), grace=grace)

    def remove(self, plural: str, namespace: str | None, name: str) -> None:
        """Out at once, with what only it owned."""
        self.store.remove(self.kind(plural), (namespace, name))

    def compact(self) -> None:
        """Forget the past: watches and lists from before get 410. Open watches go on."""
        self.store.compact()

    # --- faults -----------------------------------------------------------------------------------------------

    def fail(self, resource: str | None = None, verb: str | None = None, status: int = 500, **more: Any) -> Fault:
        """Answer with an error; see ``Fault`` for ``times``, ``retry_after``, ``reason``, ``in_stream``, ``body``,
        ``when``.
        """
        fault = Fault(resource, verb, status, **more)
        self._faults.append(fault)
        return fault

    def in_stream_error(self, code: int, resource: str | None = None, message: str = "made to fail") -> int:
        """End the open watches with an ERROR event. How many there were."""
        status = Fault(status=code, message=message).status_object()
        for stream in self._open(resource):
            stream.say("ERROR", status)
            stream.queue.put_nowait(None)
        return len(self._open(resource))

    def say(self, raw: bytes, resource: str | None = None) -> None:
        """Send these bytes on the open watches, whatever they are."""
        for stream in self._open(resource):
            stream.queue.put_nowait(raw)

    def bookmark(self, resource: str | None = None) -> None:
        """A bookmark with the present version, for the watches that asked for them."""
        for stream in self._open(resource):
            stream.bookmark(self.store.version)

    def end_watches(self, resource: str | None = None) -> None:
        """End the open watches in order, as at their timeoutSeconds."""
        for stream in self._open(resource):
            stream.queue.put_nowait(None)

    def freeze(self, resource: str | None = None, verb: str | None = None) -> Fault:
        """Half-open: accept, read, say nothing; open watches fall silent too. Until ``thaw``."""
        frozen = Fault(resource, verb)
        self._frozen.append(frozen)
        return frozen

    def thaw(self, *, drop: bool = True) -> None:
        """Speak again. ``drop``: what was frozen is cut instead of answered late."""
        self._frozen.clear()
        if drop:
            self.drop_connections()
        self._thawed.set()
        self._thawed = asyncio.Event()

    def drop_connections(self) -> None:
        """Cut every connection, as a load balancer or a crash does."""
        if self._runner is not None:
            self._cut(self._runner)

    def partial_list(self, resource: str, keep: int, times: int | None = 1) -> None:
        """Let the next lists have only their first objects."""
        self._shortened.append(Shortened(resource, keep, times))

    def empty_list(self, resource: str, times: int | None = 1) -> None:
        """Let the next lists be empty."""
        self.partial_list(resource, 0, times)

    def clear_faults(self) -> None:
        """No fault, no freeze, no shortened list any more."""
        self._faults.clear()
        self._shortened.clear()
        self.thaw(drop=False)

    # --- what happened ----------------------------------------------------------------------------------------

    def calls(self, verb: str | None = None, resource: str | None = None) -> list[Request]:
        """The requests so far, of a verb and a resource if named."""
        return [r for r in self.requests if verb in {None, r.verb} and resource in {None, r.resource}]

    def watches(self, resource: str | None = None) -> int:
        """How many watches are open."""
        return len(self._open(resource))

    async def watched(self, resource: str, count: int = 1) -> None:
        """Wait until so many watches of a resource are open."""
        await eventually(lambda: self.watches(resource) >= count)

    # --- HTTP -------------------------------------------------------------------------------------------------

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        try:
            self._admit(http.headers.get("Authorization", ""))
            return await self._serve(http)
        except Refused as refused:
            details = refused.status.get("details") or {}
            after = details.get("retryAfterSeconds")
            headers = {"Retry-After": str(after)} if after else None
            return web.json_response(refused.status, status=refused.code, headers=headers)

    def _admit(self, authorization: str) -> None:
        if self.token is not None and not hmac.compare_digest(authorization, f"Bearer {self.token}"):
            raise Refused(401, "Unauthorized", "Unauthorized")

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        parts = [unquote(part) for part in http.rel_url.raw_path.split("/") if part]
        if http.method == "GET" and (found := discovery(parts, self.store.kinds.values())) is not None:
            return web.json_response(found)
        kind, namespace, name, subresource = self.target(parts)
        query = dict(http.query)
        raw = await http.read()
        watching = query.get("watch") in {"1", "true"}
        verb = _VERBS.get(http.method) or ("watch" if watching else "get" if name else "list")
        content_type = http.content_type
        if verb == "patch" and content_type == APPLY:
            verb = "apply"
        request = Request(
            verb, kind.plural, namespace, name, subresource, http.method, http.path, query,
            json.loads(raw) if raw else None, http.headers.get("User-Agent", ""), content_type,
            http.headers.get("Authorization", ""),
        )  # fmt: skip
        self.requests.append(request)
        await self.unless_frozen(request)
        fault = self.fault(request)
        if fault is not None and not fault.in_stream:
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            headers["Content-Type"] = "application/json"
            return web.Response(body=fault.answer(), status=fault.status, headers=headers)
        if subresource not in {None, "status" if kind.status else None, scales.name_for(kind)}:
            raise not_served()
        if verb == "watch":
            return await self._watch(http, request, kind, fault)
        answer, status = self.act(request, kind)
        return web.json_response(answer, status=status)

    def act(self, request: Request, kind: Kind) -> tuple[Json, int]:
        """Do what a request (no watch) asks for: the answer and its status. Raises ``Refused``."""
        store, body, query = self.store, request.body, request.query
        namespace, on_status = request.namespace, request.subresource == "status"
        manager = query.get("fieldManager") or request.user_agent.split("/")[0] or "unknown"
        if request.name is None:
            if request.verb == "list":
                return self._list(request, kind), 200
            if request.verb == "create" and kind in reviews.KINDS:
                return self.reviews.answer(kind, body), 201
            if request.verb == "create":
                return store.create(kind, namespace, body, manager), 201
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        key = (namespace if kind.namespaced else None, request.name)
        if request.subresource == "scale":
            return scales.act(store, kind, key, request.verb, body or {}, manager), 200
        match request.verb:
            case "get":
                return store.get(kind, key), 200
            case "update":
                return store.update(kind, key, body, status=on_status, manager=manager), 200
            case "apply":
                if not query.get("fieldManager"):
                    why = "fieldManager: Required value: is required for apply patch"
                    raise Refused(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {why}')
                force = query.get("force") == "true"
                done, created = store.apply(kind, key, body, manager=manager, force=force, status=on_status)
                return done, 201 if created else 200
            case "patch" if request.content_type == JSON_PATCH:
                return store.json_patch(kind, key, body, status=on_status, manager=manager), 200
            case "patch" if request.content_type in {MERGE_PATCH, "application/strategic-merge-patch+json"}:
                if kind.custom and request.content_type != MERGE_PATCH:
                    raise Refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
                return store.merge(kind, key, body, status=on_status, manager=manager), 200
            case "delete":
                return self._delete(kind, key, body or {}, query), 200
        raise Refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format")

    def _delete(self, kind: Kind, key: tuple[str | None, str], options: Json, query: Mapping[str, str]) -> Json:
        preconditions = options.get("preconditions") or {}
        grace = options.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        propagation = options.get("propagationPolicy", query.get("propagationPolicy"))
        done, gone = self.store.delete(
            kind,
            key,
            uid=preconditions.get("uid"),
            version=preconditions.get("resourceVersion"),
            grace=None if grace is None else int(grace),
            orphan=propagation == "Orphan",
        )
        if not gone or kind.plural == "pods":
            return done
        details = {"name": key[1], "group": kind.group, "kind": kind.plural, "uid": done["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _list(self, request: Request, kind: Kind) -> Json:
        """One page; all pages show one version. The token: which, where to go on, how short the list is made."""
        query = request.query
        keep: int | None
        if "continue" in query:
            version, start, keep = json.loads(base64.urlsafe_b64decode(query["continue"]))
            if version < self.store.compacted:
                raise Refused(
                    410, "Expired",
                    "The provided continue parameter is too old to display a consistent list result.",
                )  # fmt: skip
        else:
            exact = query.get("resourceVersionMatch") == "Exact"
            version, start = int(query["resourceVersion"]) if exact else self.store.version, 0
            if not exact and int(query.get("resourceVersion") or 0) > self.store.version:
                self.store.objects_at(kind, int(query["resourceVersion"]))
            keep = self._shorten(kind)
        found = self.store.objects_at(kind, version, request.namespace, selected(query))[:keep]
        limit = int(query.get("limit") or 0) or len(found)
        page = found[start : start + limit]
        metadata: Json = {"resourceVersion": str(version)}
        if start + len(page) < len(found):
            token = json.dumps([version, start + len(page), keep]).encode()
            metadata["continue"] = base64.urlsafe_b64encode(token).decode()
            if "labelSelector" not in query and "fieldSelector" not in query:
                metadata["remainingItemCount"] = len(found) - start - len(page)
        items = page
        if not kind.custom:  # the items of a built-in list do not say what they are, those of a custom one do
            items = [{name: value for name, value in raw.items() if name not in {"apiVersion", "kind"}} for raw in page]
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": items}

    def _shorten(self, kind: Kind) -> int | None:
        for shortened in self._shortened:
            if shortened.resource == kind.plural and shortened.times != 0:
                if shortened.times is not None:
                    shortened.times -= 1
                return shortened.keep
        return None

    # --- watch ------------------------------------------------------------------------------------------------

    async def _watch(self, http: web.Request, request: Request, kind: Kind, fault: Fault | None) -> web.StreamResponse:
        query = request.query
        stream = Stream(
            kind, request.namespace, selected(query), bookmarks=query.get("allowWatchBookmarks") in {"1", "true"}
        )
        if fault is not None:
            stream.say("ERROR", fault.status_object())
            stream.queue.put_nowait(None)
        else:
            self.begin(stream, request)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        self.streams.add(stream)
        try:
            # Connections are cut on purpose here, also between two events.
            with contextlib.suppress(ConnectionError):
                await response.prepare(http)
                await self._pump(stream, request, response, float(query.get("timeoutSeconds") or _LONGEST_WATCH))
        finally:
            self.streams.discard(stream)
        return response

    def begin(self, stream: Stream, request: Request) -> None:
        """Let a watch say what comes first: all there is if it names no version, else what came since."""
        version = request.query.get("resourceVersion") or "0"
        matches = selected(request.query)
        try:
            if int(version) == 0:
                for raw in self.store.objects(stream.kind, request.namespace, matches):
                    stream.say("ADDED", raw)
                return
            if int(version) > self.store.version:
                return  # a version of the future: silence, as if it were to come
            for change in self.store.changes_since(int(version)):
                stream.tell(change)
        except Refused as refused:
            # Too old a version is told within the stream, behind a 200.
            stream.say("ERROR", refused.status)
            stream.queue.put_nowait(None)

    async def _pump(self, stream: Stream, request: Request, response: web.StreamResponse, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        bookmark_at = loop.time() + self._bookmark_every if self._bookmark_every else deadline
        while True:
            until = min(deadline, bookmark_at)
            try:
                async with asyncio.timeout_at(until):
                    line = await stream.queue.get()
            except TimeoutError:
                stream.bookmark(self.store.version)
                if until == deadline:
                    stream.queue.put_nowait(None)
                bookmark_at = loop.time() + (self._bookmark_every or seconds)
                continue
            await self.unless_frozen(request)
            if line is None:
                return
            await response.write(line)

    def _tell(self, change: Change) -> None:
        for stream in self.streams:
            stream.tell(change)

    def _open(self, resource: str | None) -> list[Stream]:
        return [stream for stream in self.streams if resource in {None, stream.kind.plural}]

    def fault(self, request: Request) -> Fault | None:
        """The first fault that is for this request, used by this call."""
        found = next((fault for fault in self._faults if fault.matches(request)), None)
        if found is not None:
            found.use()
        return found

    # --- within -----------------------------------------------------------------------------------------------

    async def unless_frozen(self, request: Request) -> None:
        """Wait while a freeze is for this request."""
        while any(frozen.matches(request) for frozen in self._frozen):
            await self._thawed.wait()

    def _cut(self, runner: web.AppRunner) -> None:
        self.streams.clear()
        server = runner.server
        for connection in list(server.connections) if isinstance(server, web.Server) else []:
            if connection.transport is not None:
                connection.transport.abort()

    def target(self, parts: list[str]) -> tuple[Kind, str | None, str | None, str | None]:
        """What a path (its parts) leads to: type, namespace, name, subresource. Raises ``Refused``."""
        group = ""
        if parts[:1] == ["api"]:
            version, rest = parts[1], parts[2:]
        elif parts[:1] == ["apis"] and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            raise not_served()
        namespace = None
        if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
            namespace, rest = rest[1], rest[2:]
        kind = self.store.kinds.get((group, version, rest[0])) if rest else None
        if kind is None or (namespace is not None) > kind.namespaced:
            raise not_served()
        name, subresource = [*rest[1:3], None, None][:2]
        return kind, namespace, name, subresource


def selected(query: Mapping[str, str]) -> Matches:
    """The predicate of a request's selectors. Raises ``Refused``."""
    try:
        return parse(query.get("labelSelector"), query.get("fieldSelector"))
    except BadSelector as error:
        raise bad_request(str(error)) from None


async def eventually(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds, looking often; ``AssertionError`` when it does not within a generous time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError("it never came to hold")
        await asyncio.sleep(0.002)
