"""What the scripted API server says of itself: version, health, groups and resources."""

from collections.abc import Collection

from tests.stand.kube_api.kinds import Json, Kind
from tests.stand.kube_api.refusals import not_served


def discovery(parts: list[str], kinds: Collection[Kind]) -> Json | None:
    """The answer to a path (its parts) that asks what there is; None if it asks for something else."""
    match parts:
        case ["version"]:
            return {"major": "1", "minor": "37", "gitVersion": "v1.37.0-scripted"}
        case ["readyz" | "livez" | "healthz"]:
            return {"status": "ok"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            versions = {(kind.group, kind.version) for kind in kinds if kind.group}
            groups = []
            for group in sorted({group for group, _ in versions}):
                served = [
                    {"groupVersion": f"{group}/{version}", "version": version}
                    for name, version in sorted(versions)
                    if name == group
                ]
                groups.append({"name": group, "versions": served, "preferredVersion": served[0]})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["api", version] | ["apis", _, version]:
            group = parts[1] if parts[0] == "apis" else ""
            return _resources(group, version, [k for k in kinds if (k.group, k.version) == (group, version)])
    return None


def _resources(group: str, version: str, kinds: list[Kind]) -> Json:
    if not kinds:
        raise not_served()
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    resources: list[Json] = []
    for kind in kinds:
        common = {"singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind}
        resources.append({"name": kind.plural, **common, "verbs": verbs})
        if kind.status:
            resources.append({"name": f"{kind.plural}/status", **common, "verbs": ["get", "patch", "update"]})
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}
