"""What the HTTP interface may ask of the balancer, and the shapes it answers with.

Knows neither sockets nor the packet core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web

from switchtender.telemetry.journal import Journal
from switchtender.telemetry.traces import Traces

Json = dict[str, Any]


class BadQuestionError(ValueError):
    """The question cannot be answered as it was put; the text says which field, what was found and what is accepted."""


class NotFoundError(LookupError):
    """What the question names is not there; the text says what, and where to look."""


class NotHereError(RuntimeError):
    """This balancer is not the one to ask; the text says how it is done."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it goes over the wire."""

    body: bytes
    headers: dict[str, str]


class Metrics(Protocol):
    """What Prometheus asks for."""

    async def page(self, accept: str, accept_encoding: str) -> Page:
        """The page in the format that the scraper prefers, by its headers ``Accept`` and ``Accept-Encoding``."""


class View(Protocol):
    """The balancer, as the outside may see it."""

    @property
    def instance(self) -> str:
        """A random id of this process: peers tell replicas apart by it."""

    @property
    def metrics(self) -> Metrics:
        """The metrics of this process."""

    def not_ready(self) -> str | None:
        """Why the process is not ready to be sent calls; None when it is."""

    def balancer(self) -> Json:
        """This process: who it is, whether it is ready, and how much it carries."""

    async def look(self) -> Json:
        """All of it at one moment: what ``balancer`` gives with ``time``, and ``groups`` and ``nodes``."""

    @property
    def journal(self) -> Journal:
        """What happened."""

    @property
    def traces(self) -> Traces | None:
        """Traces of calls; None while there is no call to trace."""

    async def state(self) -> Json:
        """What the operator asks for: the versions acted on, and each node as this balancer sees it."""

    def token(self) -> bytes | None:
        """The bearer token that ``state`` is shown for; None where there is none to be shown for. Empty: not known yet,
        and nobody is shown it.
        """

    def explain(self, call: Json) -> Json:
        """Why a call would go where. Raises BadQuestionError."""

    async def order(self, verb: str, node: str, details: Json, by: str) -> Json:
        """Carry out what ``by`` (name and address, as in the log) wants of a node, and tell what stood before
        and after.

        Raises BadQuestionError, NotFoundError, NotHereError.
        """


VIEW: Final[web.AppKey[View]] = web.AppKey("view", View)
"""Where the application keeps what it serves."""
