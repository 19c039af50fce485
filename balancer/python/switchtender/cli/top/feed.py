"""Reads what a balancer shows, in a thread of its own, and goes on over lost connections. Knows no screen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from switchtender.cli.client import ApiError

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi

_PAUSE = 1.0
"""Seconds before a lost connection is sought again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the balancer showed: a ``view``, or events (oldest first)."""

    view: dict[str, Any] | None = None
    events: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Gone:
    """The balancer does not show anything now; why, for a person."""

    reason: str


Take = Callable[[Seen | Gone], object]


class Feed:
    """``start`` gives what comes to ``take``, from another thread, until ``stop``."""

    def __init__(self, api: BalancerApi, pause: float = _PAUSE) -> None:
        self._api = api
        self._pause = pause
        self._stopped = threading.Event()

    def start(self, take: Take) -> None:
        """Begin. The thread does not keep the process: a read that waits for a silent balancer is left alone."""
        threading.Thread(target=self._run, args=(take,), name="live view", daemon=True).start()

    def stop(self) -> None:
        """Give nothing more to whom it was started for."""
        self._stopped.set()

    def _run(self, take: Take) -> None:
        while not self._stopped.is_set():
            try:
                reason = self._read(take)
            except ApiError as error:
                reason = error.message
            if not self._stopped.is_set():
                take(Gone(reason))
            self._stopped.wait(self._pause)

    def _read(self, take: Take) -> str:
        """Until the stream ends; why it did. Raises ApiError."""
        take(Seen(events=tuple(self._api.latest_events())))
        for told in self._api.live():
            if self._stopped.is_set():
                break
            take(Seen(view=told.document) if told.name == "view" else Seen(events=(told.document,)))
        return "the balancer ended the stream"
