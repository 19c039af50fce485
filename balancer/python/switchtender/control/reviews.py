"""Who may trace calls in Kubernetes: the API server says who a token belongs to (TokenReview), and whether they may
(SubjectAccessReview). What it said counts for a few seconds, so that a right that was taken away soon is gone.

No token is kept, logged or told: it is known by its hash alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from switchtender.http.admin import ForbiddenError, NotAdmittedError, UnauthorizedError, UnavailableError
from switchtender_kube import ApiError, Client, Unreachable

AUDIENCE: Final = "switchtender"
"""Whom a token must be made out to. One for the API server itself would be worth much more to whoever overhears it."""

PATH: Final = "/switchtender.dev/api/v1/traces"
"""The URL that rights are given on (``nonResourceURLs``); verbs are those of HTTP, in lower case. Below a prefix of our
own, since every account may get what is below ``/api`` (the role system:discovery).
"""

KEPT: Final = 10.0
"""Seconds for which an answer counts."""
_TIMEOUT: Final = 2.0
_MOST_KEPT: Final = 1024
_MOST_AT_ONCE: Final = 8
"""Questions under way: strangers with tokens made up must not make us a flood for the API server."""

_TOKENS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_HOW: Final = f"kubectl create token SERVICEACCOUNT --audience {AUDIENCE}"

_Key = tuple[bytes, str]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the API server made of a token and a verb: a name, or why not."""

    at: float
    name: str = ""
    refusal: type[NotAdmittedError] | None = None
    said: str = ""

    def spoken(self) -> str:
        if self.refusal is not None:
            raise self.refusal(self.said)
        return self.name


@dataclass
class Reviews:
    """Implements ``http.admin.Guard`` by asking the API server; ``client`` is set once there is one."""

    clock: Callable[[], float] = time.monotonic
    client: Client | None = None
    orders: ClassVar[bool] = False
    _known: OrderedDict[_Key, _Verdict] = field(default_factory=OrderedDict)
    _asking: int = 0

    async def admit(self, token: str | None, verb: str) -> str | None:
        """The user's name. Raises UnauthorizedError, ForbiddenError, UnavailableError."""
        if token is None:
            raise UnauthorizedError(f"a bearer token is needed; {_HOW} makes one")
        key = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), verb
        known = self._known.get(key)
        if known is None or self.clock() - known.at > KEPT:
            known = await self._asked(token, verb)
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)
        return known.spoken()

    async def _asked(self, token: str, verb: str) -> _Verdict:
        if self.client is None:
            raise UnavailableError("the balancer is starting and has not asked the API server for anything yet")
        if self._asking >= _MOST_AT_ONCE:
            raise UnavailableError("too many tokens are being reviewed; ask again")
        self._asking += 1
        try:
            async with asyncio.timeout(2 * _TIMEOUT):
                return await self._reviewed(self.client, token, verb)
        except ApiError as error:
            raise UnavailableError(_trouble(error)) from None
        except (Unreachable, TimeoutError):
            raise UnavailableError("the API server does not say who the token belongs to: no answer from it") from None
        finally:
            self._asking -= 1

    async def _reviewed(self, client: Client, token: str, verb: str) -> _Verdict:
        at = self.clock()
        spec: dict[str, Any] = {"token": token, "audiences": [AUDIENCE]}
        status = await _review(client, _TOKENS, "authentication.k8s.io/v1", "TokenReview", spec)
        user = status.get("user") or {}
        name = str(user.get("username") or "")
        if status.get("authenticated") is not True or AUDIENCE not in (status.get("audiences") or ()) or not name:
            said = f"the API server does not know the token as one for the audience {AUDIENCE}; {_HOW} makes one"
            return _Verdict(at, refusal=UnauthorizedError, said=said)
        spec = {
            "user": name,
            "uid": user.get("uid"),
            "groups": user.get("groups"),
            "extra": user.get("extra"),
            "nonResourceAttributes": {"path": PATH, "verb": verb},
        }
        spec = {field_name: value for field_name, value in spec.items() if value}
        status = await _review(client, _ACCESS, "authorization.k8s.io/v1", "SubjectAccessReview", spec)
        if status.get("allowed") is not True or status.get("denied"):
            said = f"{name} may not {verb} {PATH}: bind them to a ClusterRole with this in nonResourceURLs"
            return _Verdict(at, refusal=ForbiddenError, said=said)
        return _Verdict(at, name)


async def _review(client: Client, path: str, version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": version, "kind": kind, "spec": spec}
    status = (await client.create(path, body, timeout=_TIMEOUT)).get("status")
    return status if isinstance(status, dict) else {}


def _trouble(error: ApiError) -> str:
    """What keeps the API server from answering; its own words are left out, for they may repeat what was asked."""
    if error.status == 403:
        right = "balancer.http.admin.tokenReview of the chart lets it"
        return f"the balancer may not ask the API server who a token belongs to: {right}"
    return f"the API server does not say who the token belongs to: it answers {error.status} {error.reason}".rstrip()
