"""The CRDs on the API server: created where missing, upgraded where older, never changed back.

The revision in an annotation decides, not the text: an operator that is rolled back, or one that starts beside a newer
one, leaves the newer schema alone. That needs no leader; two operators that do it at a time agree by resourceVersion.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from switchtender_api.constants import ANNOTATION_CRD_REVISION, CRD_REVISION, GROUP, VERSION
from switchtender_api.crd import KINDS, custom_resource
from switchtender_kube import ApiError, Client, Resource, Unreachable

log = logging.getLogger(__name__)

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
FIELD_MANAGER = "switchtender-operator"

Outcome = Literal["created", "upgraded", "kept"]
Sleep = Callable[[float], Awaitable[None]]

HOW_TO_INSTALL = "switchtender-operator crds apply, or kubectl apply --server-side -f deploy/crds"

_ATTEMPTS = 5


class NotEstablishedError(Exception):
    """The API server took a CRD and does not serve it; the text says which and why."""


def revision_of(definition: dict[str, Any]) -> int:
    """Return the revision that a CRD names; 0 where it names none that can be read, which is older than any."""
    text = str((definition["metadata"].get("annotations") or {}).get(ANNOTATION_CRD_REVISION, ""))
    return int(text) if text.isascii() and text.isdigit() else 0


async def ensure(client: Client, wanted: dict[str, Any]) -> tuple[Outcome, int]:
    """Create the CRD if it is missing, upgrade it if its revision is lower; what was done and the revision there is.

    Raises ApiError (403 where it is not allowed), Unreachable.
    """
    path = DEFINITIONS.path(name=wanted["metadata"]["name"])
    ours = revision_of(wanted)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            found = await _found(client, path)
            if found is None:
                await client.create(DEFINITIONS.path(), wanted)
                return "created", ours
            if (theirs := revision_of(found)) >= ours:
                return "kept", theirs
            version = found["metadata"]["resourceVersion"]
            upgraded = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}
            await client.apply(path, upgraded, field_manager=FIELD_MANAGER, force=True)
        except ApiError as error:
            if error.status != 409 or attempt == _ATTEMPTS:
                raise
        else:
            return "upgraded", ours
    raise AssertionError("unreachable: the last attempt returns or raises")


async def established(client: Client, name: str, *, patience: float = 30.0, sleep: Sleep = asyncio.sleep) -> None:
    """Wait until the API server serves the CRD.

    Raises NotEstablishedError when it does not within `patience` seconds, ApiError, Unreachable.
    """
    pause, waited = 0.1, 0.0
    while True:
        found = await _found(client, DEFINITIONS.path(name=name))
        conditions = {} if found is None else _conditions(found)
        if conditions.get("Established", {}).get("status") == "True":
            return
        if waited >= patience:
            refused = conditions.get("NamesAccepted", {}).get("message") or "no condition Established"
            raise NotEstablishedError(f"{name}: not established after {patience:.0f}s: {refused}")
        await sleep(pause)
        waited += pause
        pause = min(1.0, pause * 2)


async def served(client: Client) -> frozenset[str]:
    """Return the kinds of ours that the API server serves, by discovery. Raises ApiError, Unreachable."""
    try:
        found = await client.get(f"/apis/{GROUP}/{VERSION}")
    except ApiError as error:
        if error.status == 404:
            return frozenset()
        raise
    return frozenset(resource["kind"] for resource in found.get("resources", ())) & frozenset(KINDS)


async def until_served(
    client: Client, *, ensuring: bool, note: Callable[[str, int], None], retry: float, sleep: Sleep = asyncio.sleep
) -> None:
    """Return once the API server serves all our kinds: by our own doing if `ensuring`, else by somebody's.

    Asks again every `retry` seconds, however long it takes, and says once what hinders. `note` is told the revision of
    each CRD that was looked at.
    """
    told = ""
    while True:
        hindered = ""
        try:
            if ensuring:
                hindered = await _ensure_all(client, note)
            missing = sorted(frozenset(KINDS) - await served(client))
            if not missing:
                if hindered:
                    log.info("the CRDs are served, and may not be upgraded by us", extra={"error": hindered})
                return
            hindered = hindered or f"not served yet: {', '.join(missing)}"
        except (ApiError, Unreachable, NotEstablishedError) as error:
            hindered = str(error)
        if hindered != told:
            told = hindered
            log.warning("waiting for the CRDs", extra={"error": hindered, "install_with": HOW_TO_INSTALL})
        await sleep(retry * random.uniform(0.8, 1.2))  # noqa: S311 - spreads replicas


async def _ensure_all(client: Client, note: Callable[[str, int], None]) -> str:
    """Ensure every CRD; what forbids it, empty if nothing does. Raises as `ensure` and `established`, but for 403."""
    try:
        for kind in KINDS:
            wanted = custom_resource(kind)
            name = wanted["metadata"]["name"]
            outcome, revision = await ensure(client, wanted)
            note(name, revision)
            if outcome != "kept":
                log.info("CRD %s", outcome, extra={"crd": name, "revision": revision})
            elif revision > CRD_REVISION:
                log.info("a CRD is newer than this version brings; left alone", extra={"crd": name, "found": revision})
            await established(client, name)
    except ApiError as error:
        if error.status != 403:
            raise
        return str(error)
    return ""


async def apply_all(client: Client) -> Sequence[str]:
    """Ensure every CRD and wait until it is served; a line for each. Raises as `ensure` and `established`."""
    lines = []
    for kind in KINDS:
        wanted = custom_resource(kind)
        name = wanted["metadata"]["name"]
        outcome, revision = await ensure(client, wanted)
        await established(client, name)
        newer = " (newer than this version brings)" if revision > CRD_REVISION else ""
        lines.append(f"{name}: {outcome}, revision {revision}{newer}")
    return lines


async def delete_all(client: Client) -> Sequence[str]:
    """Delete every CRD, and with it every object of its kind; a line for each. Raises ApiError, Unreachable."""
    lines = []
    for kind in KINDS:
        name = custom_resource(kind)["metadata"]["name"]
        try:
            await client.delete(DEFINITIONS.path(name=name))
        except ApiError as error:
            if error.status != 404:
                raise
            lines.append(f"{name}: not there")
        else:
            lines.append(f"{name}: deleted")
    return lines


async def _found(client: Client, path: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await client.get(path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return found


def _conditions(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {condition["type"]: condition for condition in definition.get("status", {}).get("conditions") or ()}
