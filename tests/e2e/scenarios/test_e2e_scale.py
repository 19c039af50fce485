"""Two thousand pods that kwok plays: cold start, slices, a tenth replaced. The figures are printed, not judged."""

import subprocess
import time

import pytest

pytestmark = [pytest.mark.full, pytest.mark.faults]

PODS = 2000


def deployment(replicas):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "freeswitch"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "freeswitch"}},
            "template": {
                "metadata": {"labels": {"app": "freeswitch"}},
                "spec": {"containers": [{"name": "freeswitch", "image": "none"}]},
            },
        },
    }


def members(voice):
    return [member for each in voice.sets("ivr") for member in each["spec"]["members"]]


def ready(voice):
    return {member["uid"] for member in members(voice) if member["state"] == "Ready"}


def settled(voice, deployment_path):
    """All pods but the one made not ready are ready, and the sets are of them."""
    status = voice.cluster.get(deployment_path)["status"]
    uids = {pod["metadata"]["uid"] for pod in voice.pods().values()}
    return status.get("readyReplicas", 0) >= PODS - 1 and {member["uid"] for member in members(voice)} == uids


def test_two_thousand_pods(installation, voice, record_property):
    cluster = voice.cluster
    cluster.apply(deployment(PODS), namespace=voice.namespace)
    path = f"/apis/apps/v1/namespaces/{voice.namespace}/deployments/freeswitch"
    cluster.until(lambda: cluster.get(path)["status"].get("readyReplicas") == PODS, "2,000 pods", 300, pause=1)
    voice.create_group("ivr")
    before = time.monotonic()
    with installation.operator() as operator:
        ready_after = round(time.monotonic() - before, 2)
        cluster.until(lambda: len(ready(voice)) == PODS, "2,000 members", 120, pause=0.2)
        figures = {
            "ready_seconds": ready_after,
            "cold_start_seconds": round(time.monotonic() - before, 2),
            "resident_mib": round(operator.resident(), 1),
            "slices": len(voice.sets("ivr")),
        }
        assert all(len(each["spec"]["members"]) <= 200 for each in voice.sets("ivr"))
        slice_of = {
            member["uid"]: each["metadata"]["name"] for each in voice.sets("ivr") for member in each["spec"]["members"]
        }
        versions = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in voice.sets("ivr")}
        victim = sorted(voice.pods())[0]
        voice.set_ready(victim, ready=False)
        cluster.until(lambda: len(ready(voice)) == PODS - 1, "one not ready", pause=0.1)
        changed = [
            each["metadata"]["name"]
            for each in voice.sets("ivr")
            if each["metadata"]["resourceVersion"] != versions[each["metadata"]["name"]]
        ]
        assert len(changed) == 1, "a pod's change rewrites one slice"

        gone = sorted(voice.pods())[: PODS // 10]
        before = time.monotonic()
        with cluster.inside():
            subprocess.run(
                [str(cluster.binaries / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "-n", voice.namespace,
                 "delete", "pods", "--grace-period=0", "--force", "--wait=false", *gone],
                check=True, capture_output=True,
            )  # fmt: skip
        cluster.until(lambda: settled(voice, path), "the replacements", 180, pause=0.5)
        figures["tenth_replaced_seconds"] = round(time.monotonic() - before, 2)
        figures["resident_after_mib"] = round(operator.resident(), 1)
        for each in voice.sets("ivr"):
            for member in each["spec"]["members"]:
                assert slice_of.get(member["uid"], each["metadata"]["name"]) == each["metadata"]["name"], "moved slices"
    record_property("two_thousand_pods", figures)
