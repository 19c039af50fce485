"""Manifests for those who use kustomize instead of Helm: a base and overlays, rendered from the chart.

    python -m tools.kustomize --helm PATH [--check]

An overlay is what the chart renders to with other values, written as patches of the base, so that changes of one's own
stack on either. Needs helm, so it is no part of `make generate`; a test tells when it is stale. What only means
something to Helm (its labels, hooks and tests) is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
Key = tuple[str, str, str]

ROOT = Path(__file__).parent.parent
CHART = ROOT / "charts" / "switchtender"
FOLDER = ROOT / "deploy" / "kustomize"
RELEASE = "switchtender"

_GENERATED = "# Generated from the chart (python -m tools.kustomize); do not edit.\n"
_HELM_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by")


@dataclass(frozen=True)
class Variant:
    """One way to install: its folder, what it is for, the chart's values, the Pod Security Standard of its pods."""

    folder: str
    purpose: str
    values: Mapping[str, Any]
    standard: str


BASE = Variant("base", "Operator and balancers for every namespace, callers by a Service.", {}, "restricted")
OVERLAYS = (
    Variant(
        "overlays/namespaced",
        "Roles in the namespace voice alone, no cluster-scoped rule. Apply deploy/crds first; voice must be there.",
        {"watchNamespaces": ["voice"], "crds": {"create": False}},
        "restricted",
    ),
    Variant(
        "overlays/hostnetwork",
        "A balancer each on hosts with the label switchtender.dev/balancer-host; callers send to the hosts.",
        {"balancer": {"hostNetwork": True, "nodeSelector": {"switchtender.dev/balancer-host": "true"}}},
        "privileged",
    ),
)


def main() -> int:
    """Write the files, or say which are stale; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--helm", default="helm", help="helm to render with")
    parser.add_argument("--check", action="store_true", help="fail when a file is stale, write nothing")
    arguments = parser.parse_args()
    files = dict(generated(arguments.helm))
    if arguments.check:
        stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
        for path in stale:
            sys.stderr.write(f"stale: {path.relative_to(ROOT)}\n")
        return 1 if stale else 0
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


def generated(helm: str) -> Iterator[tuple[Path, str]]:
    """Every file with its text. Raises CalledProcessError where helm refuses."""
    base = render(helm, BASE)
    yield from _write(
        BASE, {"resources": ["resources.yaml"], "images": _images(base)}, {"resources.yaml": list(base.values())}
    )
    for overlay in OVERLAYS:
        wanted = render(helm, overlay)
        added = [item for key, item in wanted.items() if key not in base]
        patches = [*_deletions(base, wanted), *_changes(base, wanted)]
        resources = ["../../base", *(["resources.yaml"] if added else [])]
        yield from _write(
            overlay, {"resources": resources, "patches": patches}, {"resources.yaml": added} if added else {}
        )


def render(helm: str, variant: Variant) -> dict[Key, Json]:
    """What the chart renders to, without what is Helm's, with the namespace it stands in."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
        json.dump(variant.values, values)
        values.flush()
        command = [helm, "template", RELEASE, str(CHART), "--namespace", RELEASE, "--no-hooks", "--values", values.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    labels = {"pod-security.kubernetes.io/enforce": variant.standard}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RELEASE, "labels": labels}}
    objects = [namespace, *(item for item in yaml.safe_load_all(text) if item)]
    return {key_of(item): _without_helm(item) for item in objects}


def key_of(item: Json) -> Key:
    """Kind, namespace and name of an object."""
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def difference(before: Any, after: Any, path: str = "") -> Iterator[Json]:
    """The JSON patch (RFC 6902) from one value to another.

    Lists of objects are compared one by one where they are as long as each other; others are replaced whole.
    """
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            here = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in after:
                yield {"op": "remove", "path": here}
            elif name not in before:
                yield {"op": "add", "path": here, "value": after[name]}
            else:
                yield from difference(before[name], after[name], here)
    elif _are_alike(before, after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from difference(old, new, f"{path}/{index}")
    else:
        yield {"op": "replace", "path": path, "value": after}


def _are_alike(before: Any, after: Any) -> bool:
    both = isinstance(before, list) and isinstance(after, list) and len(before) == len(after)
    return both and all(isinstance(item, dict) for item in [*before, *after])


def _without_helm(item: Json) -> Json:
    labels = {name: value for name, value in item["metadata"].get("labels", {}).items() if name not in _HELM_LABELS}
    return {**item, "metadata": {**item["metadata"], "labels": labels}}


def _images(objects: Mapping[Key, Json]) -> list[Json]:
    """What a kustomization changes to take images from elsewhere."""
    found = (
        container["image"]
        for item in objects.values()
        if item["kind"] == "Deployment"
        for container in item["spec"]["template"]["spec"]["containers"]
    )
    return [dict(zip(("name", "newTag"), image.rsplit(":", 1), strict=True)) for image in sorted(set(found))]


def _target(key: Key) -> Json:
    kind, namespace, name = key
    return {"kind": kind, "name": f"^{name}$", **({"namespace": namespace} if namespace else {})}


def _deletions(base: Mapping[Key, Json], wanted: Mapping[Key, Json]) -> Iterator[Json]:
    for key, item in base.items():
        if key not in wanted:
            metadata = {name: item["metadata"][name] for name in ("name", "namespace") if name in item["metadata"]}
            gone = {"$patch": "delete", "apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}
            yield {"patch": _dump(gone)}


def _changes(base: Mapping[Key, Json], wanted: Mapping[Key, Json]) -> Iterator[Json]:
    for key, item in base.items():
        if key in wanted and (patch := list(difference(item, wanted[key]))):
            # kustomize trims a patch: a text that ends in a newline must not stand last.
            ordered = [{name: change[name] for name in ("op", "value", "path") if name in change} for change in patch]
            yield {"target": _target(key), "patch": _dump(ordered)}


def _write(variant: Variant, kustomization: Json, files: Mapping[str, list[Json]]) -> Iterator[tuple[Path, str]]:
    folder = FOLDER / variant.folder
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    yield folder / "kustomization.yaml", _GENERATED + f"# {variant.purpose}\n" + _dump({**head, **kustomization})
    for name, objects in files.items():
        yield folder / name, _GENERATED + "---\n".join(_dump(item) for item in objects)


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block, lists indented as the rest of the repository does."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main())
