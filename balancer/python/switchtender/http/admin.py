"""Who may use the admin verbs: orders to nodes, and traces of calls. Whoever asks shows a bearer token (RFC 6750), from
wherever; a guard says who that is.

A token stands in no text made here and in no log.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from aiohttp import web

log = logging.getLogger(__name__)

_LOGGED_EVERY = 10.0
"""Seconds between two lines about refusals: who tries again and again does not fill the log."""


class NotAdmittedError(Exception):
    """Whoever asks may not; the text says why, and ``status`` and ``headers`` go with the answer."""

    status: ClassVar[int]
    headers: ClassVar[Mapping[str, str]] = {}


class UnauthorizedError(NotAdmittedError):
    """No token was shown, or none that is known; the text says where to find the right one."""

    status = 401
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class ForbiddenError(NotAdmittedError):
    """It is known who asks, and they may not; or nobody may."""

    status = 403


class UnavailableError(NotAdmittedError):
    """Whether they may could not be found out."""

    status = 503
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class Guard(Protocol):
    """Says who may use admin verbs."""

    @property
    def orders(self) -> bool:
        """Whether orders are given by this interface; where they are not, anybody may be told how they are."""

    async def admit(self, token: str | None, verb: str) -> str | None:
        """The name of whoever shows the token, None where it does not tell; ``verb`` of HTTP, in lower case.

        Raises NotAdmittedError.
        """


@dataclass(frozen=True, slots=True)
class Closed:
    """Implements ``Guard`` where nobody is admitted; ``reason`` says why and what would change it."""

    reason: str
    orders: bool = True

    async def admit(self, token: str | None, verb: str) -> str | None:
        """Nobody. Raises ForbiddenError."""
        raise ForbiddenError(self.reason)


@dataclass(frozen=True, slots=True)
class OneToken:
    """Implements ``Guard`` by one token. ``known`` reads it, or raises ForbiddenError where there is none; ``place``
    says where people find it.
    """

    known: Callable[[], str]
    place: str
    orders: ClassVar[bool] = True

    async def admit(self, token: str | None, verb: str) -> str | None:
        """Whoever shows the token. Raises UnauthorizedError, ForbiddenError."""
        known = self.known()
        if token is None:
            raise UnauthorizedError(f"a bearer token is needed; this balancer's stands in {self.place}")
        if not hmac.compare_digest(token.encode("utf-8", "surrogateescape"), known.encode()):
            raise UnauthorizedError(f"the token is not this balancer's, which stands in {self.place}")
        return None


@dataclass(slots=True)
class _Refusals:
    """What was refused since the last line in the log."""

    count: int = 0
    told: float = float("-inf")


_GUARD: web.AppKey[Guard] = web.AppKey("guard", Guard)
_REFUSALS: web.AppKey[_Refusals] = web.AppKey("refusals", _Refusals)

NOBODY = Closed("nobody may use the admin verbs of this balancer")


def guarded(app: web.Application, guard: Guard) -> None:
    """Let ``guard`` say who may use the admin verbs of the application."""
    app[_GUARD] = guard
    app[_REFUSALS] = _Refusals()


async def admitted(request: web.Request) -> str:
    """Who asks, as it stands in the log: the name that the token tells, and the address. Raises NotAdmittedError."""
    where = request.remote or "an unknown address"
    try:
        name = await request.app[_GUARD].admit(_shown(request), request.method.lower())
    except NotAdmittedError as refused:
        _tell(request, where, refused)
        raise
    return where if name is None else f"{name} at {where}"


async def admitted_to_order(request: web.Request) -> str:
    """As ``admitted``; anybody is, where orders are only told how they are given. Raises NotAdmittedError."""
    if request.app[_GUARD].orders:
        return await admitted(request)
    return request.remote or "an unknown address"


def _shown(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _tell(request: web.Request, where: str, refused: NotAdmittedError) -> None:
    refusals, now = request.app[_REFUSALS], time.monotonic()
    refusals.count += 1
    if now - refusals.told >= _LOGGED_EVERY:
        extra = {"by": where, "method": request.method, "path": request.path, "times": refusals.count}
        log.warning("an admin verb was refused: %s", refused, extra=extra)
        refusals.count, refusals.told = 0, now
