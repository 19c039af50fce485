"""helm for rendering without a cluster; a cluster that serves our kinds; judges of objects: kubeconform, a dry run."""

import json
import subprocess

import pytest
import yaml

from switchtender_api.crd import KINDS, custom_resource
from tests.e2e.chart.openapi import schemas
from tests.e2e.chart.rendering import Helm


@pytest.fixture(scope="session")
def helm(binaries, tmp_path_factory):
    """helm on the chart of the checkout."""
    return Helm(binaries / "helm", tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def served(cluster):
    """The cluster, which serves our kinds."""
    cluster.apply(*(custom_resource(kind) for kind in KINDS))
    names = [custom_resource(kind)["metadata"]["name"] for kind in KINDS]
    cluster.kubectl("wait", "--for=condition=Established", *(f"crd/{name}" for name in names), "--timeout=60s")
    cluster.until(lambda: _serves(cluster), "OpenAPI with our kinds")
    return cluster


def _serves(cluster):
    paths = cluster.api("GET", "/openapi/v3")["paths"]
    ours = paths.get("apis/switchtender.dev/v1alpha1")
    if ours is None:
        return False
    text = json.dumps(cluster.api("GET", "/openapi/v3/apis/switchtender.dev/v1alpha1"))
    return all(f'"kind": "{kind}"' in text for kind in KINDS)


@pytest.fixture(scope="session")
def schema_folder(served, tmp_path_factory):
    """A folder with a schema for each kind that the API server serves."""
    folder = tmp_path_factory.mktemp("schemas")
    for path in served.api("GET", "/openapi/v3")["paths"]:
        if path.startswith(("api/", "apis/")) and path.count("/") >= 1:
            for name, schema in schemas(served.api("GET", f"/openapi/v3/{path}")):
                (folder / name).write_text(json.dumps(schema))
    return folder


@pytest.fixture(scope="session")
def kubeconform(binaries, schema_folder):
    """Judge objects offline; returns what is wrong with them."""

    def judge(objects):
        done = subprocess.run(
            [
                str(binaries / "kubeconform"),
                "-strict",
                "-summary",
                "-output=json",
                f"-schema-location={schema_folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
                "-",
            ],
            input=yaml.safe_dump_all(objects),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        report = json.loads(done.stdout)
        assert sum(report["summary"].values()) == len(objects), done.stderr
        assert report["summary"]["skipped"] == 0
        return [f"{found.get('kind')} {found.get('name')}: {found['msg']}" for found in report.get("resources", [])]

    return judge


@pytest.fixture
def dry_run(served):
    """Let the API server judge objects without keeping them; raises CommandError."""

    def judge(objects):
        text = "\n---\n".join(yaml.safe_dump(item) for item in objects)
        return served.kubectl(
            "apply", "--server-side", "--dry-run=server", "--field-manager=e2e", "-f", "-", input=text
        )

    return judge
