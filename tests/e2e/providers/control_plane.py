"""etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok, in one network namespace.

Knows the flags that a control plane of minutes needs and how to break it on purpose (the API server taken away and
given back, etcd compacted); knows nothing of the product. Three to six seconds from nothing to ready.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.providers.pki import Authority
from tests.e2e.providers.processes import Processes

HERE = Path(__file__).parent
ADVERTISED = "10.77.0.1"
"""What the API server calls itself; a loopback address is refused there."""
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
_LOOPBACK = "127.0.0.1"
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True)
class Ports:
    """Free TCP ports on loopback, found when the control plane is made and kept over restarts."""

    api: int
    etcd: int
    etcd_peer: int
    controllers: int
    scheduler: int

    @classmethod
    def find(cls) -> Ports:
        """Ask the kernel; all are held at once, so no two are alike."""
        probes = [socket.socket() for _ in range(5)]
        for probe in probes:
            probe.bind((_LOOPBACK, 0))
        found = [probe.getsockname()[1] for probe in probes]
        for probe in probes:
            probe.close()
        return cls(*found)


class ControlPlane:
    """A control plane; ``folder`` takes its state, certificates and logs."""

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        *,
        inside: Callable[[], AbstractContextManager[None]] = nullcontext,
        reachable: bool = False,
        kwok: bool = True,
    ) -> None:
        """``inside`` enters the network it lives in; without it, it lives where the caller is.

        ``reachable``: the API server is to be had where pods expect it (10.96.0.1), not on loopback alone.
        ``kwok``: it plays a node and pods; without it nodes come by `node_credentials`.
        """
        self.binaries = binaries
        self.folder = folder
        self.reachable = reachable
        self._inside = inside
        self._kwok = kwok
        with inside():
            self.ports = Ports.find()
        self.server = f"https://{_LOOPBACK}:{self.ports.api}"
        self.processes = Processes(folder / "logs")
        self.audit_log = folder / "logs" / "audit.log"
        self._pki = folder / "pki"
        self.kubeconfig = self._pki / "admin.kubeconfig"
        self._make_credentials()
        self._tls = ssl.create_default_context(cafile=str(self.authority))
        self._tls.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")

    @property
    def authority(self) -> Path:
        """The CA certificate."""
        return self._pki / "ca.crt"

    def _make_credentials(self) -> None:
        self._issuer = authority = Authority.create(self._pki)
        authority.issue("apiserver", "kube-apiserver", hosts=(_LOOPBACK, FIRST_SERVICE, ADVERTISED, *_NAMES))
        authority.issue("front-proxy", "front-proxy-client")
        authority.issue("kubelet-client", "kube-apiserver-kubelet-client", group="system:masters")
        for name, user, group in (
            ("admin", "admin", "system:masters"),
            ("kwok", "kwok", "system:masters"),
            ("controller-manager", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
            ("kube-proxy", "system:kube-proxy", None),
        ):
            authority.issue(name, user, group=group)
            authority.kubeconfig(name, self.server)

    def node_credentials(self, name: str, address: str) -> tuple[Path, Path]:
        """Certificate and kubeconfigs of a real node at ``address``: those of its kubelet and of its kube-proxy.

        The kubelet's certificate and key stand beside its kubeconfig, as ``.crt`` and ``.key``.
        """
        server = f"https://{ADVERTISED}:{self.ports.api}"
        self._issuer.issue(name, f"system:node:{name}", group="system:nodes", hosts=(name, address))
        proxy = f"kube-proxy-{name}"
        self._issuer.issue(proxy, "system:kube-proxy")
        return self._issuer.kubeconfig(name, server), self._issuer.kubeconfig(proxy, server)

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything and wait until it serves. Raises StartError."""
        with self._inside():
            self._start()

    def _start(self) -> None:
        self._start_etcd()
        self._start_api_server()
        # Earlier than /readyz the controller manager ends: the roles it runs under are not there yet.
        self._start_controllers()
        if self._kwok:
            self._create_node("kwok-1")
            self._start_kwok()
        self.processes.wait("kube-controller-manager", self._controllers_work)
        if self._kwok:
            self.processes.wait("kwok", self._nodes_ready)

    def close(self) -> None:
        """End everything."""
        self.processes.kill_all()

    def _program(self, name: str) -> Path:
        return self.binaries / name

    def _start_etcd(self) -> None:
        client, peer = f"http://{_LOOPBACK}:{self.ports.etcd}", f"http://{_LOOPBACK}:{self.ports.etcd_peer}"
        self.processes.start("etcd", [
            self._program("etcd"), f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        ])  # fmt: skip

    def _start_api_server(self) -> None:
        pki = self._pki
        where = (
            ["--bind-address=0.0.0.0", "--endpoint-reconciler-type=lease"]
            if self.reachable
            else [f"--bind-address={_LOOPBACK}", "--endpoint-reconciler-type=none"]
        )
        self.processes.start("kube-apiserver", [
            self._program("kube-apiserver"), f"--etcd-servers=http://{_LOOPBACK}:{self.ports.etcd}", *where,
            f"--secure-port={self.ports.api}", f"--advertise-address={ADVERTISED}",
            f"--service-cluster-ip-range={SERVICES}", "--service-node-port-range=30000-32767",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true", "--profiling=false", "--anonymous-auth=false", "--shutdown-delay-duration=0s",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            f"--kubelet-client-certificate={pki}/kubelet-client.crt", f"--kubelet-client-key={pki}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            f"--requestheader-client-ca-file={pki}/ca.crt", "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy.crt", f"--proxy-client-key-file={pki}/front-proxy.key",
            f"--audit-policy-file={HERE / 'audit-policy.yaml'}", f"--audit-log-path={self.audit_log}",
        ])  # fmt: skip
        self.processes.wait("kube-apiserver", lambda: self._ask("/readyz") == b"ok")

    def _start_controllers(self) -> None:
        pki = self._pki
        for name, port, more in (
            ("controller-manager", self.ports.controllers, [
                "--use-service-account-credentials=true", f"--service-account-private-key-file={pki}/sa.key",
                f"--root-ca-file={pki}/ca.crt", f"--cluster-signing-cert-file={pki}/ca.crt",
                f"--cluster-signing-key-file={pki}/ca.key", f"--service-cluster-ip-range={SERVICES}",
                "--concurrent-deployment-syncs=2", f"--flex-volume-plugin-dir={self.folder / 'flex-volume'}",
                # kwok's node has no heartbeat, and a real one loses the API server when a scenario wants it to.
                "--node-monitor-grace-period=24h",
                "--horizontal-pod-autoscaler-sync-period=3s",
            ]),
            ("scheduler", self.ports.scheduler, []),
        ):  # fmt: skip
            kubeconfig = pki / f"{name}.kubeconfig"
            self.processes.start(f"kube-{name}", [
                self._program(f"kube-{name}"), f"--kubeconfig={kubeconfig}",
                f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
                f"--bind-address={_LOOPBACK}", f"--secure-port={port}", "--leader-elect=false",
                "--kube-api-qps=500", "--kube-api-burst=1000", *more,
            ])  # fmt: skip

    def _start_kwok(self) -> None:
        self.processes.start("kwok", [
            self._program("kwok"), f"--kubeconfig={self._pki / 'kwok.kubeconfig'}", f"--config={HERE / 'kwok.yaml'}",
            # No Lease, or a kwok that follows one that was killed may wait for it. Said here: 0 in the file means 40.
            "--node-lease-duration-seconds=0",
        ])  # fmt: skip

    def _create_node(self, name: str) -> None:
        labels = {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": labels},
        }
        self._ask("/api/v1/nodes", "POST", node)

    def start_kube_proxy(self) -> None:
        """Start kube-proxy (nftables; root, and a namespace of one's own), so that Services work in this network."""
        with self._inside():
            self._start_kube_proxy()

    def _start_kube_proxy(self) -> None:
        self.processes.start("kube-proxy", [
            self._program("kube-proxy"), f"--kubeconfig={self._pki / 'kube-proxy.kubeconfig'}", "--proxy-mode=nftables",
            "--hostname-override=kwok-1", f"--bind-address={ADVERTISED}", "--conntrack-max-per-core=0",
            f"--healthz-bind-address={_LOOPBACK}:10256", f"--metrics-bind-address={_LOOPBACK}:10249",
            "--nodeport-addresses=primary",
        ])  # fmt: skip
        self.processes.wait("kube-proxy", _proxy_synced)

    # --- questions ----------------------------------------------------------------------------------------------

    def _ask(self, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> bytes:
        request = urllib.request.Request(
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5, context=self._tls) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code} {error.read()[:300]!r}") from None

    def _controllers_work(self) -> bool:
        return bool(self._ask("/api/v1/namespaces/default/serviceaccounts/default"))

    def _nodes_ready(self) -> bool:
        conditions = json.loads(self._ask("/api/v1/nodes/kwok-1"))["status"].get("conditions", [])
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    # --- faults -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """No API server for the block: it goes at once, as a machine that fails does. Afterwards it serves again.

        Controllers and kwok go along and start anew: they back off for up to half a minute and then go on with what
        they were about to do, and what is tried is not their patience.
        """
        for name in ("kwok", "kube-scheduler", "kube-controller-manager", "kube-apiserver"):
            self.processes.stop(name, now=True)
        try:
            yield
        finally:
            with self._inside():
                self._start_api_server()
                self._start_controllers()
                if self._kwok:
                    self._start_kwok()

    def compact(self) -> int:
        """Make etcd forget all revisions before the present one: a watch from there gets 410. Returns it."""
        key = base64.b64encode(b"/registry/").decode()
        with self._inside():
            revision = int(self._etcd("/v3/kv/range", {"key": key, "limit": "1"})["header"]["revision"])
            self._etcd("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def _etcd(self, path: str, body: dict[str, Any]) -> Any:
        # etcd's gRPC gateway: JSON over HTTP, no etcdctl needed.
        url = f"http://{_LOOPBACK}:{self.ports.etcd}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data=json.dumps(body).encode()), timeout=10) as answer:
            return json.load(answer)

    def audit(self) -> list[dict[str, Any]]:
        """The audit log so far: one event a write, oldest first."""
        if not self.audit_log.exists():
            return []
        return [json.loads(line) for line in self.audit_log.read_text().splitlines() if line.endswith("}")]


def _proxy_synced() -> bool:
    with urllib.request.urlopen(f"http://{_LOOPBACK}:10256/healthz", timeout=2) as answer:
        return bool(answer.status == 200)
