"""Where the API server is and who we are to it: the ``kubernetes`` package's configuration, with credentials that
change.

The library reads a ServiceAccount's token again each minute by the wall clock, which may jump, and a kubeconfig's token
file or exec plugin once. Here both are read again by a clock that does not jump, and at once when the server says 401.
Nothing of what is read here gets into a log line or an exception's text; the library's own exceptions quote whole
users.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio.client import Configuration
from kubernetes.aio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)
from kubernetes.aio.config.kube_config import load_kube_config

from switchtender_kube.clock import boottime

# Projected tokens live an hour and are replaced at 80 % of that; the file is read again this often. Nothing but a 401
# makes us run an exec plugin again: it takes a second or two, and knows best how long what it gave is good.
_READ_AGAIN = 60.0
# A server that says 401 to everything does not make us run an exec plugin for every request.
_READ_AGAIN_AFTER_401 = 5.0
# An exec plugin that waits for a person who is not there must not hold us for ever.
_PLUGIN_TIMEOUT = 60.0


# It logs the text of exceptions, some of which quote the whole user with token and password.
logging.getLogger("kubernetes.aio.config.kube_config").addFilter(lambda _: False)


class ConfigurationError(Exception):
    """No usable way to an API server is configured, or its credentials cannot be read. The text holds no secret."""


@dataclass(slots=True)
class Credentials:
    """A library configuration and how to read its credentials again.

    ``namespace`` is our own, if the source names one. ``load`` fills the configuration; None where nothing can change.
    """

    configuration: Configuration
    namespace: str | None = None
    load: Callable[[Configuration], Awaitable[None]] | None = None
    clock: Callable[[], float] = boottime
    periodic: bool = True
    """Whether to read again without being told to."""
    _read_at: float = 0.0
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def of_server(cls, server: str, token: str | None) -> "Credentials":
        """A server named by its URL, with a fixed bearer token or none."""
        configuration = _blank()
        configuration.host = server.rstrip("/")
        configuration.proxy = _proxy(server)
        if token is not None:
            configuration.api_key["BearerToken"] = f"Bearer {token}"
        return cls(configuration)

    @classmethod
    async def in_cluster(
        cls,
        *,
        token_file: str = SERVICE_TOKEN_FILENAME,
        ca_file: str = SERVICE_CERT_FILENAME,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = boottime,
    ) -> "Credentials":
        """The ServiceAccount of the pod we run in. Raises ``ConfigurationError`` outside of one."""

        async def load(configuration: Configuration) -> None:
            try:
                InClusterConfigLoader(  # type: ignore[no-untyped-call]
                    token_filename=token_file, cert_filename=ca_file, try_refresh_token=False, environ=environ
                ).load_and_set(configuration)
                token = Path(token_file).read_text(encoding="ascii").strip()  # noqa: ASYNC240 - one tmpfs page
            except Exception as error:  # noqa: BLE001 - the library raises what it likes, with what it read in the text
                raise ConfigurationError(f"the ServiceAccount cannot be read ({type(error).__name__})") from None
            configuration.api_key["BearerToken"] = f"Bearer {token}"

        namespace_file = Path(token_file).with_name("namespace")
        namespace = namespace_file.read_text(encoding="ascii").strip() if namespace_file.is_file() else None
        return await cls._loaded(namespace or None, load, clock)

    @classmethod
    async def of_kubeconfig(
        cls, path: str, context: str | None, *, clock: Callable[[], float] = boottime
    ) -> "Credentials":
        """The current or named context of a kubeconfig (several paths separated by a colon are merged).

        Raises ``ConfigurationError`` when it cannot be read or its exec plugin gives no credential.
        """
        found: dict[str, Any] = {}
        if not any(Path(each).expanduser().exists() for each in path.split(os.pathsep)):  # noqa: ASYNC240 - once, tiny
            raise ConfigurationError(f"kubeconfig {path}: there is no such file")

        async def load(configuration: Configuration) -> None:
            try:
                async with asyncio.timeout(_PLUGIN_TIMEOUT):
                    loader = await load_kube_config(  # type: ignore[no-untyped-call]
                        path, context, configuration, persist_config=False
                    )
                chosen = loader._current_context.value["context"]  # noqa: SLF001 - the library shows no other way to it
                user = loader._user.value if loader._user is not None else {}  # noqa: SLF001
            except Exception as error:  # noqa: BLE001 - as above
                named = f"context {context}" if context else "the current context"
                raise ConfigurationError(
                    f"kubeconfig {path}: {named} cannot be used ({type(error).__name__})"
                ) from None
            if "exec" in user and "BearerToken" not in configuration.api_key and not configuration.cert_file:
                raise ConfigurationError(f"kubeconfig {path}: the exec plugin gave no credential: run it by hand")
            found.update(namespace=chosen.get("namespace"), periodic="tokenFile" in user)

        credentials = await cls._loaded(None, load, clock)
        credentials.namespace = found["namespace"]
        credentials.periodic = found["periodic"]
        return credentials

    @classmethod
    async def _loaded(
        cls, namespace: str | None, load: Callable[[Configuration], Awaitable[None]], clock: Callable[[], float]
    ) -> "Credentials":
        configuration = _blank()
        await load(configuration)
        configuration.proxy = configuration.proxy or _proxy(str(configuration.host))
        return cls(configuration, namespace, load, clock, _read_at=clock())

    async def authorization(self) -> str | None:
        """The Authorization header, read again when it may have changed; the former one if that fails."""
        if self.periodic and self.load is not None and self.clock() - self._read_at >= _READ_AGAIN:
            await self._read()
        value = self.configuration.api_key.get("BearerToken")
        return str(value) if value else None

    async def refused(self) -> bool:
        """The server said 401: read again, unless that was done just now. Whether the header is another one now."""
        before = self.configuration.api_key.get("BearerToken")
        if self.load is not None and self.clock() - self._read_at >= _READ_AGAIN_AFTER_401:
            await self._read()
        return self.configuration.api_key.get("BearerToken") != before

    def tls_identity(self) -> tuple[object, ...]:
        """Changes when a connection has to be made with other certificates than before."""
        names = (self.configuration.ssl_ca_cert, self.configuration.cert_file, self.configuration.key_file)
        return tuple((name, _changed_at(name)) for name in names if name)

    async def _read(self) -> None:
        async with self._reading:
            if self.load is None or self.clock() - self._read_at < _READ_AGAIN_AFTER_401:
                return  # another request read it while this one waited
            self._read_at = self.clock()
            fresh = _blank()
            try:
                await self.load(fresh)
            except ConfigurationError:
                return  # a file that is being replaced; what we have may still be good, and the server will say
            self.configuration.api_key = fresh.api_key
            self.configuration.cert_file = fresh.cert_file
            self.configuration.key_file = fresh.key_file


async def find(*, kubeconfig: str | None, context: str | None, server: str | None, token: str | None) -> Credentials:
    """What is named explicitly, else the pod's ServiceAccount, else $KUBECONFIG or ~/.kube/config."""
    if server is not None:
        return await Credentials.of_server(server, token)
    in_pod = SERVICE_HOST_ENV_NAME in os.environ and Path(SERVICE_TOKEN_FILENAME).is_file()  # noqa: ASYNC240 - once, tiny
    if kubeconfig is None and context is None and in_pod:
        return await Credentials.in_cluster()
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return await Credentials.of_kubeconfig(path, context)


def _blank() -> Configuration:
    configuration = Configuration()
    # Every watch holds a connection. With the library's pool of 100 the 101st watch would stop every other request.
    configuration.connection_pool_maxsize = 0
    # The library has aiohttp trust the environment: that reads ~/.netrc in a thread for every single request, and
    # refuses ours when it finds the server in there. Only the proxies in the environment are meant, see _proxy.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


def _proxy(server: str) -> str | None:
    """The proxy that the environment names for a server (HTTPS_PROXY, NO_PROXY), as every Kubernetes client does."""
    parts = urlsplit(server)
    if proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)


def _changed_at(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:
        return 0
