"""Provider `node`: real kubelets, containerd, runc and kube-proxy on this host, no Docker and no registry.

Each node is a `machine`, pods run the project's own images. What it is not: network policies are not enforced, Services
of type LoadBalancer get no address, and there is no cluster DNS.
"""

from tests.e2e.providers.node.provider import NodeCluster, cluster, missing

__all__ = ["NodeCluster", "cluster", "missing"]
