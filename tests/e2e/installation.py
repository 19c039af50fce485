"""The product in a cluster, as its chart installs it, with the containers as processes of this checkout.

The chart is rendered and all of it is applied but what would start containers: ServiceAccounts, roles, ConfigMap,
Services. Operator and balancer then run with the arguments and the environment of their containers, each under a
fresh token of its ServiceAccount, so the chart's rights are the only ones they have.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.providers.cluster import Cluster, Json
from tests.e2e.providers.sim import pod_address
from tests.stand.process import BIN, StandError, ask, end, free_port, read_text

CHART = Path(__file__).parents[2] / "charts" / "switchtender"
RELEASE = "st"
FULLNAME = "st-switchtender"
_CONTAINERS = ("Deployment", "Pod", "Job", "PodDisruptionBudget")
"""What only makes sense with containers; everything else of the chart is applied."""
STARTUP = 60.0


@dataclass
class Program:
    """A running operator or balancer."""

    name: str
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    credential: str
    """The id of its token, as it stands in the audit log."""

    def healthy(self) -> bool:
        """Whether /healthz answers 200."""
        try:
            read_text(f"{self.url}/healthz")
        except OSError:
            return False
        return True

    def resident(self) -> float:
        """Its resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def ready(self) -> bool:
        """Whether /readyz answers 200; raises StandError when the process is gone."""
        if self.process.poll() is not None:
            raise StandError(f"{self.name} ended: {self.log.read_text(errors='replace')[-3000:]}")
        try:
            read_text(f"{self.url}/readyz")
        except OSError:
            return False
        return True

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 without any."""
        total = 0.0
        for line in read_text(f"{self.url}/metrics").splitlines():
            if line.partition("{")[0].partition(" ")[0] == name and all(
                f'{key}="{value}"' in line for key, value in labels.items()
            ):
                total += float(line.rpartition(" ")[2])
        return total

    def ask(self, path: str) -> Any:
        """JSON from its HTTP interface."""
        return ask(f"{self.url}{path}")

    def freeze(self) -> None:
        """SIGSTOP: as a machine that is suspended or starved."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM, as Kubernetes stops a container."""
        self.process.terminate()


class Installation:
    """One release in a namespace of its own."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, values: Mapping[str, Any]) -> None:
        """Render and apply the chart with ``values``; raises CommandError."""
        self.cluster = cluster
        self.namespace = namespace
        self.folder = folder
        self._values = folder / f"values-{namespace}.yaml"
        self._values.write_text(yaml.safe_dump(dict(values)))
        rendered = cluster.helm("template", RELEASE, str(CHART), "-n", namespace, "-f", str(self._values))
        self.documents: list[Json] = [document for document in yaml.safe_load_all(rendered) if document]
        self.apply()

    def apply(self) -> None:
        """Apply what the chart renders (again)."""
        self.cluster.apply(*(document for document in self.documents if document["kind"] not in _CONTAINERS))

    def remove(self) -> None:
        """Delete what does not go with the namespace."""
        for document in self.documents_of("ClusterRole", "ClusterRoleBinding"):
            plural = f"{document['kind'].lower()}s"
            self.cluster.delete(f"/apis/rbac.authorization.k8s.io/v1/{plural}/{document['metadata']['name']}")
        # The next may want the same address for its Service before the namespace is gone.
        for document in self.documents_of("Service"):
            self.cluster.delete(f"/api/v1/namespaces/{self.namespace}/services/{document['metadata']['name']}")

    def document(self, kind: str, name: str) -> Json:
        """A rendered object by name."""
        return next(
            document
            for document in self.documents
            if document["kind"] == kind and document["metadata"]["name"] == f"{FULLNAME}{name}"
        )

    def documents_of(self, *kinds: str) -> list[Json]:
        """Rendered objects by kind."""
        return [document for document in self.documents if document["kind"] in kinds]

    # --- processes ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _program(self, component: str, name: str, environment: Mapping[str, str], *options: str) -> Iterator[Program]:
        """Run a container of the chart as a process; ``options`` come after the chart's own."""
        container = self.document("Deployment", f"-{component}")["spec"]["template"]["spec"]["containers"][0]
        account = f"{FULLNAME}-{component}"
        path = self.folder / f"{name}.kubeconfig"
        kubeconfig = self.cluster.service_account_kubeconfig(self.namespace, account, path)
        token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
        environment = {"POD_NAME": name, "POD_NAMESPACE": self.namespace, "HOST_IP": "10.77.0.1", **environment}
        arguments = [_expanded(argument, environment) for argument in container["args"]]
        command = "switchtender-operator" if component == "operator" else "switchtender"
        log = self.folder / f"{name}.log"
        self.cluster.watch_log(log)
        # Nothing of a pod that this checkout may itself run in.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("KUBERNETES_", "POD_"))}
        with log.open("ab") as output, self.cluster.inside():
            process = subprocess.Popen(
                [str(BIN / command), *arguments, *options, f"--kubeconfig={kubeconfig}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, **environment},
            )
        host = environment["POD_IP"]
        port = _http_port(container, options)
        try:
            yield Program(name, process, f"http://{host}:{port}", log, _token_id(token))
        finally:
            # A frozen process follows nothing but SIGKILL until it goes on.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            end(process)

    @contextlib.contextmanager
    def operator(self, *options: str, name: str = "operator", wait: bool = True) -> Iterator[Program]:
        """Run an operator until the block ends; ``wait``: until it is ready."""
        with self.cluster.inside():
            port = free_port()
        environment = {"POD_IP": "127.0.0.1"}
        with self._program("operator", name, environment, f"--http-port={port}", *options) as program:
            if wait:
                self.wait_ready(program)
            yield program

    @contextlib.contextmanager
    def balancer(self, name: str, *, wait: bool = True, address: str | None = None) -> Iterator[Balancer]:
        """Run a balancer as a pod of the chart's Deployment until the block ends (provider sim); ``address``: there."""
        address = address or pod_address()
        # A new pod has an empty volume, whatever it is called.
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix=f"{name}-"))
        config = folder / "balancer.yaml"
        text = self.document("ConfigMap", "-config")["data"]["balancer.yaml"]
        # The container's own volume.
        config.write_text(text.replace("/var/lib/switchtender", str(folder / "state")))
        template = self.document("Deployment", "-balancer")["spec"]["template"]["metadata"]
        pod = {
            "metadata": {
                "name": name,
                "labels": template["labels"],
                "annotations": {
                    "e2e.switchtender.dev/pod-ip": address,
                    "e2e.switchtender.dev/ready": "false",
                    "e2e.switchtender.dev/hold": "yes",
                },
            },
            "spec": {"nodeName": "kwok-1", "containers": [{"name": "balancer", "image": "none"}]},
        }
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        self.cluster.api("POST", pods, pod)
        with self._program("balancer", name, {"POD_IP": address}, f"--config={config}") as program:
            balancer = Balancer(program, address, self.cluster, f"{pods}/{name}")
            try:
                if wait:
                    self.wait_ready(program)
                    balancer.set_ready(ready=True)
                yield balancer
            finally:
                with contextlib.suppress(Exception):
                    balancer.remove()

    def wait_ready(self, program: Program) -> None:
        """Wait for /readyz; raises AssertionError, StandError."""
        with self.cluster.inside():
            self.cluster.until(program.ready, f"a ready {program.name}", STARTUP)


