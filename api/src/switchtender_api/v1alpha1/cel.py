"""What an API server checks of a value: rules in CEL, the expression language of custom resources.

They stand in the JSON schema beside what they say, as the extension x-kubernetes-validations. A rule says the same as
the Python check that it stands next to, or less where the API server cannot know. Knows no field.

Null and absent are one to `has()`. An error within `||` and `&&` counts only where the other side does not decide, so a
rule over several fields is written to be true while one of them is wrong by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RULES = "x-kubernetes-validations"
UNJUDGED: Mapping[str, Any] = {RULES: []}
"""The extension of a value that is judged from its object alone."""


def cel(rule: str, message: str, field: str = "") -> dict[str, Any]:
    """Return the schema extension for one rule, with its message and the field of the object that it is about.

    An empty field means the value itself. The API server repeats a scalar value that is refused, but no object: what
    may hold a password is judged from its object.
    """
    place = {"fieldPath": f".{field}"} if field else {}
    return {RULES: [{"rule": rule, "message": message, **place}]}


def rules(*each: dict[str, Any]) -> dict[str, Any]:
    """Return several extensions made by `cel` as one."""
    return {RULES: [rule for extension in each for rule in extension[RULES]]}


def cel_text(text: str) -> str:
    """Return a text as a raw literal, in which a pattern stands as it is."""
    if "'" in text:
        raise ValueError("a pattern with a quote has no raw literal")
    return f"r'{text}'"
