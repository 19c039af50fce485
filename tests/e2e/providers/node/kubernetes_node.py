"""A Kubernetes node on a machine: containerd with runc, pods on a routed network, kubelet, kube-proxy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.providers.node import cgroups, wiring
from tests.e2e.providers.node.machine import Machine, MachineError, until

_SOCKET = "/run/containerd/containerd.sock"
_CNI = "/run/cni-conf"
_KUBELET = "/run/kubelet"  # bound to a folder of the node: sockets below it must have short paths
# A kubelet sets these for the whole host; a machine sees them as set already.
_TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass(frozen=True)
class Credentials:
    """What a node needs to speak with the API server and to be spoken to."""

    authority: Path
    kubelet: Path  # kubeconfig; beside it the certificate that the kubelet serves with, .crt and .key
    proxy: Path  # kubeconfig


@dataclass
class KubernetesNode:
    """Node ``number`` on ``machine``; ``folder`` takes its state. Nothing runs before `start`."""

    machine: Machine
    number: int
    folder: Path
    binaries: Path
    credentials: Credentials
    cgroup: str
    sandbox_image: str
    proxy_mode: str = "nftables"

    @property
    def name(self) -> str:
        """Its name in Kubernetes."""
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        """Its address on the network of the machines."""
        return wiring.address(self.number)

    def start_runtime(self, images: Sequence[Path]) -> None:
        """Start containerd and import ``images`` (docker archives); needs no control plane. Raises MachineError."""
        self._prepare()
        settings = self._write("containerd.toml", self._containerd())
        self.machine.spawn("containerd", "containerd", "--config", str(settings))
        try:
            until(lambda: self._ctr("version", check=False), "containerd", 20)
        except MachineError as error:
            raise MachineError(f"{self.name}: {error}:\n{self.machine.log('containerd')}") from None
        for image in images:
            self._ctr("images", "import", "--snapshotter", "overlayfs", str(image))

    def start_kubelet(self) -> None:
        """Start kubelet and kube-proxy; the node is Ready some time after."""
        self.machine.spawn(
            "kubelet", str(self.binaries / "kubelet"),
            f"--config={self._write('kubelet.json', json.dumps(self._kubelet(), indent=1))}",
            f"--kubeconfig={self.credentials.kubelet}", f"--root-dir={_KUBELET}", f"--cert-dir={self.folder / 'pki'}",
            f"--hostname-override={self.name}", f"--node-ip={self.address}", "--v=2",
        )  # fmt: skip
        self.machine.spawn(
            "kube-proxy", str(self.binaries / "kube-proxy"),
            f"--kubeconfig={self.credentials.proxy}", f"--hostname-override={self.name}",
            f"--bind-address={self.address}", "--metrics-bind-address=127.0.0.1:10249",
            f"--proxy-mode={self.proxy_mode}", f"--cluster-cidr={wiring.PODS}",
            "--conntrack-max-per-core=0", "--v=2",  # the host's limit is not a namespace's to set
        )  # fmt: skip

    def stop(self) -> None:
        """Switch the node off and remove its cgroups; raises MachineError if one stays."""
        self.machine.power_off()
        if left := cgroups.remove(self.cgroup):
            raise MachineError(f"cgroups of {self.name} stay: {', '.join(map(str, left))}")

    def _ctr(self, *arguments: str, check: bool = True) -> str:
        return self.machine.run("ctr", "--address", _SOCKET, "--namespace", "k8s.io", *arguments, check=check)

    def _write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.write_text(text)
        return file

    def _prepare(self) -> None:
        cgroups.create(self.cgroup)
        (self.folder / "kubelet").mkdir(parents=True, exist_ok=True)
        self.machine.run("mkdir", "-p", _CNI, _KUBELET, "/run/tunables")
        self.machine.run("mount", "--bind", str(self.folder / "kubelet"), _KUBELET)
        self.machine.run("tee", f"{_CNI}/10-pods.conflist", stdin=json.dumps(self._cni()))
        for name, value in _TUNABLES.items():
            file = f"/run/tunables/{name.replace('/', '.')}"
            self.machine.run("tee", file, stdin=value + "\n")
            if Path("/proc/sys", name).exists():
                self.machine.run("mount", "--bind", file, f"/proc/sys/{name}")

    def _containerd(self) -> str:
        # oom_score_adj: root of a container may lack CAP_SYS_RESOURCE.
        return f"""version = 2
root = "{self.folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{self.sandbox_image}"
  enable_unprivileged_ports = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{_CNI}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""

    def _cni(self) -> dict[str, Any]:
        # ptp, not bridge: over a bridge an answer to a pod bypasses the node, which puts a Service's address back.
        ipam = {
            "type": "host-local",
            "dataDir": "/run/ipam",
            "ranges": [[{"subnet": wiring.pods_of(self.number)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        return {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {"type": "ptp", "ipMasq": False, "ipam": ipam},
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,  # a host of v1 is no reason not to test; ignored on v2
            "failSwapOn": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "containerRuntimeEndpoint": f"unix://{_SOCKET}",
            "address": self.address,
            "port": 10250,
            "healthzPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.credentials.authority)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(self.credentials.kubelet.with_suffix(".crt")),
            "tlsPrivateKeyFile": str(self.credentials.kubelet.with_suffix(".key")),
            "clusterDomain": "cluster.local",
            "clusterDNS": ["10.96.0.10"],
            "resolvConf": "",
            "volumePluginDir": f"{_KUBELET}/volume-plugins",
            "podLogsDir": str(self.folder / "pod-logs"),
            "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "5s",
            "makeIPTablesUtilChains": False,
            "maxPods": 100,
        }
