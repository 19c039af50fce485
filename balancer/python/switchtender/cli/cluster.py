"""Pods and groups of a Kubernetes cluster as a command asks for them, in the name of whoever runs it; and what is
written there of their drains. Every refusal becomes a line for a person. Knows no countdown and prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, TypeVar

from switchtender.cli.exits import Failure, fail
from switchtender_api.constants import ANNOTATION_DRAIN, ANNOTATION_DRAINED_BY, DEFAULT_NAMESPACE, GROUP, VERSION
from switchtender_kube import ApiError, Client, ConfigurationError, Conflict, Json, Resource, Unreachable
from switchtender_kube.client import JSON_PATCH

PODS: Final = Resource("", "v1", "pods")
GROUPS: Final = Resource(GROUP, VERSION, "balancergroups")
_ATTEMPTS: Final = 3
_MOST_NEAR: Final = 3

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster, in whose name, and where in it; None: as the kubeconfig says."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A pod, or a static member of a group, and the groups that it is in."""

    kind: Literal["Pod", "StaticMember"]
    namespace: str
    name: str
    uid: str
    """Of the pod, or of the group."""
    groups: tuple[str, ...]
    drain: str | None
    drained_by: str | None = None
    terminating: bool = False

    @property
    def key(self) -> str:
        """As people name it."""
        return f"{self.namespace}/{self.name}"


