"""Patches, and which fields of an object have an owner: pure functions on JSON."""

import copy

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
    """The paths whose owner is known: two levels for what holds maps of things, three for labels and annotations."""
    paths: set[tuple[str, ...]] = set()
    for name, value in raw.items():
        if name in {"apiVersion", "kind", "metadata"}:
            continue
        paths |= {(name, key) for key in value} if isinstance(value, dict) and value else {(name,)}
    for name in ("labels", "annotations"):
        paths |= {("metadata", name, key) for key in (raw.get("metadata") or {}).get(name) or {}}
    return paths


def value_at(raw: object, path: tuple[str, ...]) -> object:
    for name in path:
        raw = raw.get(name) if isinstance(raw, dict) else None
    return raw


def put(raw: Json, path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        if not isinstance(raw.get(name), dict):
            raw[name] = {}
        raw = raw[name]
    raw[path[-1]] = copy.deepcopy(value)


def drop(raw: Json, path: tuple[str, ...]) -> None:
    for name in path[:-1]:
        raw = raw.get(name) or {}
    raw.pop(path[-1], None)


def joined(before: object, applied: object, path: tuple[str, ...]) -> object:
    """Conditions are a list-map by type: those that another manager set stay."""
    if path[-1] != "conditions" or not isinstance(before, list) or not isinstance(applied, list):
        return applied
    by_type = {condition["type"]: condition for condition in before}
    by_type.update({condition["type"]: condition for condition in applied})
    return list(by_type.values())


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
