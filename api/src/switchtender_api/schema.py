"""The documents as JSON schema, from which custom resources, editors and reference pages are made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup, DestinationSet, PortRange
from switchtender_api.v1alpha1.units import format_duration

Kind = Literal["BalancerConfig", "BalancerGroup", "DestinationSet"]

KINDS: tuple[Kind, ...] = ("BalancerConfig", "BalancerGroup", "DestinationSet")

_MODELS: dict[Kind, type[BaseModel]] = {
    "BalancerConfig": BalancerConfig,
    "BalancerGroup": BalancerGroup,
    "DestinationSet": DestinationSet,
}


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of what a document of this kind may hold, field names as in YAML."""
    schema: dict[str, Any] = _plain(extended_schema(kind))
    return schema


def extended_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON schema with the extensions of Kubernetes (x-kubernetes-…), from which `crd` makes its own."""
    return _MODELS[kind].model_json_schema(by_alias=True, mode="validation", schema_generator=_AsWritten)


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if not key.startswith("x-kubernetes-")}
    return [_plain(entry) for entry in node] if isinstance(node, list) else node


class _AsWritten(GenerateJsonSchema):
    """Defaults stand as an author would write them, not as Python holds them."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return str(dft) if isinstance(dft, PortRange) else super().encode_default(dft)
