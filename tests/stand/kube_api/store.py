"""The objects of the scripted API server and their history: everything but HTTP, time and faults.

Objects are never changed in place, so that a watch event, a list and a record of history may share them. What is done
differs from the real server where nobody here looks: no admission, no defaulting, no namespaces that have to exist,
ownership of fields by top-level key of metadata.labels, metadata.annotations, spec, status and data, not by path.
"""

import copy
import itertools
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tests.stand.kube_api.fields import desired, drop, json_patch_step, merged, owned_paths, put, value_at
from tests.stand.kube_api.kinds import BUILT_IN, OWN, Json, Kind, of_definition
from tests.stand.kube_api.refusals import (
    Key,
    Refused,
    bad_request,
    exists,
    expired,
    invalid,
    managed_by_others,
    modified,
    not_found,
    precondition,
    too_large,
)
from tests.stand.kube_api.selectors import Matches

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PREFIX = re.compile(rf"{_LABEL}(\.{_LABEL})*-?")
"""What a generated name may begin with: a name, and one dash more. A dot at the end is none."""

MERGE_PATCH = "application/merge-patch+json"


class Change(NamedTuple):
    """One step of history: ``before`` None = created, ``after`` None = deleted (then ``last`` is the final state)."""

    version: int
    kind: Kind
    key: Key
    before: Json | None
    after: Json | None
    last: Json


