"""Patches, and which fields of an object have an owner: pure functions on JSON."""

import copy
from typing import Any

from tests.stand.kube_api.kinds import Json
from tests.stand.kube_api.refusals import Refused, bad_request


def merged(target: object, patch: object) -> Json:
    """RFC 7396."""
    result = _merged(target, patch)
    assert isinstance(result, dict)
    return result


def _merged(target: object, patch: object) -> object:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def desired(raw: Json) -> Json:
    return {name: value for name, value in raw.items() if name not in {"metadata", "status"}}


def owned_paths(raw: Json) -> set[tuple[str, ...]]:
    """The paths whose owner is known: two levels deep, three for labels, annotations and conditions (by type)."""
    paths: set[tuple[str, ...]] = set()
    for name, value in raw.items():
        if name in {"apiVersion", "kind", "metadata"}:
            continue
        paths |= {(name, key) for key in value} if isinstance(value, dict) else {(name,)}
    for name in ("labels", "annotations"):
        paths |= {("metadata", name, key) for key in (raw.get("metadata") or {}).get(name) or {}}
    if ("status", "conditions") in paths:
        paths.remove(("status", "conditions"))
        paths |= {("status", "conditions", condition["type"]) for condition in raw["status"]["conditions"]}
    return paths


def value_at(raw: object, path: tuple[str, ...]) -> object:
    """What is at a path; a list is one of conditions, found by their type."""
    for name in path:
        if isinstance(raw, list):
            raw = next((item for item in raw if item["type"] == name), None)
        else:
            raw = raw.get(name) if isinstance(raw, dict) else None
    return raw


def put(raw: Json, path: tuple[str, ...], value: object) -> None:
    """Set what is at a path, with all that leads there."""
    at: Any = raw
    for name in path[:-1]:
        if not at.get(name):
            at[name] = [] if name == "conditions" else {}
        at = at[name]
    if isinstance(at, list):
        drop({"conditions": at}, ("conditions", path[-1]))
        at.append(copy.deepcopy(value))
    else:
        at[path[-1]] = copy.deepcopy(value)


def drop(raw: Json, path: tuple[str, ...]) -> None:
    """Remove what is at a path, if it is there."""
    at: Any = raw
    for name in path[:-1]:
        at = at.get(name) or {}
    if isinstance(at, list):
        at[:] = [item for item in at if item["type"] != path[-1]]
    else:
        at.pop(path[-1], None)


def json_patch_step(body: Json, step: Json) -> None:
    names = [name.replace("~1", "/").replace("~0", "~") for name in step["path"].split("/")[1:]]
    at: object = body
    for name in names[:-1]:
        at = at[int(name)] if isinstance(at, list) else at[name]  # type: ignore[index]
    last: str | int = names[-1]
    if isinstance(at, list):
        last = len(at) if last == "-" else int(last)
    match step["op"]:
        case "test":
            if at[last] != step["value"]:  # type: ignore[index]
                raise Refused(422, "Invalid", f"the test of {step['path']} failed")
        case "remove":
            del at[last]  # type: ignore[attr-defined]
        case "add" if isinstance(at, list):
            at.insert(int(last), step["value"])
        case "add" | "replace":
            at[last] = step["value"]  # type: ignore[index]
        case other:
            raise bad_request(f"JSON patch: {other} is not done here")
