"""`switchtender drain` on a real API server, with the rights of somebody who may edit a namespace, and of nobody."""

import json

import pytest
from click.testing import CliRunner

from switchtender.cli import main
from switchtender_api.constants import ANNOTATION_DRAIN
from switchtender_api.exit_status import ExitStatus

LABELS = {"app": "freeswitch"}
PODS = ("fs-0", "fs-1")


@pytest.fixture
def nodes(served, namespace):
    """Pods that no host takes, their group, and one with static members."""
    container = {"name": "freeswitch", "image": "none", "imagePullPolicy": "Never"}
    for name in PODS:
        served.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": LABELS},
                "spec": {"containers": [container], "nodeSelector": {"no": "host"}},
            },
            namespace=namespace,
        )
    members = {
        "ivr": {"selector": {"matchLabels": LABELS}},
        "external": {"static": [{"name": name, "sip": f"sip:192.0.2.{place}"} for place, name in enumerate("abc", 1)]},
    }
    for name, given in members.items():
        group = {"apiVersion": "switchtender.dev/v1alpha1", "kind": "BalancerGroup", "metadata": {"name": name}}
        served.apply({**group, "spec": {"members": given}}, namespace=namespace)
    return served


@pytest.fixture
def somebody(nodes, namespace, helm, tmp_path):
    """Runs the command as a ServiceAccount, which may do what the ClusterRole ``edit`` allows."""
    rendered = helm.template({"rbac.aggregateClusterRoles": True})
    roles = [
        role
        for role in rendered.of("ClusterRole")
        if any("aggregate-to" in label for label in role["metadata"].get("labels", {}))
    ]
    assert len(roles) == 2
    nodes.apply(*roles)
    for account in ("editor", "stranger"):
        nodes.api("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": account}})
    nodes.kubectl(
        "create", "rolebinding", "editor", "-n", namespace, "--clusterrole=edit", f"--serviceaccount={namespace}:editor"
    )

    def allowed():
        asked = ("auth", "can-i", "patch", "balancergroups.switchtender.dev", "-n", namespace)
        return nodes.kubectl(*asked, f"--as=system:serviceaccount:{namespace}:editor", check=False).strip() == "yes"

    nodes.until(allowed, "the roles aggregated")

    def run(account, *arguments):
        kubeconfig = nodes.service_account_kubeconfig(namespace, account, tmp_path / account)
        given = [*arguments, "--kubeconfig", str(kubeconfig), "-n", namespace]
        with nodes.inside():
            return CliRunner().invoke(main, given, catch_exceptions=False)

    yield run
    for role in roles:
        nodes.delete(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role['metadata']['name']}")


def test_who_may_edit_a_namespace_may_drain_in_it(nodes, namespace, somebody):
    def drains():
        pods = nodes.items(f"/api/v1/namespaces/{namespace}/pods")
        found = {pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(ANNOTATION_DRAIN) for pod in pods}
        group = nodes.get(f"/apis/switchtender.dev/v1alpha1/namespaces/{namespace}/balancergroups/external")
        return found | {member["name"]: member.get("drain") for member in group["spec"]["members"]["static"]}

    at = "2026-03-01T20:00:00Z"
    done = somebody("editor", "drain", "-l", "app=freeswitch", "--at", at, "-o", "json")
    assert done.exit_code == 0, done.stderr
    assert {(entry["name"], *entry["groups"]) for entry in json.loads(done.stdout)["nodes"]} == {
        (name, "ivr") for name in PODS
    }
    done = somebody("editor", "drain", "b", "--group", "external", "--at", at)
    assert done.exit_code == 0, done.stderr
    assert drains() == {"fs-0": at, "fs-1": at, "a": None, "b": at, "c": None}
    for arguments in (PODS, ("b", "--group", "external")):
        assert somebody("editor", "undrain", *arguments).exit_code == 0
    assert set(drains().values()) == {None}
    waited = somebody("editor", "drain", "fs-0", "--wait", "--timeout", "1s")
    assert waited.exit_code == ExitStatus.TIMED_OUT, "no operator runs here, so nobody says how far it is"
    assert waited.stdout.splitlines()[-1] == f"{namespace}/fs-0: is not seen to drain"


def test_who_may_not_is_told_which_right_is_missing(nodes, namespace, somebody):
    refused = somebody("stranger", "drain", "fs-0")
    assert refused.exit_code == ExitStatus.FAILED
    assert f"a Role with verb get on pods in namespace {namespace} allows it" in refused.stderr


def test_a_member_that_is_not_where_it_was_is_not_drained_for_another(nodes, namespace, somebody, monkeypatch):
    """The real API server tests whom the patch is about."""
    from switchtender.cli import cluster

    monkeypatch.setattr(cluster, "_place", lambda group, name: 0)
    refused = somebody("editor", "drain", "b", "--group", "external")
    assert refused.exit_code == ExitStatus.FAILED
    assert "takes no change of b" in refused.stderr
    group = nodes.get(f"/apis/switchtender.dev/v1alpha1/namespaces/{namespace}/balancergroups/external")
    assert all("drain" not in member for member in group["spec"]["members"]["static"])
