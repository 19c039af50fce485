"""pydantic's validation errors to findings for a person: path, what was found, what is accepted, a near name.

A found value is shown only where no password can stand: never at `esl`, never at or below `load` or `passwordFrom`,
never one that looks like a URL with credentials, never the value of an unknown field. Knows pydantic and the shape of
models, no field's meaning.
"""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from switchtender_api.problems import Finding, Path, Refusal

HIDDEN = "a value that is not shown here, as it may hold a password"
_SECRET_FIELDS = frozenset({"load", "passwordFrom"})
_LONGEST = 60

_ACCEPTED = {
    "string_type": "a text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of fields",
    "missing": "",
    "too_short": "at least one entry",
    "string_too_short": "a text that is not empty",
}


def findings_of(
    error: ValidationError, model: type[BaseModel], value: Any, words: Mapping[Path, str]
) -> Iterator[Finding]:
    """Yield one finding for each error of a validation of `value` against `model`.

    `words` says how values that are not texts were spelled in the source.
    """
    for details in error.errors(include_url=False):
        refusal = details.get("ctx", {}).get("error")
        if isinstance(refusal, Refusal):
            for each in (refusal, *refusal.others):
                path = (*details["loc"], *each.path)
                yield Finding(path, each.message, describe_at(value, path, words), each.accepted)
        elif not _only_looks_short(details, value):
            yield _finding(details, model, value, words)


def _only_looks_short(details: ErrorDetails, value: Any) -> bool:
    """Tell a list that is too short only because entries of it were refused, each with an error of its own."""
    return details["type"] == "too_short" and len(_value_at(value, details["loc"])) >= details["ctx"]["min_length"]


def _finding(details: ErrorDetails, model: type[BaseModel], value: Any, words: Mapping[Path, str]) -> Finding:
    path: Path = details["loc"]
    kind = details["type"]
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_field(path, model)
    if kind == "missing":
        return Finding(path, "required field is missing", accepted=_accepted_by(model, path))
    found = describe_at(value, path, words)
    if kind == "literal_error":
        choices = _choices(str(context["expected"]))
        at = _value_at(value, path)
        near = difflib.get_close_matches(at, choices, 1) if isinstance(at, str) and found != HIDDEN else []
        return Finding(path, f"did you mean {near[0]}?" if near else "", found, ", ".join(choices))
    accepted = str(context.get("accepted") or _ACCEPTED.get(kind) or details["msg"])
    if kind == "too_long":
        accepted = f"at most {context['max_length']} entries"
    return Finding(path, "", found, accepted)


def _unknown_field(path: Path, model: type[BaseModel]) -> Finding:
    parent = _model_at(model, path[:-1])
    known = list(fields_of(parent)) if parent else []
    near = difflib.get_close_matches(str(path[-1]), known, 1)
    hint = f"unknown field; did you mean {near[0]}?" if near else "unknown field"
    shown = path[:-1] if path[-2:-1] == ("passwordFrom",) and not near else path
    return Finding(shown, hint, accepted=", ".join(known))


def _accepted_by(model: type[BaseModel], path: Path) -> str:
    """Say what a missing field would take: the fields of an object, or what its type says of itself."""
    parent = _model_at(model, path[:-1])
    info = fields_of(parent).get(str(path[-1])) if parent else None
    if info is None:
        return ""
    inner = model_in(info.annotation)
    if inner is not None:
        return ", ".join(fields_of(inner))
    return next((str(marker.accepted) for marker in info.metadata if hasattr(marker, "accepted")), "")


def _choices(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """Return the model of the object at `path`, None where there is no object."""
    current: type[BaseModel] | None = model
    for part in path:
        if current is not None and isinstance(part, str):
            info = fields_of(current).get(part)
            current = model_in(info.annotation) if info else None
    return current


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by their names in YAML."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field's type holds, through unions and tuples; None where it holds none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return next((found for part in get_args(annotation) if (found := model_in(part)) is not None), None)
    return None


def _value_at(value: Any, path: Path) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def describe_at(value: Any, path: Path, words: Mapping[Path, str]) -> str:
    """Say what stands at `path`, as it was written, in a form that is fit for a log."""
    at = _value_at(value, path)
    names = {part for part in path if isinstance(part, str)}
    if (names & _SECRET_FIELDS or path[-1:] == ("esl",)) and not isinstance(at, (dict, list)):
        return HIDDEN
    if path in words and not isinstance(at, str):
        word = words[path]
        return f"{word} (which YAML reads as {json.dumps(at)})" if word not in ("", json.dumps(at)) else json.dumps(at)
    return describe(at)


def describe(value: Any) -> str:
    """Say what a value is, in a form that is fit for a log."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, str) and ("fs:" in value.lower() or "@" in value):
        return HIDDEN
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
