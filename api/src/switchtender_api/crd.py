"""BalancerGroup and DestinationSet as CustomResourceDefinitions: pydantic's JSON schema made structural.

Kubernetes takes a subset of OpenAPI 3.0: no references, titles, unions, constants or closed objects. What a pattern
would check is a CEL rule instead, for its message is ours. A BalancerGroup is checked as strictly as the API server
can; a DestinationSet, which only the operator writes, by shape alone, and keeps fields that it does not know: so
operator and balancers of a newer version understand each other through an older definition.

Defaults stay in the models, where a newer version may change them, and are told in descriptions; the two fields of
DEFAULTED alone are written into objects, because printer columns show them. Does no I/O.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, Literal

from switchtender_api.constants import ANNOTATION_CRD_REVISION, CRD_REVISION, GROUP, VERSION
from switchtender_api.schema import extended_schema
from switchtender_api.v1alpha1.cel import RULES, cel

Kind = Literal["BalancerGroup", "DestinationSet"]
Schema = dict[str, Any]

KINDS: Final[tuple[Kind, ...]] = ("BalancerGroup", "DestinationSet")

DEFAULTED: Final = (("spec", "balancer"), ("spec", "routing", "algorithm"))
"""Fields of a BalancerGroup whose default the API server writes into the object."""

_NAMES: Final[Mapping[Kind, Schema]] = {
    "BalancerGroup": {
        "kind": "BalancerGroup",
        "listKind": "BalancerGroupList",
        "plural": "balancergroups",
        "singular": "balancergroup",
        "shortNames": ["bg"],
        "categories": ["all", "switchtender"],
    },
    "DestinationSet": {
        "kind": "DestinationSet",
        "listKind": "DestinationSetList",
        "plural": "destinationsets",
        "singular": "destinationset",
        "shortNames": ["dset"],
        "categories": ["switchtender"],
    },
}


def _column(name: str, kind: str, path: str, description: str, *, wide: bool = False) -> Schema:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": 1} if wide else column


_AGE: Final = _column("Age", "date", ".metadata.creationTimestamp", "Time since the object was made.")
_COLUMNS: Final[Mapping[Kind, list[Schema]]] = {
    "BalancerGroup": [
        _column("Nodes", "integer", ".status.nodes", "Nodes in the group."),
        _column("Ready", "integer", ".status.ready", "Nodes that take new calls."),
        _column("Sessions", "integer", ".status.sessions", "Sessions on nodes that take new calls."),
        _column("Capacity", "integer", ".status.capacity", "Sessions that those nodes can take."),
        _column("Util", "integer", ".status.utilization", "Sessions over capacity, in percent."),
        _column("Algorithm", "string", ".spec.routing.algorithm", "How a node is chosen."),
        _AGE,
        _column("Balancer", "string", ".spec.balancer", "BalancerConfig that serves the group.", wide=True),
        _column(
            "Accepted",
            "string",
            '.status.conditions[?(@.type=="Accepted")].reason',
            "Reason of the condition Accepted.",
            wide=True,
        ),
        _column(
            "Programmed",
            "string",
            '.status.conditions[?(@.type=="Programmed")].reason',
            "Reason of the condition Programmed.",
            wide=True,
        ),
    ],
    "DestinationSet": [
        _column("Group", "string", ".spec.group.name", "BalancerGroup that the set was made from."),
        _column("Generation", "integer", ".spec.group.generation", "Generation of that group."),
        _AGE,
    ],
}

_DROPPED = frozenset({"title", "default", "additionalProperties", "patternProperties", "propertyNames", "$defs"})
_JUDGEMENTS = frozenset({RULES, "enum", "pattern", "format", "minimum", "maximum", "minLength", "minItems"})
"""What says which values are right, beyond their shape and size."""


_LONGEST_WORD = 64


def custom_resource(kind: Kind) -> Schema:
    """Return the CustomResourceDefinition of a kind as JSON, with its revision as an annotation; the caller's own."""
    return deepcopy(_custom_resource(kind))


@functools.cache
def _custom_resource(kind: Kind) -> Schema:
    names = _NAMES[kind]
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": _COLUMNS[kind],
        "schema": {"openAPIV3Schema": _root(kind)},
    }
    if kind == "BalancerGroup":
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names['plural']}.{GROUP}",
            "annotations": {ANNOTATION_CRD_REVISION: str(CRD_REVISION)},
        },
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _root(kind: Kind) -> Schema:
    schema = extended_schema(kind)
    root = structural(schema, schema["$defs"], strict=kind == "BalancerGroup")
    properties = root["properties"]
    for field in ("apiVersion", "kind"):
        properties[field] = {"description": properties[field]["description"], "type": "string"}
    properties["metadata"] = {"type": "object"}
    root.pop("x-kubernetes-preserve-unknown-fields", None)
    if kind == "BalancerGroup":
        for path in DEFAULTED:
            _set_default(root, path, _default_of(schema, schema["$defs"], path))
    else:
        # Else a field that a person added to a set's policy would stay: its author would not be the operator.
        properties["spec"]["x-kubernetes-map-type"] = "atomic"
    return root


