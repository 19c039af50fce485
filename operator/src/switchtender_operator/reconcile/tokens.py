"""The bearer tokens of balancers, read from the Secrets that the operator made. Kept in memory only, logged never."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable

from switchtender_kube import ApiError, Client, Resource, Unreachable
from switchtender_operator.publish.secrets import token_name
from switchtender_operator.reconcile.objects import Configuration

SECRETS = Resource("", "v1", "secrets")


class SecretTokens:
    """Reads a token once, and again when a balancer refuses it, though not more often than each `retry` seconds."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        configurations: Callable[[], Iterable[Configuration]],
        *,
        clock: Callable[[], float],
        retry: float = 10.0,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._configurations = configurations
        self._clock = clock
        self._retry = retry
        self._tokens: dict[str, str] = {}
        self._read_at: dict[str, float] = {}

    async def __call__(self, balancer: str, *, refused: str | None) -> str | None:
        """Return the token of the balancer, None if there is none to be had or it is the one that was refused."""
        config_map = next((one.config_map for one in self._configurations() if one.balancer == balancer), None)
        if config_map is None:
            return None
        known = self._tokens.get(config_map)
        if known is not None and known != refused:
            return known
        now = self._clock()
        read_at = self._read_at.get(config_map)
        if read_at is None or now - read_at >= self._retry:
            self._read_at[config_map] = now
            token = await self._read(config_map)
            if token is not None:
                self._tokens[config_map] = known = token
        return None if known == refused else known

    def forget(self) -> None:
        """Read again whatever is asked for next."""
        self._tokens.clear()
        self._read_at.clear()

    async def _read(self, config_map: str) -> str | None:
        try:
            secret = await self._client.get(SECRETS.path(self._namespace, token_name(config_map)))
            return base64.b64decode(secret["data"]["token"], validate=True).decode("ascii") or None
        except (ApiError, Unreachable, KeyError, TypeError, binascii.Error, UnicodeDecodeError):
            return None