@dataclass
class Balancer:
    """A balancer process and the pod that it is to Kubernetes."""

    program: Program
    address: str
    cluster: Cluster
    pod: str

    def set_ready(self, *, ready: bool) -> None:
        """What the kubelet would say of its readiness probe."""
        set_ready(self.cluster, self.pod, ready=ready)

    def nodes(self) -> dict[str, Json]:
        """Its nodes by name."""
        with self.cluster.inside():
            return {node["node"]: node for node in self.program.ask("/api/v1/nodes")["nodes"]}

    def stop(self) -> None:
        """What the kubelet does to a pod that is deleted: it terminates, SIGTERM, and is gone when the process is."""
        self.cluster.delete(self.pod)
        self.program.terminate()

    def remove(self) -> None:
        """The pod is gone, whatever its process does."""
        self.cluster.delete(self.pod, grace=0)


def set_ready(cluster: Cluster, pod: str, *, ready: bool) -> None:
    """Write the Ready condition of a pod (its API path) that kwok plays."""
    status = "True" if ready else "False"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    conditions = [{"type": kind, "status": status, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
    cluster.until(lambda: (cluster.get(pod) or {}).get("status", {}).get("podIP"), f"a running {pod}")
    cluster.api(
        "PATCH",
        f"{pod}/status",
        {"status": {"conditions": conditions}},
        content_type="application/strategic-merge-patch+json",
    )


def _token_id(token: str) -> str:
    """What the API server calls a ServiceAccount's token in ``user.extra`` of the audit log."""
    claims = token.split(".")[1]
    return f"JTI={json.loads(base64.urlsafe_b64decode(claims + '=' * (-len(claims) % 4)))['jti']}"


def _expanded(argument: str, environment: Mapping[str, str]) -> str:
    """Kubernetes' own $(NAME) in a container's arguments."""
    for name, value in environment.items():
        argument = argument.replace(f"$({name})", value)
    return argument


def _http_port(container: Json, options: tuple[str, ...]) -> int:
    for option in options:
        if option.startswith("--http-port="):
            return int(option.partition("=")[2])
    return next(int(port["containerPort"]) for port in container["ports"] if port["name"] == "http")
