"""Requests to the API server: raw JSON in, raw JSON out, and streams of lines. Knows no resource and keeps no state of
any.

Credentials, TLS and the HTTP session come from the ``kubernetes`` package; requests are sent on its session directly,
because its own ``request`` can neither ask the fence where the bytes leave nor refuse redirects.
"""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.rest import RESTClientObject

from switchtender_kube.credentials import Credentials, find
from switchtender_kube.errors import ApiError, NotLeader, Silence, Unreachable, error_of
from switchtender_kube.fence import Fence, FencedBody
from switchtender_kube.resources import Json

CONNECT_TIMEOUT = 5.0
REQUEST_TIMEOUT = 30.0
# etcd refuses objects past 1.5 MiB; a page of 500 of the largest pods seen stays far below this.
LONGEST_ANSWER = 256 << 20
LONGEST_LINE = 32 << 20
PAGE = 500
_LIST_ATTEMPTS = 3

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Query = Mapping[str, str | int | bool | None]
Patch = Json | list[Json]
Allowed = Callable[[], bool]
Observe = Callable[[str, int | None, float], None]
"""Told of each request: Kubernetes' verb, the status (None without an answer), seconds until the answer began."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Client:
    """One API server, one identity. Made by ``connect``, ended by ``close``. Methods may be called concurrently."""

    def __init__(
        self, credentials: Credentials, *, user_agent: str = "switchtender-kube/0.1.0", observe: Observe | None = None
    ) -> None:
        self._credentials = credentials
        self._user_agent = user_agent
        self._observe = observe
        self._rest: RESTClientObject | None = None
        self._rest_identity: tuple[object, ...] = ()
        self._closed = False

    @classmethod
    async def connect(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        server: str | None = None,
        token: str | None = None,
        user_agent: str = "switchtender-kube/0.1.0",
        observe: Observe | None = None,
    ) -> Self:
        """A client for what is named, else for the pod's ServiceAccount, else for $KUBECONFIG or ~/.kube/config.

        ``server`` is a URL. ``observe`` is told of every request, for metrics. Sends nothing yet. Raises
        ``ConfigurationError`` when there is no usable configuration.
        """
        found = await find(kubeconfig=kubeconfig, context=context, server=server, token=token)
        return cls(found, user_agent=user_agent, observe=observe)

    @property
    def namespace(self) -> str | None:
        """Our own namespace: the ServiceAccount's, or that of the kubeconfig's context; None if neither names one."""
        return self._credentials.namespace

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self._credentials.configuration.host)

    async def close(self) -> None:
        """Close every connection; open watches end with ``Unreachable``."""
        self._closed = True
        await self._drop_session()

    async def get(self, path: str, query: Query | None = None, *, timeout: float = REQUEST_TIMEOUT) -> Json:  # noqa: ASYNC109
        """An object, or one page of a list."""
        return await self._request("GET", path, query, timeout=timeout)

    async def list(self, path: str, query: Query | None = None) -> Json:
        """A whole list in pages, as one object. A snapshot that expired between two pages (410) starts it again."""
        for attempt in range(_LIST_ATTEMPTS):
            items: list[Json] = []
            token: str | None = None
            try:
                while True:
                    page = await self.get(path, {"limit": PAGE, **(query or {}), "continue": token})
                    items += page.get("items") or ()
                    token = (page.get("metadata") or {}).get("continue")
                    if not token:
                        return {**page, "items": items}
            except ApiError as error:
                if not (error.expired and token) or attempt == _LIST_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def create(
        self,
        path: str,
        body: Json,
        *,
        query: Query | None = None,
        fence: Allowed | None = None,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109
    ) -> Json:
        """POST to a collection. An object of that name gives ``ApiError`` 409, reason "AlreadyExists"."""
        return await self._request("POST", path, query, body, fence=fence, timeout=timeout)

    async def replace(
        self,
        path: str,
        body: Json,
        *,
        query: Query | None = None,
        fence: Allowed | None = None,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109
    ) -> Json:
        """PUT. ``metadata.resourceVersion`` in the body makes it conditional: ``Conflict`` if it changed since."""
        return await self._request("PUT", path, query, body, fence=fence, timeout=timeout)

    async def patch(
        self,
        path: str,
        body: Patch,
        content_type: str = MERGE_PATCH,
        *,
        query: Query | None = None,
        fence: Allowed | None = None,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109
    ) -> Json:
        """PATCH with the given kind of patch (``MERGE_PATCH``, ``JSON_PATCH``, …)."""
        return await self._request("PATCH", path, query, body, content_type, fence=fence, timeout=timeout)

    async def apply(
        self,
        path: str,
        body: Json,
        *,
        field_manager: str,
        force: bool = True,
        fence: Allowed | None = None,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109
    ) -> Json:
        """Server-side apply: create the object or make it hold the fields of ``body``; the manager's former others go.

        ``path`` is the object's, or its subresource's. ``body`` carries apiVersion, kind and metadata.name. Without
        ``force`` fields that others manage give ``Conflict`` with ``fields``.
        """
        query: Query = {"fieldManager": field_manager, "force": force}
        return await self._request("PATCH", path, query, body, APPLY_PATCH, fence=fence, timeout=timeout)

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace: int | None = None,
        propagation: str | None = None,
        fence: Allowed | None = None,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109
    ) -> Json:
        """DELETE, only the object with that UID (and version) if given: another one under its name gives ``Conflict``.

        ``grace`` seconds; ``propagation`` "Background", "Foreground" or "Orphan".
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {key: value for key, value in preconditions.items() if value is not None} or None,
            "gracePeriodSeconds": grace,
            "propagationPolicy": propagation,
        }
        body = {key: value for key, value in options.items() if value is not None}
        return await self._request("DELETE", path, None, body, fence=fence, timeout=timeout)

    async def watch(
        self, path: str, query: Query | None = None, *, silence: float = 70.0
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, one JSON event each, until the server ends it. Use with ``contextlib.aclosing``.

        ``silence``: seconds without a byte after which the connection is given up (``Unreachable``): bookmarks come
        each minute, so a longer silence is a half-open connection. Never has a timeout over all. Raises ``ApiError`` if
        refused at the start. Lines may be of any length up to ``LONGEST_LINE``; aiohttp's own reader of lines refuses
        those past its buffer.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=silence)
        async with self._answer("GET", path, {**(query or {}), "watch": True}, None, limits) as answer:
            try:
                async for line in _lines(answer.content):
                    yield line
            finally:
                # A stream that is left before its end is of no use to anybody, nor is a polite farewell to its server.
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()

    async def _request(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: Patch | None = None,
        content_type: str = JSON,
        *,
        fence: Allowed | None = None,
        timeout: float,  # noqa: ASYNC109
    ) -> Json:
        payload = None
        if body is not None:
            payload = FencedBody(json.dumps(body, separators=(",", ":")).encode(), content_type, fence)
        if fence is not None:
            timeout = _within_lease(fence, timeout)
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        async with self._answer(method, path, query, payload, limits) as answer:
            raw = await _read(answer)
        try:
            parsed = json.loads(raw)
        except ValueError:
            raise Unreachable(f"{method} {path}: the answer is no JSON") from None
        if not isinstance(parsed, dict):
            raise Unreachable(f"{method} {path}: the answer is no object")
        return parsed

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, query: Query | None, payload: FencedBody | None, limits: aiohttp.ClientTimeout
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """A successful answer, its body unread; everything else is one of our errors, also while the body is read."""
        try:
            answer = await self._send(method, path, query, payload, limits)
            if answer.status == 401 and await self._credentials.refused():
                answer.release()
                answer = await self._send(method, path, query, payload, limits)
            async with answer:
                if not 200 <= answer.status < 300:
                    raise error_of(answer.status, await _read(answer), answer.headers.get("Retry-After"))
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if payload is not None and payload.refused:
                raise NotLeader from None
            if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
                await self._renew_session()
            if isinstance(error, aiohttp.SocketTimeoutError):  # only streams have a timeout for a single read
                raise Silence(f"{method} {path}: not a byte in {limits.sock_read:g} s") from None
            raise Unreachable(f"{method} {path}: {_reason(error)}") from None

    async def _send(
        self, method: str, path: str, query: Query | None, payload: FencedBody | None, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        if self._closed:
            raise Unreachable(f"{method} {path}: the client is closed")
        # Compressed answers would cost the API server and us CPU for a network that is a data center's.
        headers = {"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": self._user_agent}
        authorization = await self._credentials.authorization()
        if authorization:
            headers["Authorization"] = authorization
        configuration = self._credentials.configuration
        session = self._session()
        # Asked here for the many cases without a race, and once more where the bytes leave (FencedBody).
        if payload is not None and not payload.allowed():
            raise NotLeader
        began, status = time.perf_counter(), None
        try:
            answer = await session.request(
                method,
                self.server + path + _query_string(query),
                data=payload,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
                server_hostname=configuration.tls_server_name or None,
                proxy=configuration.proxy,
                proxy_headers=configuration.proxy_headers,
            )
            status = answer.status
            return answer
        finally:
            if self._observe is not None:
                self._observe(_verb(method, query), status, time.perf_counter() - began)

    def _session(self) -> aiohttp.ClientSession:
        if self._rest is None:
            self._rest_identity = self._credentials.tls_identity()
            self._rest = RESTClientObject(self._credentials.configuration)
        if self._rest.pool_manager is None:
            self._rest.pool_manager = self._rest._create_pool_manager()  # noqa: SLF001 - documented there for subclasses
        return self._rest.pool_manager

    async def _renew_session(self) -> None:
        """After a TLS error: begin anew if the CA's or our certificate's file is another by now: they rotate, too."""
        if self._credentials.tls_identity() != self._rest_identity:
            await self._drop_session()

    async def _drop_session(self) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest.close()


def _within_lease(fence: Allowed, timeout: float) -> float:
    """No request of a leader lasts longer than its lease; one that cannot even begin is not sent at all."""
    if not isinstance(fence, Fence):
        return timeout
    remaining = fence.remaining()
    if remaining <= 0:
        raise NotLeader
    return min(timeout, remaining)


def _verb(method: str, query: Query | None) -> str:
    """Kubernetes' word for a request; a list is known by its limit, which every list of ours has."""
    if method != "GET":
        return _VERBS[method]
    return "watch" if query and query.get("watch") else "list" if query and query.get("limit") else "get"


def _query_string(query: Query | None) -> str:
    """``?a=b&c=true``, or nothing; values that are None are left out."""
    pairs = [(key, _text(value)) for key, value in (query or {}).items() if value is not None]
    return "?" + urlencode(pairs, quote_via=quote, safe="") if pairs else ""


def _text(value: str | int | bool) -> str:  # noqa: FBT001
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    whole = bytearray()
    async for chunk in answer.content.iter_any():
        whole += chunk
        if len(whole) > LONGEST_ANSWER:
            raise aiohttp.ClientPayloadError(f"an answer of more than {LONGEST_ANSWER >> 20} MiB")
    return bytes(whole)


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Split at newlines, without the limit of ``StreamReader.readline``, which is that of its buffer."""
    pending = bytearray()
    async for chunk in content.iter_any():
        pending += chunk
        if b"\n" in chunk:
            *lines, rest = bytes(pending).split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                if line:
                    yield line
        elif len(pending) > LONGEST_LINE:
            raise aiohttp.ClientPayloadError(f"an event of more than {LONGEST_LINE >> 20} MiB")


def _reason(error: BaseException) -> str:
    """What happened, in words; timeouts mostly have no text of their own."""
    if isinstance(error, asyncio.TimeoutError):
        return str(error) or "no answer in time"
    return f"{error}" or type(error).__name__