class Cluster:
    """An API server; made by ``opened``. Every method raises Failure."""

    def __init__(self, runner: asyncio.Runner, client: Client, namespace: str, patience: float | None) -> None:
        self._runner = runner
        self._client = client
        self._patience = patience
        self.namespace = namespace

    @classmethod
    @contextlib.contextmanager
    def opened(cls, access: Access, *, patience: float | None = None) -> Iterator[Self]:
        """The cluster for the time of a ``with`` block. ``patience``: seconds that an answer may take."""
        with asyncio.Runner() as runner:
            try:
                connecting = Client.connect(
                    kubeconfig=access.kubeconfig, context=access.context, user_agent="switchtender"
                )
                client = runner.run(connecting)
            except ConfigurationError as error:
                fail(f"{error}; --kubeconfig names the file, --context the cluster")
            try:
                yield cls(runner, client, access.namespace or client.namespace or DEFAULT_NAMESPACE, patience)
            finally:
                runner.run(client.close())

    # --- what is there ----------------------------------------------------------------------------------------

    def groups(self) -> list[Json]:
        """Every group of the namespace."""
        listed = self._run(self._client.list(GROUPS.path(self.namespace)), "list", GROUPS)
        return [group for group in listed["items"] if isinstance(group.get("spec"), Mapping)]

    def group(self, name: str) -> Json | None:
        """A group by its name, None if there is none."""
        return self._found(GROUPS, name)

    def pods(self, names: Iterable[str], selector: str | None, groups: Iterable[Json]) -> list[Node]:
        """The pods of these names and those that match, each once. ``groups`` are those that may select them."""
        known = list(groups)
        found: dict[str, Json] = {}
        for name in names:
            raw = self._found(PODS, name)
            if raw is None:
                raise Failure(f"no pod {name} in namespace {self.namespace}{self._elsewhere(name, known)}")
            found[raw["metadata"]["uid"]] = raw
        if selector is not None:
            path = PODS.path(self.namespace)
            listed = self._run(self._client.list(path, {"labelSelector": selector}), "list", PODS)["items"]
            if not listed:
                raise Failure(f"no pod of namespace {self.namespace} matches -l {selector}")
            found.update((raw["metadata"]["uid"], raw) for raw in listed)
        return [self._pod(raw, known) for raw in found.values()]

    def member(self, name: str, group: str) -> Node:
        """A static member by its name and that of its group."""
        raw = self._group(group)
        place = _place(raw, name)
        if place is None:
            near = _near(name, (member["name"] for member in _static(raw)))
            raise Failure(
                f"group {self.namespace}/{group} has no static member {name}{near}; of a pod, --group is left out"
            )
        drain = _static(raw)[place].get("drain")
        return Node("StaticMember", self.namespace, name, raw["metadata"]["uid"], (group,), drain)

    def names(self, group: str | None) -> list[str]:
        """What may be drained by name: the static members of the ``group``, else the pods that some group selects."""
        if group is not None:
            return [member["name"] for member in _static(self._group(group))]
        groups = self.groups()
        listed = self._run(self._client.list(PODS.path(self.namespace)), "list", PODS)
        return [pod.name for pod in (self._pod(raw, groups) for raw in listed["items"]) if pod.groups]

    def again(self, node: Node) -> Node | None:
        """As it is now, None if it is gone: that very pod, or the member of that name."""
        if node.kind == "StaticMember":
            raw = self.group(node.groups[0])
            place = None if raw is None else _place(raw, node.name)
            return None if raw is None or place is None else replace(node, drain=_static(raw)[place].get("drain"))
        found = self._found(PODS, node.name)
        if found is None or found["metadata"]["uid"] != node.uid:
            return None
        return replace(self._pod(found, ()), groups=node.groups)

    # --- what is wanted of it ---------------------------------------------------------------------------------

    def want(self, node: Node, drain: str | None) -> None:
        """Have it drain from that time on (RFC 3339), None: no more. Whoever drained it before has no part in it."""
        if node.kind == "Pod":
            self._annotate(node, drain)
        else:
            self._edit(node, drain)

    def _annotate(self, node: Node, drain: str | None) -> None:
        """A merge patch that names the uid: of a pod that took the name meanwhile, nothing is wanted."""
        annotations = {ANNOTATION_DRAIN: drain, ANNOTATION_DRAINED_BY: None}
        patch = {"metadata": {"uid": node.uid, "annotations": annotations}}
        path = PODS.path(self.namespace, node.name)
        try:
            self._run(self._client.patch(path, patch), "patch", PODS)
        except _Changed:
            raise Failure(
                f"pod {node.key}: another pod took its name meanwhile, and nothing was written; try again"
            ) from None

    def _edit(self, node: Node, drain: str | None) -> None:
        """A JSON patch that tests whom it is about: members may move within the list while it is on its way."""
        group = node.groups[0]
        refusal: str | None = ""
        for _ in range(_ATTEMPTS):
            raw = self._group(group)
            place = _place(raw, node.name)
            if place is None:
                raise Failure(f"group {self.namespace}/{group}: static member {node.name} is gone")
            entry = f"/spec/members/static/{place}"
            steps: list[Json] = [
                {"op": "test", "path": "/metadata/uid", "value": node.uid},
                {"op": "test", "path": f"{entry}/name", "value": node.name},
            ]
            if drain is not None:
                steps.append({"op": "add", "path": f"{entry}/drain", "value": drain})
            elif "drain" in _static(raw)[place]:
                steps.append({"op": "remove", "path": f"{entry}/drain"})
            else:
                return
            refusal = self._changed(group, steps)
            if refusal is None:
                return
        raise Failure(f"group {self.namespace}/{group} takes no change of {node.name}: {refusal}")

    def _changed(self, group: str, steps: list[Json]) -> str | None:
        """Why the group did not take these steps, None if it did."""
        try:
            self._run(self._client.patch(GROUPS.path(self.namespace, group), steps, JSON_PATCH), "patch", GROUPS)
        except _Changed as changed:
            return changed.message
        return None

    # --- asking -----------------------------------------------------------------------------------------------

    def _found(self, resource: Resource, name: str) -> Json | None:
        try:
            return self._run(self._client.get(resource.path(self.namespace, name)), "get", resource)
        except _Missing:
            return None

    def _group(self, name: str) -> Json:
        raw = self.group(name)
        if raw is None:
            near = ""
            with contextlib.suppress(Failure):
                near = _near(name, (group["metadata"]["name"] for group in self.groups()))
            raise Failure(f"no BalancerGroup {name} in namespace {self.namespace}{near}")
        return raw

    def _pod(self, raw: Json, groups: Iterable[Json]) -> Node:
        metadata = raw["metadata"]
        annotations = metadata.get("annotations") or {}
        labels = metadata.get("labels") or {}
        return Node(
            "Pod",
            self.namespace,
            metadata["name"],
            metadata["uid"],
            tuple(group["metadata"]["name"] for group in groups if _selects(group, labels)),
            annotations.get(ANNOTATION_DRAIN),
            annotations.get(ANNOTATION_DRAINED_BY),
            terminating="deletionTimestamp" in metadata,
        )

    def _elsewhere(self, name: str, groups: Iterable[Json]) -> str:
        """What may have been meant by a name that no pod has."""
        for group in groups:
            if _place(group, name) is not None:
                return f"; group {group['metadata']['name']} has a static member of that name: --group names it"
        with contextlib.suppress(Failure):
            listed = self._run(self._client.list(PODS.path(self.namespace)), "list", PODS)
            return _near(name, (raw["metadata"]["name"] for raw in listed["items"]))
        return ""

    def _run(self, asking: Coroutine[Any, Any, Answer], verb: str, resource: Resource) -> Answer:
        """The answer; no success becomes a Failure that says what to do."""
        try:
            return self._runner.run(asyncio.wait_for(asking, self._patience))
        except TimeoutError:
            raise Failure(f"the API server at {self._client.server} takes more than {self._patience} s") from None
        except Unreachable as error:
            raise Failure(f"no API server answers at {self._client.server}: {error}") from None
        except ApiError as error:
            raise self._refusal(error, verb, resource) from None

    def _refusal(self, error: ApiError, verb: str, resource: Resource) -> Failure:
        if error.status == 404 and (error.reason == "NotFound" and verb in {"get", "patch"}):
            return _Missing(f"{resource.plural} of namespace {self.namespace}: {error.message}")
        if isinstance(error, Conflict) or (verb == "patch" and error.status == 422):
            return _Changed(error.message)
        if error.status == 403:
            return ForbiddenError(
                f"the API server forbids it: {error.message}; a Role with verb {verb} on {resource.plural} in "
                f"namespace {self.namespace} allows it"
            )
        return Failure(f"the API server at {self._client.server} answers {error}")


class ForbiddenError(Failure):
    """The caller lacks the right, which the text names."""


class _Missing(Failure):
    """There is no such object."""


class _Changed(Failure):
    """It is no more what it was when it was read."""


def _selects(group: Json, labels: Mapping[str, str]) -> bool:
    """Whether a pod with these labels is a member, by ``members.selector.matchLabels``."""
    selector = (group["spec"].get("members") or {}).get("selector")
    wanted: Mapping[str, str] = (selector or {}).get("matchLabels") or {}
    return bool(wanted) and all(labels.get(name) == value for name, value in wanted.items())


def _static(group: Json) -> list[Json]:
    return list((group["spec"].get("members") or {}).get("static") or ())


def _place(group: Json, name: str) -> int | None:
    """Where in the list the static member of that name stands."""
    return next((place for place, member in enumerate(_static(group)) if member.get("name") == name), None)


def _near(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(names), n=_MOST_NEAR, cutoff=0.5)
    return f"; near it: {', '.join(found)}" if found else ""