class Store:
    """All objects of all kinds, one counter of versions, and the changes since the last compaction."""

    def __init__(self, *, own: bool = True, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.kinds: dict[tuple[str, str, str], Kind] = {}
        for kind in (*BUILT_IN, *(OWN if own else ())):
            self.register(kind)
        self.version = 1000
        self.compacted = self.version
        self.history: list[Change] = []
        self.subscribers: set[Callable[[Change], None]] = set()
        self._objects: dict[Kind, dict[Key, Json]] = {}
        self._owners: dict[str, dict[str, set[tuple[str, ...]]]] = {}
        self._now = now
        self._serial = itertools.count(1)

    # --- reading ----------------------------------------------------------------------------------------------

    def register(self, kind: Kind) -> None:
        self.kinds[kind.group, kind.version, kind.plural] = kind

    def kind_of(self, body: Json) -> Kind:
        for kind in self.kinds.values():
            if kind.api_version == body.get("apiVersion") and kind.kind == body.get("kind"):
                return kind
        raise Refused(404, "NotFound", f"no matches for kind {body.get('kind')!r} in {body.get('apiVersion')!r}")

    def find(self, kind: Kind, key: Key) -> Json | None:
        return self._objects.get(kind, {}).get(key)

    def get(self, kind: Kind, key: Key) -> Json:
        found = self.find(kind, key)
        if found is None:
            raise not_found(kind, key)
        return found

    def objects(self, kind: Kind, namespace: str | None = None, matches: Matches = lambda _: True) -> list[Json]:
        return self.objects_at(kind, self.version, namespace, matches)

    def objects_at(
        self, kind: Kind, version: int, namespace: str | None = None, matches: Matches = lambda _: True
    ) -> list[Json]:
        """The objects as they were at a version, in the order of the server's keys. 410 if that was compacted."""
        if version < self.compacted:
            raise expired(version, self.compacted)
        if version > self.version:
            raise too_large(version, self.version)
        found = dict(self._objects.get(kind, {}))
        for change in reversed(self.history):
            if change.version <= version:
                break
            if change.kind is kind:
                if change.before is None:
                    del found[change.key]
                else:
                    found[change.key] = change.before
        return [
            found[key]
            for key in sorted(found, key=lambda key: (key[0] or "", key[1]))
            if namespace in {None, key[0]} and matches(found[key])
        ]

    def changes_since(self, version: int) -> list[Change]:
        """What came after a version; 410 if part of that was compacted."""
        if version < self.compacted:
            raise expired(version, self.compacted)
        low = next((i for i in range(len(self.history), 0, -1) if self.history[i - 1].version <= version), 0)
        return self.history[low:]

    def compact(self) -> None:
        """Forget the past: whoever was not listening has to list."""
        self.compacted = self.version
        self.history.clear()

    # --- writing ----------------------------------------------------------------------------------------------

    def create(
        self, kind: Kind, namespace: str | None, body: Json, manager: str = "test", *, whole: bool = False
    ) -> Json:
        """POST. ``whole``: keep a status in the body, too, as only a test's hand can."""
        raw = copy.deepcopy(body)
        metadata = raw.setdefault("metadata", {})
        self._check_type(kind, raw)
        if kind.namespaced and metadata.get("namespace", namespace) != namespace:
            raise bad_request("the namespace of the object does not match the namespace sent on the request")
        if metadata.get("resourceVersion") not in {None, ""}:
            raise Refused(500, "", "resourceVersion should not be set on objects to be created")
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise invalid(kind, (namespace, ""), "metadata.name: Required value: name or generateName is required")
            if not _PREFIX.fullmatch(metadata["generateName"]):
                raise invalid(kind, (namespace, ""), "metadata.generateName: Invalid value: not the start of a name")
            metadata["name"] = f"{metadata['generateName']}{next(self._serial):05x}"
        key = (namespace if kind.namespaced else None, metadata["name"])
        if self.find(kind, key) is not None:
            raise exists(kind, key)
        if kind.status and not whole:
            raw.pop("status", None)
        for name in (
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "selfLink",
            "uid",
            "generation",
        ):
            metadata.pop(name, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = stamp(self._now())
        if kind.namespaced:
            metadata["namespace"] = namespace
        if kind.generation:
            metadata["generation"] = 1
        raw = {"apiVersion": kind.api_version, "kind": kind.kind, **raw}
        if kind.plural == "customresourcedefinitions":
            raw = self._establish(raw)
        self._owners.setdefault(metadata["uid"], {})[manager] = owned_paths(raw)
        return self._commit(kind, key, raw)

    def update(
        self, kind: Kind, key: Key, body: Json, *, status: bool = False, manager: str = "test", whole: bool = False
    ) -> Json:
        """PUT, of the object or its status. A resourceVersion in the body has to be the present one."""
        before = self.get(kind, key)
        self._check_type(kind, body)
        metadata = body.get("metadata") or {}
        if metadata.get("name", key[1]) != key[1]:
            raise bad_request(
                f"the name of the object ({metadata.get('name')}) does not match that on the URL ({key[1]})"
            )
        version = metadata.get("resourceVersion")
        if not version and not kind.unconditional_update:
            raise invalid(kind, key, "metadata.resourceVersion: Invalid value: 0: must be specified for an update")
        if (version and version != before["metadata"]["resourceVersion"]) or (
            metadata.get("uid") and metadata["uid"] != before["metadata"]["uid"]
        ):
            raise modified(kind, key)
        after = self._prepared(kind, before, copy.deepcopy(body), status=status, whole=whole)
        if after != before:
            mine = self._owners.setdefault(before["metadata"]["uid"], {}).setdefault(manager, set())
            mine |= {path for path in owned_paths(after) if value_at(after, path) != value_at(before, path)}
        return self._commit(kind, key, after)

    def merge(self, kind: Kind, key: Key, patch: Json, *, status: bool = False, manager: str = "test") -> Json:
        """A merge patch (RFC 7396); also what is done for a strategic one, so lists are replaced."""
        before = self.get(kind, key)
        body = merged(before, patch)
        body.setdefault("metadata", {}).setdefault("resourceVersion", before["metadata"]["resourceVersion"])
        return self.update(kind, key, body, status=status, manager=manager)

    def json_patch(
        self, kind: Kind, key: Key, patch: Iterable[Json], *, status: bool = False, manager: str = "test"
    ) -> Json:
        """A JSON patch (RFC 6902): add, replace, remove and test."""
        body = copy.deepcopy(self.get(kind, key))
        for step in patch:
            json_patch_step(body, step)
        return self.update(kind, key, body, status=status, manager=manager)

    def apply(
        self, kind: Kind, key: Key, body: Json, *, manager: str, force: bool, status: bool = False
    ) -> tuple[Json, bool]:
        """Server-side apply; whether it created the object comes second."""
        if not body.get("apiVersion") or not body.get("kind"):
            raise bad_request("apiVersion and kind have to be set in an apply patch")
        self._check_type(kind, body)
        before = self.find(kind, key)
        if before is None:
            if status:
                self.get(kind, key)
            return self.create(kind, key[0], body, manager), True
        metadata = body.get("metadata") or {}
        if metadata.get("uid", before["metadata"]["uid"]) != before["metadata"]["uid"]:
            raise precondition(kind, key, "UID", metadata["uid"], before["metadata"]["uid"])
        version = before["metadata"]["resourceVersion"]
        if metadata.get("resourceVersion", version) != version:
            raise modified(kind, key)
        owners = self._owners.setdefault(before["metadata"]["uid"], {})
        wanted = {path for path in owned_paths(body) if not kind.status or (path[0] == "status") is status}
        taken = [
            (other, path)
            for other, paths in owners.items()
            if other != manager
            for path in sorted(paths & wanted)
            if value_at(before, path) != value_at(body, path)
        ]
        if taken and not force:
            raise managed_by_others([(other, "." + ".".join(path)) for other, path in taken])
        after = copy.deepcopy(before)
        for name in body.keys() - after.keys():
            after[name] = {}
        for path in sorted(wanted):
            put(after, path, value_at(body, path))
        others = set().union(*(paths for other, paths in owners.items() if other != manager))
        former = {path for path in owners.get(manager, set()) if not kind.status or (path[0] == "status") is status}
        for path in former - wanted - others:
            drop(after, path)
        for name in ("ownerReferences", "finalizers"):
            if not status and name in metadata:
                after["metadata"][name] = copy.deepcopy(metadata[name])
        for other, path in taken:
            owners[other].discard(path)
        owners[manager] = (owners.get(manager, set()) - former) | wanted
        after["metadata"].pop("resourceVersion", None)
        return self._commit(kind, key, self._prepared(kind, before, after, status=status)), False

    def delete(
        self,
        kind: Kind,
        key: Key,
        *,
        uid: str | None = None,
        version: str | None = None,
        grace: int | None = None,
        orphan: bool = False,
    ) -> tuple[Json, bool]:
        """DELETE. (object, gone): pods on a node end after their grace, objects with finalizers when those are gone."""
        before = self.get(kind, key)
        metadata = before["metadata"]
        if uid not in {None, metadata["uid"]}:
            raise precondition(kind, key, "UID", str(uid), metadata["uid"])
        if version not in {None, metadata["resourceVersion"]}:
            raise precondition(kind, key, "ResourceVersion", str(version), metadata["resourceVersion"])
        spec = before.get("spec") or {}
        graceful = kind.plural == "pods" and bool(spec.get("nodeName")) and grace != 0
        if graceful or metadata.get("finalizers"):
            if "deletionTimestamp" in metadata:
                return before, False
            seconds = (grace if grace is not None else spec.get("terminationGracePeriodSeconds", 30)) if graceful else 0
            after = copy.deepcopy(before)
            after["metadata"]["deletionTimestamp"] = stamp(self._now() + timedelta(seconds=seconds))
            after["metadata"]["deletionGracePeriodSeconds"] = seconds
            if kind.generation:
                after["metadata"]["generation"] = metadata.get("generation", 1) + 1
            return self._commit(kind, key, after), False
        return self.remove(kind, key, orphan=orphan), True

    def remove(self, kind: Kind, key: Key, *, orphan: bool = False) -> Json:
        """Take an object out at once, and whatever only it owned (garbage collection), unless orphaned."""
        before = self.get(kind, key)
        del self._objects[kind][key]
        self._owners.pop(before["metadata"]["uid"], None)
        self.version += 1
        last = copy.deepcopy(before)
        last["metadata"]["resourceVersion"] = str(self.version)
        self._record(Change(self.version, kind, key, before, None, last))
        if kind.plural == "customresourcedefinitions":
            for served in of_definition(before):
                for name in list(self._objects.get(served, {})):
                    self.remove(served, name)
                self.kinds.pop((served.group, served.version, served.plural), None)
        if not orphan:
            self._collect(before["metadata"]["uid"])
        return last

    # --- within -----------------------------------------------------------------------------------------------

    def _check_type(self, kind: Kind, body: Json) -> None:
        if body.get("apiVersion", kind.api_version) != kind.api_version or body.get("kind", kind.kind) != kind.kind:
            found = f"{body.get('kind')} in version {body.get('apiVersion')!r}"
            why = f"{found} cannot be handled as a {kind.kind}"
            raise Refused(422, "Invalid", why) if kind.custom else bad_request(why)

    def _prepared(self, kind: Kind, before: Json, body: Json, *, status: bool, whole: bool = False) -> Json:
        """What a write through the object's path, or through its status, may change of it."""
        old = before["metadata"]
        if status:
            after = {**before, "metadata": dict(old), "status": body.get("status")}
            if after["status"] is None:
                del after["status"]
            return after
        metadata = body.setdefault("metadata", {})
        fixed = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
        for name in (*fixed, "generation", "resourceVersion"):
            metadata.pop(name, None)
            if name in old:
                metadata[name] = old[name]
        after = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        if kind.status and not whole:
            after.pop("status", None)
            if "status" in before:
                after["status"] = before["status"]
        if kind.generation and desired(after) != desired(before):
            metadata["generation"] = old.get("generation", 1) + 1
        return after

    def _commit(self, kind: Kind, key: Key, after: Json) -> Json:
        before = self.find(kind, key)
        if before is not None:
            version = before["metadata"]["resourceVersion"]
            if {**after, "metadata": {**after["metadata"], "resourceVersion": version}} == before:
                return before  # what changes nothing makes no new version and no event
        self.version += 1
        after["metadata"]["resourceVersion"] = str(self.version)
        ending = "deletionTimestamp" in after["metadata"] and not after["metadata"].get("finalizers")
        if ending and kind.plural != "pods":
            self._objects.setdefault(kind, {})[key] = after
            return self.remove(kind, key)
        self._objects.setdefault(kind, {})[key] = after
        if kind.plural == "customresourcedefinitions":
            for served in of_definition(after):
                self.register(served)
        self._record(Change(self.version, kind, key, before, after, after))
        return after

    def _record(self, change: Change) -> None:
        self.history.append(change)
        for subscriber in tuple(self.subscribers):
            subscriber(change)

    def _collect(self, uid: str) -> None:
        for kind, objects in list(self._objects.items()):
            for key, raw in list(objects.items()):
                owners = raw["metadata"].get("ownerReferences") or []
                if any(owner.get("uid") == uid for owner in owners) and not any(
                    self._alive(owner.get("uid")) for owner in owners
                ):
                    self.delete(kind, key, grace=0)

    def _alive(self, uid: str | None) -> bool:
        return any(raw["metadata"]["uid"] == uid for objects in self._objects.values() for raw in objects.values())

    def _establish(self, raw: Json) -> Json:
        now = stamp(self._now())
        conditions = [
            {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now}
            for kind, reason in (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))
        ]
        stored = [version["name"] for version in raw["spec"]["versions"] if version.get("storage")]
        status = {"conditions": conditions, "acceptedNames": raw["spec"]["names"], "storedVersions": stored}
        return {**raw, "status": status}


def event_of(change: Change, namespace: str | None, matches: Matches) -> tuple[str, Json] | None:
    """What a watch with a namespace and selectors tells of a change: (type, object), or None if nothing."""
    if namespace not in {None, change.key[0]}:
        return None
    was = change.before is not None and matches(change.before)
    now = change.after is not None and matches(change.after)
    if now:
        return "MODIFIED" if was else "ADDED", change.last
    if not was or change.before is None:
        return None
    # Deleted, or out of the selector: the state before, with the version of the change.
    metadata = {**change.before["metadata"], "resourceVersion": str(change.version)}
    return "DELETED", {**change.before, "metadata": metadata}


def stamp(at: datetime) -> str:
    """RFC 3339 in seconds, as the API writes times."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
