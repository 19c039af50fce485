"""The samples: taken by a real API server as they stand, and fitting each other."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from datetime import timedelta

import yaml

from switchtender_api.constants import ANNOTATION_SAFE_TO_EVICT
from switchtender_api.v1alpha1 import BalancerGroupSpec
from tests.e2e.chart.rendering import SAMPLES, documents


def _samples():
    return [
        path
        for path in sorted(SAMPLES.glob("*/*.yaml"))
        if path.parent.name != "values" and path.name != "kustomization.yaml"
    ]


WITHOUT_SCHEMA = {"ScaledObject", "PrometheusRule"}
"""Of others' custom resources; `tests/views/rules/test_scaling_recipes.py` looks at these."""


VARIANTS = {"freeswitch": "Deployment", "freeswitch-set": "StatefulSet", "freeswitch-host": "Deployment"}
"""The workloads of FreeSWITCH, by name."""

SHUTDOWN = 60
"""Seconds that a pod has to shut down in, after DRAIN_TIMEOUT: with calls whose peers are silent it takes 45."""


def _nodes(objects):
    """The workloads of FreeSWITCH, by name."""
    found = {
        item["metadata"]["name"]: item
        for item in objects
        if item["metadata"]["name"] in VARIANTS and "template" in item.get("spec", {})
    }
    assert {name: item["kind"] for name, item in found.items()} == VARIANTS
    return found


def _settings(objects):
    return next(item["data"] for item in objects if item["metadata"]["name"] == "freeswitch-settings")


def test_every_sample_conforms(kubeconform):
    objects = [item for item in documents(_samples()) if item["kind"] not in WITHOUT_SCHEMA]
    assert {item["kind"] for item in objects} >= {
        "Deployment",
        "StatefulSet",
        "BalancerGroup",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "Secret",
    }
    assert kubeconform(objects) == []


def test_samples_as_they_stand_are_taken(served, namespace):
    """Applied for real, as a person would: the folder by kustomize, then the groups. Only the namespace is another."""
    nodes = list(yaml.safe_load_all(served.kubectl("kustomize", str(SAMPLES / "freeswitch"))))
    groups = documents((SAMPLES / "groups").iterdir())
    for item in [*nodes, *groups]:
        if item["kind"] != "Namespace":
            assert item["metadata"].pop("namespace") == "voice"
            served.apply(item, namespace=namespace)
    taken = served.items(f"/apis/switchtender.dev/v1alpha1/namespaces/{namespace}/balancergroups")
    assert {group["metadata"]["name"] for group in taken} == {path.stem for path in (SAMPLES / "groups").iterdir()}
    selectors = [group["spec"]["members"].get("selector", {}).get("matchLabels") for group in taken]
    workloads = [
        workload
        for kind in ("deployments", "statefulsets")
        for workload in served.items(f"/apis/apps/v1/namespaces/{namespace}/{kind}")
    ]
    assert {workload["metadata"]["name"] for workload in workloads} == set(VARIANTS)
    for workload in workloads:
        assert workload["spec"]["template"]["metadata"]["labels"] in selectors


def test_samples_fit_the_group_that_takes_them():
    """What a person would find out by a call that fails: ports, the grace of pods, the Secret."""
    objects = documents(_samples())
    secret = next(item for item in objects if item["kind"] == "Secret")
    workloads = [item for item in objects if item["kind"] in {"Deployment", "StatefulSet"}]
    for group in (item for item in objects if item["kind"] == "BalancerGroup"):
        reference = group["spec"]["esl"]["passwordFrom"]["secretKeyRef"]
        assert (reference["name"], [reference["key"]]) == (secret["metadata"]["name"], list(secret["stringData"]))
        labels = group["spec"]["members"].get("selector", {}).get("matchLabels")
        for workload in workloads:
            if workload["spec"]["template"]["metadata"]["labels"] != labels:
                continue
            pod = workload["spec"]["template"]["spec"]
            ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
            assert ports == {"sip": group["spec"].get("sip", {}).get("port", 5060), "esl": 8021}


