"""The samples: taken by a real API server as they stand, and fitting each other."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import yaml

from tests.e2e.chart.rendering import SAMPLES, documents


def _samples():
    return [
        path
        for path in sorted(SAMPLES.glob("*/*.yaml"))
        if path.parent.name != "values" and path.name != "kustomization.yaml"
    ]


WITHOUT_SCHEMA = {"ScaledObject", "PrometheusRule"}
"""Of others' custom resources; `tests/views/rules/test_scaling_recipes.py` looks at these."""


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
    for kind in ("deployments", "statefulsets"):
        (workload,) = served.items(f"/apis/apps/v1/namespaces/{namespace}/{kind}")
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
            assert pod["terminationGracePeriodSeconds"] > 7200


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
        assert {script.removeprefix("/etc/freeswitch/") for script in scripts} <= set(configuration["data"])
    for name, script in configuration["data"].items():
        if name.endswith(".sh"):
            checked = subprocess.run(
                [shutil.which("sh"), "-n"], input=script, text=True, capture_output=True, check=False
            )
            assert checked.returncode == 0, checked.stderr
