"""From a real API server's OpenAPI to schemas that kubeconform takes: one self-contained file for each kind.

The documents of /openapi/v3 hold every kind of a group and version; a file here holds one kind and all that it refers
to, closed, so that a misspelt field is found. Pure: whoever asks the API server hands the documents in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

_COMPONENTS = "#/components/schemas/"
_DEFINITIONS = "#/definitions/"


def schemas(document: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    """Each kind of one OpenAPI document: the name of its file (``kind-group-version.json``) and its schema."""
    components = document.get("components", {}).get("schemas", {})
    for name, component in components.items():
        for kind in component.get("x-kubernetes-group-version-kind", ()):
            parts = [kind["kind"], kind["group"].split(".")[0], kind["version"]]
            yield "-".join(part.lower() for part in parts if part) + ".json", _self_contained(name, components)


def _self_contained(name: str, components: Mapping[str, Any]) -> Json:
    found: dict[str, Json] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = _closed(components[current])
            waiting.extend(_references(found[current]))
    top = found.pop(name)
    return {"$schema": "http://json-schema.org/draft-07/schema#", **top, "definitions": found}


def _closed(schema: Any) -> Any:
    """The same schema, its objects closed, null allowed where a Go nil is written, references within the file."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: _closed(value) for key, value in schema.items() if not key.startswith("x-kubernetes-") and key != "default"
    }
    if isinstance(schema.get("$ref"), str):
        closed["$ref"] = schema["$ref"].replace(_COMPONENTS, _DEFINITIONS)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema and not open_ended:
        closed["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
        closed["oneOf"] = [{"type": "integer"}, {"type": "string"}]
    return closed


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_DEFINITIONS)
            else:
                yield from _references(value)
