"""External metrics for an HPA: a real Prometheus that scrapes the balancers, and a real prometheus-adapter.

Rules of both are those that the product ships. Knows nothing of what scales by them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.installation import Balancer
from tests.e2e.providers.cluster import Cluster, Json
from tests.stand import prometheus
from tests.stand.process import StandError, child, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
SAMPLES = DEPLOY / "samples" / "autoscaling"
_API = "external.metrics.k8s.io"
_READER = "e2e-external-metrics"


def sample(name: str, kind: str) -> Json:
    """An object of a file of the samples."""
    documents: list[Json] = list(yaml.safe_load_all((SAMPLES / name).read_text()))
    return next(document for document in documents if document["kind"] == kind)


def _buffer_rules(namespace: str, group: str, sessions: int) -> str:
    spec = sample("buffer.yaml", "PrometheusRule")["spec"]
    for rule in (rule for each in spec["groups"] for rule in each["rules"]):
        rule |= {"expr": f"vector({sessions})", "labels": {"namespace": namespace, "group": group}}
    return yaml.safe_dump(spec)


@contextlib.contextmanager
def collected(
    cluster: Cluster, folder: Path, balancers: Sequence[Balancer], group: tuple[str, str], buffer: int
) -> Iterator[prometheus.Prometheus]:
    """Prometheus with the shipped rules over these balancers; ``buffer``: sessions kept free for the group."""
    rules = folder / "buffer-rules.yaml"
    rules.write_text(_buffer_rules(*group, buffer))
    jobs = [
        prometheus.Job(
            f"balancer-{number}",
            [balancer.program.url.removeprefix("http://")],
            # What discovery in a cluster gives: its namespace is not that of the groups.
            {"namespace": balancer.pod.split("/")[4], "pod": balancer.program.name},
        )
        for number, balancer in enumerate(balancers)
    ]
    shipped = DEPLOY / "monitoring" / "rules.yaml"
    config = folder / "prometheus.yaml"
    config.write_text(prometheus.configuration(jobs, [str(shipped), str(rules)]))
    with cluster.inside(), prometheus.scraping(config, folder) as found:
        yield found


@contextlib.contextmanager
def adapted(cluster: Cluster, adapter: Path, folder: Path, source: prometheus.Prometheus) -> Iterator[None]:
    """The external metrics API, served by prometheus-adapter with the sample's rules; ``adapter``: its binary."""
    config = folder / "adapter.yaml"
    config.write_text(sample("prometheus-adapter.yaml", "ConfigMap")["data"]["config.yaml"])
    with cluster.inside():
        port = free_port()
        arguments = [
            str(adapter),
            f"--prometheus-url={source.url}",
            f"--config={config}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder / 'adapter-certificates'}",
            "--metrics-relist-interval=2s",
            # What was recorded this long ago is still a metric to list.
            "--metrics-max-age=30s",
            *(f"--{which}-kubeconfig={cluster.kubeconfig}" for which in ("lister", "authentication", "authorization")),
        ]
        log = folder / "adapter.log"
        cluster.watch_log(log)
        with child(arguments, log) as process:
            cluster.apply(*_registration(port))
            try:

                def served() -> bool:
                    if process.poll() is not None:
                        raise StandError(f"prometheus-adapter ended: {log.read_text()[-2000:]}")
                    return bool(cluster.api("GET", f"/apis/{_API}/v1beta1")["resources"])

                cluster.until(served, "external metrics", 60)
                yield
            finally:
                # A namespace cannot end while an API that is registered does not answer.
                cluster.delete(f"/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.{_API}")


def _registration(port: int) -> list[Json]:
    """The API, at a port of this machine, and the right of HPAs to read it."""
    service = {"name": "external-metrics", "namespace": "kube-system"}
    rights: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": _READER}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": service,
            "spec": {"type": "ExternalName", "externalName": "127.0.0.1", "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{_API}"},
            "spec": {
                "group": _API,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {**service, "port": port},
            },
        },
        {
            **rights,
            "kind": "ClusterRole",
            "rules": [{"apiGroups": [_API], "resources": ["*"], "verbs": ["get", "list"]}],
        },
        {
            **rights,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _READER},
            "subjects": [{"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}],
        },
    ]
