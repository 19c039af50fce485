"""The scale subresource of workloads: what it shows of an object, and what a patch of it does. No controller acts."""

from tests.stand.kube_api.fields import merged
from tests.stand.kube_api.kinds import Json, Kind
from tests.stand.kube_api.refusals import Refused, modified
from tests.stand.kube_api.store import Store

_SCALED = frozenset({"deployments", "statefulsets"})


def name_for(kind: Kind) -> str | None:
    """The name of the subresource, None for a type without it."""
    return "scale" if kind.plural in _SCALED else None


def scale_of(raw: Json) -> Json:
    """The scale of an object, its selector as text."""
    labels = ((raw.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    metadata = {name: raw["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": raw["spec"].get("replicas", 1)},
        "status": {
            "replicas": (raw.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def act(store: Store, kind: Kind, key: tuple[str | None, str], verb: str, body: Json, manager: str) -> Json:
    """Answer a request to the scale. Raises ``Refused``."""
    before = store.get(kind, key)
    if verb == "get":
        return scale_of(before)
    if verb != "patch":
        raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    wanted = merged(scale_of(before), body)
    if wanted["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
        raise modified(kind, key)
    return scale_of(store.merge(kind, key, {"spec": {"replicas": wanted["spec"]["replicas"]}}, manager=manager))