def test_samples_configure_freeswitch_whole():
    """The configuration asks for nothing that the pods do not give it."""
    objects = documents(_samples())
    configuration = next(
        item for item in objects if item["metadata"]["name"] == "freeswitch" and item["kind"] == "ConfigMap"
    )
    settings = next(item for item in objects if item["metadata"]["name"] == "freeswitch-settings")
    text = configuration["data"]["freeswitch.xml"]
    ET.fromstring(text)
    wanted = dict(re.findall(r'cmd="env-set" data="(\w+)=\$(\w+)"', text))
    assert set(re.findall(r"\$\$\{(\w+)\}", text)) == set(wanted)
    for workload in (item for item in objects if item["kind"] in {"Deployment", "StatefulSet"}):
        container = workload["spec"]["template"]["spec"]["containers"][0]
        given = {entry["name"] for entry in container["env"]} | set(settings["data"])
        assert set(wanted.values()) <= given
        scripts = [container[probe]["exec"]["command"][1] for probe in ("startupProbe", "readinessProbe")]
        scripts.append(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert {script.removeprefix("/etc/freeswitch/") for script in scripts} == set(configuration["data"]) - {
            "freeswitch.xml"
        }
    for script in configuration["data"].values():
        if script.startswith("#!/bin/sh"):
            checked = subprocess.run(
                [shutil.which("sh"), "-n"], input=script, text=True, capture_output=True, check=False
            )
            assert checked.returncode == 0, checked.stderr


def test_a_pod_has_the_time_that_its_drain_may_take_and_a_minute_to_shut_down():
    """One time in three places: what preStop waits for, what kills the pod, and what the group counts down to."""
    objects = documents(_samples())
    longest = int(_settings(objects)["DRAIN_TIMEOUT"])
    groups = [item["spec"] for item in objects if item["kind"] == "BalancerGroup"]
    for workload in _nodes(objects).values():
        template = workload["spec"]["template"]
        pod = template["spec"]
        assert pod["terminationGracePeriodSeconds"] == longest + SHUTDOWN
        (container,) = pod["containers"]
        assert {"configMapRef": {"name": "freeswitch-settings"}} in container["envFrom"]
        assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sh", "/etc/freeswitch/switchtender-drain"]
        assert "-elegant-term" in container["command"], "the second line of defense, where the hook could not ask"
        theirs = [
            group
            for group in groups
            if group["members"].get("selector", {}).get("matchLabels") == template["metadata"]["labels"]
        ]
        assert theirs
        for group in theirs:
            drain = BalancerGroupSpec.model_validate(group, by_alias=True, by_name=False).drain
            assert drain.timeout == timedelta(seconds=longest)


def test_whether_a_node_is_paused_is_no_part_of_its_readiness():
    """A pod that is not ready is removed first by its ReplicaSet, and lost by a PodDisruptionBudget's count."""
    objects = documents(_samples())
    scripts = next(item["data"] for item in objects if item["kind"] == "ConfigMap" and "ready.sh" in item["data"])
    assert "RUNNING" in scripts["ready.sh"]
    assert "_check" not in scripts["ready.sh"], "ready_check, too, says false of a node that is paused both ways"


def test_the_variants_differ_in_their_network_and_their_kind_alone():
    objects = documents(_samples())
    nodes = _nodes(objects)
    budgets = [item["spec"]["selector"] for item in objects if item["kind"] == "PodDisruptionBudget"]
    for workload in nodes.values():
        spec, template = workload["spec"], workload["spec"]["template"]
        assert spec["selector"] in budgets
        assert spec["minReadySeconds"] > 0
        assert template["metadata"]["annotations"][ANNOTATION_SAFE_TO_EVICT] == "false", (
            "until the operator knows better"
        )
    strategies = {name: node["spec"].get("strategy", {}).get("rollingUpdate") for name, node in nodes.items()}
    assert strategies == {
        "freeswitch": {"maxSurge": 1, "maxUnavailable": 0},
        "freeswitch-set": None,
        "freeswitch-host": {"maxSurge": 0, "maxUnavailable": 1},
    }
    assert nodes["freeswitch-set"]["spec"]["podManagementPolicy"] == "Parallel"
    pods = {name: node["spec"]["template"]["spec"] for name, node in nodes.items()}
    assert [name for name, pod in pods.items() if pod.get("hostNetwork")] == ["freeswitch-host"]
    containers = {name: pod["containers"][0] for name, pod in pods.items()}
    external = {
        name: entry["valueFrom"]["fieldRef"]["fieldPath"]
        for name, container in containers.items()
        for entry in container["env"]
        if entry["name"] == "EXT_RTP_IP"
    }
    assert external == {
        "freeswitch": "status.podIP",
        "freeswitch-set": "status.podIP",
        "freeswitch-host": "status.hostIP",
    }
    alike = [
        {name: value for name, value in each.items() if name not in {"env", "ports"}} for each in containers.values()
    ]
    assert alike[0] == alike[1] == alike[2]


def test_what_the_autoscaled_group_scales_is_there():
    objects = documents(_samples())
    group = next(item for item in objects if item["kind"] == "BalancerGroup" and "autoscale" in item["spec"])
    target = group["spec"]["autoscale"]["target"]
    workload = _nodes(objects)[target["name"]]
    assert (workload["apiVersion"], workload["kind"]) == (target["apiVersion"], target["kind"])
    assert workload["spec"]["selector"] == group["spec"]["members"]["selector"]
