"""What every model of the documents shares: strictness, spelling, object metadata.

Models are values: frozen, with tuples for lists. YAML and JSON spell fields in camelCase, Python in snake_case; whoever
validates foreign data passes by_alias=True, by_name=False, so that only the documented spelling is taken.
Knows no kind.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from switchtender_api.v1alpha1.units import ObjectName, Time, Whole


class Model(BaseModel):
    """A part of a document. Errors never repeat the input: it may hold a password."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )


class ObjectMeta(Model):
    """The part of Kubernetes' object metadata that Switchtender reads."""

    name: ObjectName = Field(description="Name of the object, unique for its kind and namespace.")
    namespace: ObjectName | None = Field(None, description="Namespace of the object; in a file, default where omitted.")
    labels: dict[str, str] = Field({}, description="Labels of the object.")
    annotations: dict[str, str] = Field({}, description="Annotations of the object.")
    uid: str | None = Field(None, description="Identity of the object over its life; set by the API server.")
    generation: Annotated[int, Whole(0, 2**53)] | None = Field(
        None, description="Counts the changes of the spec; set by the API server."
    )
    creation_timestamp: Time | None = Field(None, description="When the object was made; set by the API server.")
