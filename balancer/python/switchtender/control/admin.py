"""What operators want of nodes at run time: kept over reloads and restarts, in ``stateDir/admin.json``.

An override of a member that is no longer in the configuration waits for a day, so that a mistake in the file costs
nothing; then it is dropped. So is it remembered which nodes were paused from here: only those are ever resumed. Written
whole or not at all. A file that cannot be read is left aside with a warning.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from switchtender.config.overrides import Override

log = logging.getLogger(__name__)

FILE: Final = "admin.json"
KEPT: Final = 24 * 3600.0
"""Seconds for which the override of a member that is gone is kept."""
_FORMAT: Final = 1
_STATES: Final = (None, "Drained", "Disabled")


class Directory(Protocol):
    """Where the file is."""

    def read(self, name: str) -> bytes | None:
        """The file of that name; None where there is none."""

    def write(self, name: str, text: str) -> None:
        """Replace it."""


class Admin:
    """The overrides in force, by member uid. ``clock`` gives seconds since the epoch."""

    def __init__(self, directory: Directory | None = None, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._overrides: dict[str, Override] = {}
        self._gone_since: dict[str, float] = {}
        self._paused: dict[str, float | None] = {}
        """Since when each is gone from the configuration; None: it is in there."""
        if directory is not None:
            self._load(directory.read(FILE))

    @property
    def overrides(self) -> Mapping[str, Override]:
        """Those of members that are gone included."""
        return self._overrides

    def paused(self, members: Iterable[str]) -> bool:
        """Whether the node that these members are was paused from here, as far as is remembered."""
        return any(uid in self._paused for uid in members)

    def remember_paused(self, members: Iterable[str], *, paused: bool) -> None:
        """The node that these members are was paused from here, or is no longer."""
        before = dict(self._paused)
        for uid in members:
            if paused:
                self._paused.setdefault(uid, None)
            else:
                self._paused.pop(uid, None)
        if self._paused != before:
            self._save()

    def set(self, changed: Mapping[str, Override]) -> None:
        """Go by these from now on; one that overrides nothing is dropped."""
        for uid, override in changed.items():
            if override:
                self._overrides[uid] = override
            else:
                self._overrides.pop(uid, None)
        self._save()

    def present(self, uids: Collection[str]) -> None:
        """These members are in the configuration, and no others."""
        now, before = self._clock(), (dict(self._gone_since), len(self._overrides), dict(self._paused))
        gone = {uid: self._gone_since.get(uid, now) for uid in self._overrides if uid not in uids}
        for uid, since in gone.items():
            if now - since > KEPT:
                log.info("an override is dropped: its node left the configuration a day ago", extra={"member": uid})
                del self._overrides[uid]
        self._gone_since = {uid: since for uid, since in gone.items() if uid in self._overrides}
        away = {uid: None if uid in uids else now if since is None else since for uid, since in self._paused.items()}
        self._paused = {uid: since for uid, since in away.items() if since is None or now - since <= KEPT}
        if (self._gone_since, len(self._overrides), self._paused) != before:
            self._save()

    def _load(self, text: bytes | None) -> None:
        if text is None:
            return
        try:
            document = json.loads(text)
            for entry in _members(document):
                self._overrides[str(entry["uid"])] = _override(entry, self._clock())
                if entry["goneSince"] is not None:
                    self._gone_since[str(entry["uid"])] = float(entry["goneSince"])
            paused = document.get("paused", {}).items()
            self._paused = {str(uid): None if since is None else float(since) for uid, since in paused}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._overrides, self._gone_since, self._paused = {}, {}, {}
            log.warning("%s is left aside, no node is overridden: %s", FILE, error)
            return
        if any(entry.get("state") and entry.get("since") is None for entry in _members(document)):
            self._save()  # the next start is to find when the order began

    def _save(self) -> None:
        if self._directory is None:
            return
        members = [
            {"uid": uid, **override.as_json(), "goneSince": self._gone_since.get(uid)}
            for uid, override in sorted(self._overrides.items())
        ]
        document = {"format": _FORMAT, "members": members, "paused": self._paused}
        self._directory.write(FILE, json.dumps(document, indent=1))


def _members(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    if document["format"] != _FORMAT:
        raise ValueError(f"another format than {_FORMAT}")
    members: list[dict[str, Any]] = document["members"]
    return members


def _override(entry: Mapping[str, Any], now: float) -> Override:
    """One that was kept; since when a state is wanted that an older version kept is not known: since ``now``."""
    state, weight, since = entry["state"], entry["weight"], entry.get("since")
    if state not in _STATES:
        raise ValueError(f"unknown state {state!r}")
    resources = {str(name): int(limit) for name, limit in entry["resources"].items()}
    began = None if state is None else now if since is None else float(since)
    return Override(state, None if weight is None else int(weight), resources, began)


def without_resource(override: Override, name: str) -> Override:
    """The same, with the resource as configured."""
    return replace(override, resources={other: limit for other, limit in override.resources.items() if other != name})
