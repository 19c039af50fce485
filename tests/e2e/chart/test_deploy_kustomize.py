"""The kustomizations: fresh, built by kubectl's own kustomize, and the same objects as the chart renders to."""

import pytest
import yaml
from tools.kustomize import BASE, FOLDER, OVERLAYS, difference, generated, key_of, render

from tests.e2e.chart.rendering import ROOT

VARIANTS = {variant.folder: variant for variant in (BASE, *OVERLAYS)}


def _built(helm, folder):
    """What kubectl builds of a folder."""
    return list(yaml.safe_load_all(helm.beside("kubectl", "kustomize", str(folder))))


def test_files_are_fresh(helm):
    expected = dict(generated(str(helm.binary)))
    there = {path for path in FOLDER.rglob("*") if path.is_file()}
    stale = {path for path, text in expected.items() if path not in there or path.read_text() != text}
    assert not stale, "run python -m tools.kustomize"
    assert there == set(expected)


@pytest.mark.parametrize("folder", VARIANTS)
def test_a_kustomization_builds_what_the_chart_renders(helm, folder):
    built = {key_of(item): item for item in _built(helm, FOLDER / folder)}
    assert built == render(str(helm.binary), VARIANTS[folder])


@pytest.mark.parametrize("folder", VARIANTS)
def test_a_kustomization_conforms(helm, kubeconform, folder):
    assert kubeconform(_built(helm, FOLDER / folder)) == []


def test_overlays_keep_changes_of_the_base(helm, tmp_path):
    """Somebody's own overlay over ours: images from elsewhere, another count, without repeating what we changed."""
    folder = tmp_path / "own"
    folder.mkdir()
    relative = "../" * len(folder.parts[1:]) + str((FOLDER / "overlays" / "hostnetwork").relative_to("/"))
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [relative],
                "images": [{"name": "switchtender/balancer", "newName": "registry.example.com/balancer"}],
                "replicas": [{"name": "switchtender-balancer", "count": 5}],
            }
        )
    )
    built = {key_of(item): item for item in _built(helm, folder)}
    deployment = built["Deployment", "switchtender", "switchtender-balancer"]["spec"]
    assert deployment["replicas"] == 5
    assert deployment["template"]["spec"]["hostNetwork"] is True
    assert deployment["template"]["spec"]["containers"][0]["image"].startswith("registry.example.com/balancer:")


def test_difference_is_a_json_patch():
    before = {"a": 1, "b/c": [1, 2], "d": [{"x": 1, "y": 1}, {"x": 2}], "e": [{"x": 1}], "gone": None}
    after = {"a": 1, "b/c": [1, 3], "d": [{"x": 1, "y": 2}, {"x": 2}], "e": [], "new": {}}
    assert list(difference(before, after)) == [
        {"op": "replace", "path": "/b~1c", "value": [1, 3]},
        {"op": "replace", "path": "/d/0/y", "value": 2},
        {"op": "replace", "path": "/e", "value": []},
        {"op": "remove", "path": "/gone"},
        {"op": "add", "path": "/new", "value": {}},
    ]
    assert list(difference(before, before)) == []


def test_every_overlay_is_described():
    for folder in VARIANTS:
        assert (ROOT / "deploy" / "kustomize" / folder / "kustomization.yaml").read_text().count("\n# ") == 1
