"""What users bring: FreeSWITCH pods, BalancerGroups, Secrets; and the sets that should come of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tests.e2e.installation import set_ready
from tests.e2e.providers.cluster import Cluster, Json
from tests.e2e.providers.sim import pod_address

API_VERSION = "switchtender.dev/v1alpha1"
APP = "freeswitch"
_TOUCHED = "e2e.switchtender.dev/touched"


def group(name: str, app: str = APP, **spec: Any) -> Json:
    """A BalancerGroup over the pods of an app; ``spec`` is merged over it, one level deep."""
    whole: Json = {
        "members": {"selector": {"matchLabels": {"app": app}}},
        "esl": {"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "password"}}},
        "capacity": {"legsPerCall": 1},
    }
    for key, value in spec.items():
        whole[key] = {**whole.get(key, {}), **value} if isinstance(value, dict) else value
    return {"apiVersion": API_VERSION, "kind": "BalancerGroup", "metadata": {"name": name}, "spec": whole}


@dataclass
class Voice:
    """A user's namespace."""

    cluster: Cluster
    namespace: str

    def path(self, plural: str, name: str = "") -> str:
        """The API path of our resources here."""
        base = f"/apis/{API_VERSION}/namespaces/{self.namespace}/{plural}"
        return f"{base}/{name}" if name else base

    def pod_path(self, name: str = "") -> str:
        """The API path of pods."""
        base = f"/api/v1/namespaces/{self.namespace}/pods"
        return f"{base}/{name}" if name else base

    # --- what users do ------------------------------------------------------------------------------------------

    def create_group(self, name: str, app: str = APP, **spec: Any) -> Json:
        """Create a BalancerGroup."""
        return self.cluster.api("POST", self.path("balancergroups"), group(name, app, **spec))

    def create_pod(
        self, name: str, app: str = APP, *, address: str | None = None, ready: bool = True, **more: str
    ) -> Json:
        """Create a pod that kwok runs; ``more`` are further annotations of kwok.yaml (hold)."""
        # Addresses of our own: a kwok that starts anew does not know which ones its predecessor gave away.
        wanted = {"ready": "true" if ready else "false", "pod-ip": address or pod_address(), **more}
        return self.cluster.api("POST", self.pod_path(), {
            "metadata": {
                "name": name,
                "labels": {"app": app},
                "annotations": {f"e2e.switchtender.dev/{key}": value for key, value in wanted.items()},
            },
            "spec": {
                "nodeName": "kwok-1",
                "terminationGracePeriodSeconds": 60,
                "containers": [{"name": "freeswitch", "image": "none"}],
            },
        })  # fmt: skip

    def set_ready(self, name: str, *, ready: bool) -> None:
        """What the kubelet would say of the pod's readiness probe."""
        set_ready(self.cluster, self.pod_path(name), ready=ready)

    def label(self, name: str, **labels: str | None) -> None:
        """Change labels of a pod; None takes one away."""
        self.cluster.merge(self.pod_path(name), {"metadata": {"labels": labels}})

    def delete_pod(self, name: str, *, grace: int | None = None) -> None:
        """Delete a pod; one with the annotation hold stays terminating."""
        self.cluster.delete(self.pod_path(name), grace=grace)

    def touch(self, name: str) -> None:
        """Change a pod without changing what it is: whoever watches it looks again."""
        self.cluster.merge(self.pod_path(name), {"metadata": {"annotations": {_TOUCHED: str(time.monotonic_ns())}}})

    def let_go(self, name: str) -> None:
        """Let a held pod end."""
        self.cluster.merge(self.pod_path(name), {"metadata": {"annotations": {"e2e.switchtender.dev/hold": None}}})

    def set_password(self, password: str, secret: str = "esl") -> None:
        """Write the Secret with the ESL password."""
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}, "stringData": {"password": password}},
            namespace=self.namespace,
        )

    # --- what comes of it ---------------------------------------------------------------------------------------

    def sets(self, group_name: str) -> list[Json]:
        """The group's DestinationSets, by name."""
        found = self.cluster.items(self.path("destinationsets"), f"switchtender.dev/group={group_name}")
        return sorted(found, key=lambda each: str(each["metadata"]["name"]))

    def members(self, group_name: str) -> dict[str, Json]:
        """The members of all sets of a group by name."""
        return {member["name"]: member for each in self.sets(group_name) for member in each["spec"]["members"]}

    def states(self, group_name: str) -> dict[str, str]:
        """The state of each member by name."""
        return {name: member["state"] for name, member in self.members(group_name).items()}

    def pods(self, app: str = APP) -> dict[str, Json]:
        """The pods of an app by name."""
        return {pod["metadata"]["name"]: pod for pod in self.cluster.items(self.pod_path(), f"app={app}")}

    def addresses(self, app: str = APP) -> dict[str, str]:
        """The address of each pod of an app that has one, by name."""
        return {name: pod["status"]["podIP"] for name, pod in self.pods(app).items() if "podIP" in pod["status"]}

    def conditions(self, group_name: str) -> dict[str, tuple[str, str]]:
        """Status and reason of each condition of a group."""
        status = (self.cluster.get(self.path("balancergroups", group_name)) or {}).get("status", {})
        return {each["type"]: (each["status"], each["reason"]) for each in status.get("conditions", [])}

    def events(self, group_name: str) -> list[Json]:
        """Events about a group."""
        found = self.cluster.items(f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")
        about = {"kind": "BalancerGroup", "name": group_name}
        return [each for each in found if about.items() <= each.get("regarding", {}).items()]

    def until_running(self, *names: str, app: str = APP) -> None:
        """Wait until the pods of an app are these and each has its address.

        kwok plays a pod by its name, and what is left to play of a pod it drops when one of that name goes: of one made
        anew at once it may drop the wrong one. It takes up again a pod that is changed.
        """

        def there() -> bool:
            waiting = self.pods(app).keys() - self.addresses(app).keys()
            for name in waiting:
                self.touch(name)
            return not waiting and self.addresses(app).keys() == set(names)

        self.cluster.until(there, f"addresses of the pods {sorted(names)}", pause=0.5)

    def until_states(self, group_name: str, expected: dict[str, str], patience: float = 30.0) -> None:
        """Wait until the group's members are exactly these."""
        seen: dict[str, str] = {}

        def there() -> bool:
            seen.clear()
            seen.update(self.states(group_name))
            return seen == expected

        try:
            self.cluster.until(there, f"members {expected} of {group_name}", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; members: {seen}; pods: {self.addresses()}") from None
