"""One open watch of the scripted API server, without HTTP: which changes it tells of, and what it still has to say."""

import asyncio
import json

from tests.stand.kube_api.kinds import Json, Kind
from tests.stand.kube_api.selectors import Matches
from tests.stand.kube_api.store import Change, event_of


class Stream:
    """One open watch: what it still has to say, in order. None in the queue ends it."""

    def __init__(self, kind: Kind, namespace: str | None, matches: Matches, *, bookmarks: bool) -> None:
        self.kind = kind
        self.bookmarks = bookmarks
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._namespace = namespace
        self._matches = matches

    def tell(self, change: Change) -> None:
        if change.kind is self.kind:
            event = event_of(change, self._namespace, self._matches)
            if event is not None:
                self.say(*event)

    def say(self, kind: str, raw: Json) -> None:
        self.queue.put_nowait(json.dumps({"type": kind, "object": raw}).encode() + b"\n")

    def bookmark(self, version: int) -> None:
        if self.bookmarks:
            metadata = {"resourceVersion": str(version), "creationTimestamp": None}
            self.say("BOOKMARK", {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata})
