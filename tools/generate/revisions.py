"""The record of the custom resources' revisions: which schemas each of them had, and whether it was released.

Clusters hold the schema of a revision under its number, and an operator replaces a lower number only. So a released
revision never changes; one that is not released yet may, as often as it takes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

WHERE = "CRD_REVISION in api/src/switchtender_api/constants.py"


class RevisionError(Exception):
    """The schemas and their revision do not go together; the text says what to do."""


def digest(definition: dict[str, Any]) -> str:
    """Return the SHA-256 of what a definition says, without its revision."""
    return hashlib.sha256(json.dumps(definition["spec"], sort_keys=True).encode()).hexdigest()


def updated(recorded: str, revision: int, definitions: Iterable[dict[str, Any]], *, release: bool = False) -> str:
    """Return the record with the schemas of today under `revision`; `recorded` is the record's text, empty for none.

    Raises RevisionError where a released revision would change, or a revision would be left out.
    """
    entries: list[dict[str, Any]] = json.loads(recorded) if recorded else []
    digests = {definition["metadata"]["name"]: digest(definition) for definition in definitions}
    *earlier, last = entries or [{"revision": 0, "released": True, "sha256": {}}]
    if last["revision"] == revision:
        if last["released"] and last["sha256"] != digests:
            raise RevisionError(f"revision {revision} was released with other schemas: raise {WHERE} to {revision + 1}")
        released = last["released"]
    elif last["released"] and revision == last["revision"] + 1:
        earlier, released = entries, False
    else:
        wanted = last["revision"] + 1 if last["released"] else last["revision"]
        raise RevisionError(f"revision {revision} does not follow: set {WHERE} to {wanted}")
    entry = {"revision": revision, "released": released or release, "sha256": digests}
    return json.dumps([*earlier, entry], indent=2) + "\n"
