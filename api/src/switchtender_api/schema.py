"""The documents as JSON schema, from which custom resources, editors and reference pages are made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup, DestinationSet

Kind = Literal["BalancerConfig", "BalancerGroup", "DestinationSet"]

KINDS: tuple[Kind, ...] = ("BalancerConfig", "BalancerGroup", "DestinationSet")

_MODELS: dict[Kind, type[BaseModel]] = {
    "BalancerConfig": BalancerConfig,
    "BalancerGroup": BalancerGroup,
    "DestinationSet": DestinationSet,
}


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of what a document of this kind may hold, field names as in YAML."""
    return _MODELS[kind].model_json_schema(by_alias=True, mode="validation")