def structural(schema: Schema, definitions: Schema, *, strict: bool = True) -> Schema:
    """Return a JSON schema of pydantic's as a structural one.

    References are inlined, a union with null becomes nullable, a constant an enum, exclusive bounds of whole numbers
    inclusive ones; titles and defaults go. Where not `strict`, values are held to type and size only, objects keep
    unknown fields, and the values of an enum move into the description. Raises ValueError for what has no structural
    form.
    """
    node, nullable = _resolved(schema, definitions)
    result: Schema = {key: value for key, value in node.items() if key not in _DROPPED}
    if "x-kubernetes-int-or-string" in result:
        result.pop("anyOf", None)
        result["maxLength"] = max(map(len, _constants(node["anyOf"])))
    elif "anyOf" in result or "type" not in result:
        raise ValueError(f"no structural form: {json.dumps(schema)[:200]}")
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if RULES in result:
        result.pop("pattern", None)
    if not result.get(RULES, True):
        del result[RULES]
    _inclusive(result)
    if "properties" in node:
        result["properties"] = {
            name: structural(field, definitions, strict=strict) for name, field in node["properties"].items()
        }
    elif values := _values_of_a_map(node):
        result["additionalProperties"] = structural(values, definitions, strict=strict)
    if result.get("type") == "array":
        _array(result, node, definitions, strict=strict)
    if nullable:
        result["nullable"] = True
        if "enum" in result:
            _or_null(result)
    if "default" in schema:
        _tell(result, "Default", schema["default"])
    return result if strict else _shape(result)


def _resolved(schema: Schema, definitions: Schema) -> tuple[Schema, bool]:
    """Return what a field holds, with its own description, and whether it may be null."""
    own = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf", "allOf")}
    if "$ref" in schema:
        node, nullable = _resolved(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
        return {**node, **own}, nullable
    variants = schema.get("anyOf", [])
    others = [variant for variant in variants if variant.get("type") != "null"]
    if variants and len(others) == 1:
        node, _ = _resolved(others[0], definitions)
        return {**node, **own}, len(others) < len(variants)
    return schema, False


def _or_null(result: Schema) -> None:
    """Make an enum one that takes null too: an API server counts null as none of its values, even where it lists it."""
    values = [str(value) for value in result.pop("enum")]
    accepted = " or ".join(values)
    result.update(cel(f"self in {json.dumps(values)}", accepted), maxLength=_LONGEST_WORD)
    _tell(result, "Values", ", ".join(values))


def _values_of_a_map(node: Schema) -> Schema | None:
    """Return the schema of a map's values; what its keys are like, a structural schema cannot say."""
    patterns = list(node.get("patternProperties", {}).values())
    if patterns:
        return patterns[0] if len(patterns) == 1 and isinstance(patterns[0], dict) else None
    values = node.get("additionalProperties")
    return values if isinstance(values, dict) else None


def _array(result: Schema, node: Schema, definitions: Schema, *, strict: bool) -> None:
    entries = node.get("items")
    if not isinstance(entries, dict) or "prefixItems" in node:
        raise ValueError("no structural form: a list whose entries differ by place")
    result["items"] = structural(entries, definitions, strict=strict)
    result.setdefault("x-kubernetes-list-type", "atomic")


def _inclusive(result: Schema) -> None:
    """OpenAPI 3.0 knows exclusive bounds as flags only; of whole numbers they are the next number."""
    for exclusive, inclusive, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        if exclusive in result:
            if result.get("type") != "integer":
                raise ValueError("no structural form: an exclusive bound of a fraction")
            result[inclusive] = result.pop(exclusive) + step


def _constants(variants: list[Schema]) -> list[str]:
    return [str(variant["const"]) for variant in variants if "const" in variant]


def _tell(result: Schema, what: str, value: Any) -> None:
    """Say a value in the description, unless it is nothing or an object whose fields say theirs."""
    if value in (None, [], "") or isinstance(value, dict):
        return
    text = value if isinstance(value, str) else json.dumps(value)
    result["description"] = f"{result.get('description', '')} {what}: {text}.".strip()


def _shape(result: Schema) -> Schema:
    values = result.get("enum", [])
    shape = {key: value for key, value in result.items() if key not in _JUDGEMENTS}
    if values:
        _tell(shape, "Values", ", ".join(values))
        shape["maxLength"] = _LONGEST_WORD
    if "x-kubernetes-int-or-string" in shape:
        shape["maxLength"] = _LONGEST_WORD
    if shape.get("type") == "object" and "properties" in shape:
        shape["x-kubernetes-preserve-unknown-fields"] = True
    if shape.get("type") == "array":
        shape["x-kubernetes-list-type"] = "atomic"
        shape.pop("x-kubernetes-list-map-keys", None)
    return shape


def _set_default(root: Schema, path: tuple[str, ...], default: Any) -> None:
    """Give a field its default, and each optional object on the way an empty one, without which it would not apply."""
    node = root
    for name in path:
        required = name in node.get("required", ())
        node = node["properties"][name]
        if not required and "properties" in node:
            node["default"] = {}
    node["default"] = default


def _default_of(schema: Schema, definitions: Schema, path: tuple[str, ...]) -> Any:
    field: Schema = {}
    for name in path:
        field = schema["properties"][name]
        schema, _ = _resolved(field, definitions)
    return field["default"]
