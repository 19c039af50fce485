"""The ground under the scenarios: the cluster answers, kwok plays pods as annotated, a token is its account's."""

import pytest
import yaml

from tests.e2e.providers.cluster import ApiError, Cluster, CommandError

PODS = "/api/v1/namespaces/{}/pods"


def pod(name, **annotations):
    return {
        "metadata": {
            "name": name,
            "annotations": {f"e2e.switchtender.dev/{key}": value for key, value in annotations.items()},
        },
        "spec": {"nodeName": "kwok-1", "containers": [{"name": "c", "image": "none"}]},
    }


def condition(of, kind):
    return next((c["status"] for c in of["status"].get("conditions", []) if c["type"] == kind), None)


def test_the_version_is_the_one_that_was_built(cluster):
    version = yaml.safe_load(cluster.kubectl("version", "-o", "yaml"))
    assert version["serverVersion"]["gitVersion"] == version["clientVersion"]["gitVersion"]
    assert version["serverVersion"]["gitVersion"].startswith("v1.")


@pytest.mark.faults
def test_pods_have_the_address_and_the_readiness_that_they_ask_for_and_stay_while_held(cluster, namespace):
    path = PODS.format(namespace)
    cluster.api("POST", path, pod("held", **{"pod-ip": "10.244.200.1", "ready": "false", "hold": "yes"}))
    up = cluster.until(lambda: (found := cluster.get(f"{path}/held"))["status"].get("podIP") and found, "a running pod")
    assert up["status"]["podIP"] == "10.244.200.1"
    assert condition(up, "Ready") == "False"
    cluster.delete(f"{path}/held")
    assert cluster.get(f"{path}/held")["metadata"]["deletionTimestamp"], "held, so terminating"
    cluster.merge(f"{path}/held", {"metadata": {"annotations": {"e2e.switchtender.dev/hold": None}}})
    cluster.until(lambda: cluster.get(f"{path}/held") is None, "the end of the pod")


def test_a_service_account_is_itself_and_nobody_else(cluster, namespace, tmp_path):
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "meek"}}, namespace=namespace)
    kubeconfig = cluster.service_account_kubeconfig(namespace, "meek", tmp_path / "meek.kubeconfig")
    meek = Cluster(cluster.provider, cluster.binaries, kubeconfig, tmp_path, inside=cluster.inside)
    assert f"system:serviceaccount:{namespace}:meek" in meek.kubectl("auth", "whoami")
    with pytest.raises(CommandError, match="Forbidden"):
        meek.kubectl("get", "pods")
    with pytest.raises(ApiError, match="403"):
        meek.api("GET", PODS.format(namespace))


@pytest.mark.faults
def test_the_api_server_can_be_taken_away_and_given_back(cluster, namespace):
    with cluster.control_plane.away():
        assert "refused" in cluster.kubectl("get", "nodes", check=False, patience=30)
    assert cluster.until(lambda: cluster.get(f"/api/v1/namespaces/{namespace}"), "the namespace")
