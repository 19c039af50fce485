"""What `helm template` makes of the chart: objects, and questions about them. Knows helm's binary, and no cluster."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "switchtender"
SAMPLES = ROOT / "deploy" / "samples"


# The C parser is ten times as fast as the other, and not everywhere.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class HelmError(AssertionError):
    """helm refused; the text is what it said."""


@dataclass(frozen=True)
class Rendered:
    """The objects of one rendering, hooks and tests among them."""

    objects: tuple[Json, ...]

    def of(self, kind: str, name: str | None = None) -> list[Json]:
        """Objects of a kind, or those of them with a name."""
        return [item for item in self.objects if item["kind"] == kind and name in {None, item["metadata"]["name"]}]

    def one(self, kind: str, name: str) -> Json:
        """The one object of that kind and name."""
        (found,) = self.of(kind, name)
        return found

    def pod_templates(self) -> Iterator[tuple[str, Json]]:
        """Every pod that can come of it, by the name of its object: metadata and spec."""
        for item in self.objects:
            if item["kind"] == "Pod":
                yield item["metadata"]["name"], item
            elif "template" in item.get("spec", {}):
                yield item["metadata"]["name"], item["spec"]["template"]

    def rules(self, kind: str) -> list[Json]:
        """The rules of all roles of that kind."""
        return [rule for role in self.of(kind) for rule in role["rules"]]

    def balancer_config(self) -> str:
        """The text of the one BalancerConfig."""
        (found,) = [item for item in self.of("ConfigMap") if item["metadata"]["name"].endswith("-config")]
        text: str = found["data"]["balancer.yaml"]
        return text


class Helm:
    """helm on the chart of the checkout, offline."""

    def __init__(self, binary: Path, home: Path) -> None:
        """``home`` takes helm's caches."""
        self.binary = binary
        self.home = home
        self._rendered: dict[tuple[str, ...], Rendered] = {}

    def run(self, *arguments: str) -> str:
        """Run helm; raises HelmError."""
        return self.beside("helm", *arguments)

    def beside(self, program: str, *arguments: str) -> str:
        """Run a program from the folder that helm is in; raises HelmError."""
        done = subprocess.run(
            [str(self.binary.parent / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
        )
        if done.returncode:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout

    def template(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        release: str = "st",
        namespace: str = "voice",
        extra: Sequence[str] = (),
    ) -> Rendered:
        """Render the chart with these values (by dotted path), once; nobody changes the objects. Raises HelmError."""
        where = ("--namespace", namespace, "--kube-version", "1.36.0")
        arguments = ("template", release, str(CHART), *where, *set_json(values or {}), *extra)
        if arguments not in self._rendered:
            self._rendered[arguments] = Rendered(
                tuple(item for item in yaml.load_all(self.run(*arguments), Loader=_LOADER) if item)
            )
        return self._rendered[arguments]


def set_json(values: Mapping[str, Any]) -> list[str]:
    """helm's arguments for values by dotted path."""
    return list(
        itertools.chain.from_iterable(("--set-json", f"{path}={json.dumps(value)}") for path, value in values.items())
    )


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether matchLabels take an object with these labels."""
    return bool(selector) and selector.items() <= labels.items()


def documents(paths: Iterable[Path]) -> list[Json]:
    """Every object in these YAML files."""
    return [item for path in sorted(paths) for item in yaml.safe_load_all(path.read_text()) if item]
