"""The texts of the generated files. Reads the models and tables of the product, writes nothing."""

from __future__ import annotations

import json
from typing import Any

import yaml

from switchtender.load.states import REASONS as NODE_REASONS
from switchtender.load.states import STATES
from switchtender_api.schema import Kind, json_schema
from switchtender_api.status import CONDITIONS, REASONS
from tools.generate.fields import table

_GENERATED = "Generated from the models (`make generate`); do not edit."
_LAST = ("properties", "additionalProperties", "items")

_CONFIGURATION = f"""\
# Configuration reference

{_GENERATED} A file holds one `BalancerConfig` and any number of
`BalancerGroup` documents, separated by `---`. Unknown fields are errors. `switchtender check FILE` says all that is
wrong with a file at once. Durations are written `500ms`, `2s`, `3m`, `1h`. Editors can use the JSON schemas in
[schemas/](schemas/).
"""

_API = f"""\
# Kubernetes API reference

{_GENERATED} `switchtender.dev/v1alpha1`, namespaced. People write
`BalancerGroup` (`bg`); the operator writes its status and, for the balancers, `DestinationSet` (`dset`). The same
`BalancerGroup` stands in a file without Kubernetes; there and in a ConfigMap also stands `BalancerConfig`: see
[configuration.md](configuration.md). Conditions and their reasons: [conditions.md](conditions.md). `kubectl explain bg`
says what stands here.

The definitions are in `deploy/crds/`; the operator installs them. They need Kubernetes 1.31 or later, whose CEL knows
networks and addresses.

## What the API server checks, and what it does not

* Types, bounds, enums, texts, durations, networks, and every rule over several fields that one object can show. A
  refusal names the field and what is accepted.
* A regular expression must compile in the API server's engine (RE2). Ours takes a little less, so one that passes there
  may still give `Accepted=False`, reason `Invalid`, with the place in the message.
* In Kubernetes a password comes from a Secret. `esl.passwordFrom.env` and `file`, and a password within a `fs://` URL,
  are refused, and the refusal does not repeat them.
* `spec.balancer` is immutable.
* What other objects decide (whether the balancer exists and allows the claim, whether the Secret may be read) and what
  is not built yet is no matter of the schema: the object is stored, and the condition `Accepted` says it.
* A `DestinationSet` is held to its shape and size alone: no enums, no ranges, and fields that the definition does not
  know are kept. Its one author is the operator. So a definition of one version carries the sets of the next.

## Defaults

They are in the components, not in the schema: an object keeps what its author wrote, and a later version may choose a
better default for who did not choose. `kubectl explain` and the tables here tell them. Two fields are written into the
object by the API server, since `kubectl get bg` shows them: `spec.balancer` and `spec.routing.algorithm`.

A field that is null is one that is not given.

## Versions

Fields are only ever added. A component that reads an object of a newer version leaves out fields that it does not know,
and counts them; at an enum value, or any other value, that it cannot read it keeps the last policy of that group. A
single member that it cannot read is left out of its set.

The definitions carry a revision in the annotation `switchtender.dev/crd-revision`. The operator installs a missing one
and replaces one of a lower revision, never one of the same or a higher. `api/crd_revisions.json` holds the schemas'
digest for each revision; once a revision is released (`python -m tools.generate --release`), a change of the schemas
needs the next one.
"""


def configuration() -> str:
    """The reference of what a file may hold."""
    kinds: tuple[Kind, ...] = ("BalancerConfig", "BalancerGroup")
    return "\n".join([_CONFIGURATION, *("\n".join(_section(kind, ("spec",))) for kind in kinds)])


def api() -> str:
    """The reference of the custom resources."""
    group = _section("BalancerGroup", ("spec", "status"))
    nodes = _section("DestinationSet", ("spec",), ("spec.policy",))
    return "\n".join([_API, *group, *nodes])


def conditions() -> str:
    """The reference of conditions and their reasons."""
    lines = ["# Conditions of a BalancerGroup", "", "Generated (`make generate`); do not edit.", ""]
    lines += ["A newer operator may know more of both; scripts should take an unknown reason by its `status`.", ""]
    for condition, meaning in CONDITIONS.items():
        lines += [f"## {condition}", "", meaning, "", "| reason | meaning |", "|---|---|"]
        lines += [*(f"| `{reason}` | {text} |" for reason, text in REASONS[condition].items()), ""]
    return "\n".join(lines)


def states() -> str:
    """The reference of the states of a node and their reasons."""
    lines = ["# States and reasons of a node", "", "Generated (`make generate`); do not edit.", ""]
    lines += ["States: " + ", ".join(f"`{state}`" for state in STATES) + ".", "", "| reason | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{reason}` | {text} |" for reason, text in NODE_REASONS.items()), ""])


def page_reasons() -> str:
    """What the reasons of a node's state mean, as a module of the live page."""
    head = "// What the reasons of a node's state mean. Generated (`make generate`); do not edit."
    words = (f"  {reason}: {json.dumps(text)}," for reason, text in NODE_REASONS.items())
    return "\n".join([head, "", "export const REASONS = {", *words, "};", ""])


def definition(custom_resource: dict[str, Any]) -> str:
    """A CustomResourceDefinition as YAML."""
    text = yaml.dump(_ordered(custom_resource), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    return f"# {_GENERATED}\n{text}"


def _section(kind: Kind, parts: tuple[str, ...], skipped: tuple[str, ...] = ()) -> list[str]:
    schema = json_schema(kind)
    return [f"## {kind}", "", schema.get("description", ""), "", *table(schema, parts, skipped)]


class _Plain(yaml.SafeDumper):
    """Repeats what stands twice instead of referring to it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _ordered(node: Any) -> Any:
    """Return a schema with what a value is before what it holds."""
    if isinstance(node, list):
        return [_ordered(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    is_schema = isinstance(node.get("type"), str) and "jsonPath" not in node
    keys = sorted(node, key=lambda key: (key in _LAST) - (key == "description")) if is_schema else list(node)
    return {key: _ordered(node[key]) for key in keys}
