"""What a pod's annotations say of it as a node: weight, priority, backup, resources, drain.

Each is judged on its own: one that is wrong is named and its default is in force, the others count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field, ValidationError

from switchtender_api.constants import (
    ANNOTATION_BACKUP,
    ANNOTATION_DRAIN,
    ANNOTATION_PRIORITY,
    ANNOTATION_RESOURCES,
    ANNOTATION_WEIGHT,
)
from switchtender_api.problems import Finding, format_path
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.members import Resources, Tier, Weight
from switchtender_api.v1alpha1.units import Boolean, Time
from switchtender_api.validation import findings_of
from switchtender_operator.domain.pods import Pod


class Overrides(Model):
    """What holds for one pod; the defaults are those of a static member."""

    weight: Weight = Field(1, description="Multiplies the node's share.")
    priority: Tier = Field(0, description="Tier of the node.")
    backup: Boolean = Field(default=False, description="Used only when no other member takes calls.")
    resources: Resources = Field((), description="Resources of the node, over those of the group.")
    drain: Time | None = Field(None, description="Since when the node takes no new calls.")


@dataclass(frozen=True, slots=True)
class ReadOverrides:
    """What a pod's annotations say, and what of them was not accepted, each naming the annotation."""

    values: Overrides
    problems: tuple[str, ...] = ()

    @property
    def drain(self) -> datetime | None:
        """Since when the node takes no new calls, as far as the annotation goes."""
        return self.values.drain


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else text


def _flag(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


def _list(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "weight": (ANNOTATION_WEIGHT, _number),
    "priority": (ANNOTATION_PRIORITY, _number),
    "backup": (ANNOTATION_BACKUP, _flag),
    "resources": (ANNOTATION_RESOURCES, _list),
    "drain": (ANNOTATION_DRAIN, str),
}
_NONE = ReadOverrides(Overrides())


def read_overrides(pod: Pod) -> ReadOverrides:
    """Return what the annotations of a pod say of it."""
    value = {
        field: parse(text)
        for field, (annotation, parse) in _FIELDS.items()
        if (text := pod.annotation(annotation)) is not None
    }
    if not value:
        return _NONE
    problems: list[str] = []
    try:
        values = Overrides.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        findings = list(findings_of(error, Overrides, value, {}))
        problems = [_problem(finding) for finding in findings]
        wrong = {finding.path[0] for finding in findings}
        sound = {field: value[field] for field in value if field not in wrong}
        values = Overrides.model_validate(sound, by_alias=True, by_name=False)
    return ReadOverrides(values, tuple(problems))


def unknown_resources(values: Overrides, known: Container[str]) -> list[str]:
    """Return what is wrong with resources that the group does not have: they limit nothing."""
    names = [resource.name for resource in values.resources if resource.name not in known]
    return [f"annotation {ANNOTATION_RESOURCES}: no resource {name} in capacity.resources" for name in names]


def _problem(finding: Finding) -> str:
    field, *inner = finding.path
    place = f"annotation {_FIELDS[str(field)][0]}" + (f" at {format_path(tuple(inner))}" if inner else "")
    return f"{place}: {finding.said}"
