"""What the chart renders to, held against the real API server: its own schemas by kubeconform, and its own judgement by
a dry run.
"""

import pytest

from tests.e2e.chart.rendering import ROOT
from tests.e2e.chart.test_chart_render import MATRIX
from tests.e2e.providers.cluster import CommandError

MONITORS = {"PodMonitor", "PrometheusRule"}
"""Kinds that are somebody else's CRDs, which this cluster does not have."""


def test_schemas_are_closed_and_complete(schema_folder, kubeconform):
    """A check that could not fail would pass anything."""
    assert {"deployment-apps-v1.json", "networkpolicy-networking-v1.json"} <= {
        path.name for path in schema_folder.iterdir()
    }
    assert "balancergroup-switchtender-v1alpha1.json" in {path.name for path in schema_folder.iterdir()}
    good = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 1, "targetPort": "http"}]},
    }
    assert kubeconform([good]) == []
    for spoilt in (
        {**good, "spec": {"portz": []}},
        {**good, "spec": {"ports": [{"port": "1"}]}},
        {**good, "metadata": {"name": "a", "labelz": {}}},
        {**good, "kind": "Servize"},
    ):
        assert kubeconform([spoilt])


@pytest.mark.parametrize("case", MATRIX)
def test_rendered_objects_conform(helm, kubeconform, case):
    assert kubeconform([item for item in helm.template(MATRIX[case]).objects if item["kind"] not in MONITORS]) == []


@pytest.mark.parametrize("case", MATRIX)
def test_api_server_takes_what_is_rendered(helm, served, dry_run, case):
    """A dry run: admission, defaults and the validation that no schema holds."""
    with served.namespace("chart") as namespace:
        values = dict(MATRIX[case])
        if "watchNamespaces" in values:
            values["watchNamespaces"] = [namespace]
        values.pop("namespaceOverride", None)
        objects = [item for item in helm.template(values, namespace=namespace).objects if item["kind"] not in MONITORS]
        dry_run(objects)


def test_crds_of_the_repository_are_taken(served):
    folder = ROOT / "deploy" / "crds"
    if not folder.exists():
        pytest.fail("deploy/crds is not generated: make generate")
    assert served.kubectl("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", str(folder))


def test_a_wrong_group_is_refused(dry_run):
    """The dry run is one that can fail."""
    with pytest.raises(CommandError, match=r"unknown field|Invalid value"):
        dry_run(
            [
                {
                    "apiVersion": "switchtender.dev/v1alpha1",
                    "kind": "BalancerGroup",
                    "metadata": {"name": "wrong", "namespace": "default"},
                    "spec": {"members": {"static": [{"name": "fs1", "sip": "not an address"}]}},
                }
            ],
        )
