"""From the comments in the chart's values.yaml: the chart's README and the schema of its values.

Above a value, ``# -- text`` describes it (continued by further comment lines) and ``# @schema {…}`` adds JSON schema to
what its default says. A map with fields of its own is closed, so that a misspelt value is refused; an empty map, or one
marked ``{"open": true}``, takes anything. Knows nothing of templates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
CHART = ROOT / "charts" / "switchtender"

_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}

_INTRODUCTION = """\
# switchtender

<!-- Generated from Chart.yaml and values.yaml (`make generate`); do not edit. -->

{description}

| chart | product | Kubernetes |
|---|---|---|
| {version} | {appVersion} | `{kubeVersion}` |

## Install

```
helm install st {source} --namespace switchtender --create-namespace
```

What it prints says what to do next: a Secret with the Event Socket password of your nodes, a `BalancerGroup` that
selects them, `kubectl get balancergroups`. `helm test st --namespace switchtender` sends a SIP OPTIONS through the
Service.

* **CRDs** are created and upgraded by the operator (`crds.create`), not by Helm: a rollback of the release never
  lowers their schema. They stay at uninstall, with every BalancerGroup (`crds.keep`); a new installation takes them
  up again.
* **Scope**: by default every namespace; with `watchNamespaces`, or `config.clusterWide: false`, Roles in those
  namespaces alone.
* **Network**: `balancer.hostNetwork` is the shape for UDP trunks. Through a Service give `balancer.advertise.host`,
  the address callers see. `samples/values/` in `deploy/` has values for a cloud load balancer, the host network and
  namespaced installation.
* **Secrets**: none is in the values. Event Socket passwords live in Secrets named in `esl.secretNames`; the
  operator makes the balancers' keys and token itself.
* **A further balancer** in the same namespace is a further release with `operator.enabled: false`, another
  `balancer.name` and `operator.serviceAccount.name` of the first.

## Values

| value | type | default | meaning |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Value:
    """One value of the chart: where it stands, its default, what its comment says."""

    path: tuple[str, ...]
    default: Any
    description: str
    extra: dict[str, Any]
    fields: tuple[Value, ...]

    @property
    def is_open(self) -> bool:
        """Whether it is a map that takes anything."""
        return bool(self.extra.get("open")) or not self.fields


def generated(chart: Path = CHART) -> Iterator[tuple[Path, str]]:
    """Every file generated from the chart's values, with its text."""
    values = read(chart / "values.yaml")
    yield chart / "values.schema.json", json.dumps(schema(values), indent=2, ensure_ascii=False) + "\n"
    yield chart / "README.md", readme(yaml.safe_load((chart / "Chart.yaml").read_text()), values)


def read(path: Path) -> tuple[Value, ...]:
    """The values of a chart with their comments, in the order of the file."""
    text = path.read_text()
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)  # noqa: S101 - the file is our own
    return _fields(node, text.splitlines(), ())


def schema(values: tuple[Value, ...]) -> dict[str, Any]:
    """JSON schema (draft 7) of the values, closed."""
    properties = {value.path[-1]: _schema(value) for value in values}
    properties["global"] = {"type": "object", "description": "Helm's own, for charts that contain this one."}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart switchtender",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def readme(chart: dict[str, Any], values: tuple[Value, ...]) -> str:
    """The chart's README."""
    source = f"oci://…/charts/{chart['name']} --version {chart['version']}"
    return _INTRODUCTION.format(source=source, **chart) + "".join(_rows(values))


def _fields(node: yaml.MappingNode, lines: list[str], path: tuple[str, ...]) -> tuple[Value, ...]:
    found: list[Value] = []
    for key, value in node.value:
        here = (*path, key.value)
        description, extra = _comment(lines, key.start_mark.line)
        nested = isinstance(value, yaml.MappingNode) and value.value and "open" not in extra
        fields = _fields(value, lines, here) if nested else ()
        default = yaml.safe_load(yaml.serialize(value))
        found.append(Value(here, default, description, extra, fields))
    return tuple(found)


def _comment(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    """What the comment right above a line says: its description and its schema."""
    block: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        block.insert(0, lines[line].strip().removeprefix("#").strip())
    extra = [json.loads(text.removeprefix("@schema")) for text in block if text.startswith("@schema")]
    words = [text.removeprefix("--").strip() for text in block if not text.startswith("@schema")]
    return " ".join(words), extra[0] if extra else {}


def _schema(value: Value) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if value.description:
        found["description"] = value.description
    if value.default is not None:
        found["type"] = _TYPES[type(value.default)]
    found |= {key: extra for key, extra in value.extra.items() if key != "open"}
    if "enum" in found:
        found.pop("type", None)
    if not value.is_open:
        found["additionalProperties"] = False
        found["properties"] = {field.path[-1]: _schema(field) for field in value.fields}
    return found


def _rows(values: tuple[Value, ...]) -> Iterator[str]:
    for value in values:
        if value.description:
            name, default = ".".join(value.path), json.dumps(value.default, ensure_ascii=False)
            meaning = value.description.replace("|", "\\|")
            yield f"| `{name}` | {_accepted(value)} | `{default}` | {meaning} |\n"
        yield from _rows(value.fields)


def _accepted(value: Value) -> str:
    described = _schema(value)
    if "enum" in described:
        return ", ".join(f"`{json.dumps(entry)}`" for entry in described["enum"])
    kinds = described["type"]
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
