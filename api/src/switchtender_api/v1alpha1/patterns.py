"""Regular expressions that take linear time and mean the same to Python and to the packet core.

What is accepted is a subset common to both engines, checked by one scan: no look-around, no back-reference, no
possessive or atomic form, no nested set, bounded repetition, ASCII only. Knows no document.
"""

from __future__ import annotations

import re
import string
from typing import Annotated

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.units import Parsed

LONGEST = 512
LONGEST_UNFOLDED = 4096
"""Bound on the length times the product of all counted repetitions: what a pattern may unfold to when compiled."""

_ESCAPED = frozenset("dDwWsSbBtnrfv") | (frozenset(string.punctuation) - frozenset("<>_"))
_ACCEPTED = "a regular expression of at most 512 ASCII characters without look-around and back-references"
_COUNT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}", re.ASCII)
_GROUP = re.compile(r"\((\?(:|i:|P<[A-Za-z_][A-Za-z0-9_]*>))?")
_SET = re.compile(r"\[\^?((?:\\.|[^\]\\])+)\]", re.ASCII)


def parse_pattern(text: str) -> str:
    """Return the pattern as it stands if it is within the common subset. Raises Refusal."""
    if not text.isascii() or not text.isprintable() or not 0 < len(text) <= LONGEST:
        raise Refusal("not a printable ASCII text of 1 to 512 characters", accepted=_ACCEPTED)
    repetition = 1
    position = 0
    while position < len(text):
        position, factor = _step(text, position)
        repetition *= factor
        if len(text) * repetition > LONGEST_UNFOLDED:
            raise Refusal("the counted repetitions unfold to too much", accepted=_ACCEPTED)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise Refusal(f"not a regular expression: {getattr(error, 'msg', error)}", accepted=_ACCEPTED) from None
    return text


def _step(text: str, position: int) -> tuple[int, int]:
    """Check the element at `position`; return where the next one begins and how often this one repeats the last."""
    character = text[position]
    if character == "\\":
        return _escape(text, position), 1
    if character == "[":
        return _set(text, position), 1
    if character == "(":
        group = _GROUP.match(text, position)
        if group is None or (group[1] is None and text.startswith("(?", position)):
            raise Refusal("look-around, conditions and flags are not accepted", accepted=_ACCEPTED)
        return group.end(), 1
    if character in "*+?":
        return _after_quantifier(text, position + 1), 1
    if character == "{":
        count = _COUNT.match(text, position)
        if count is None:
            raise Refusal(r"a { begins a count such as {2,5}; { itself is written \{", accepted=_ACCEPTED)
        return _after_quantifier(text, count.end()), max(int(count[3] or count[1]), 1)
    return position + 1, 1


def _after_quantifier(text: str, position: int) -> int:
    if text.startswith("+", position):
        raise Refusal("possessive repetition is not accepted", accepted=_ACCEPTED)
    return position + 1 if text.startswith("?", position) else position


def _escape(text: str, position: int) -> int:
    escaped = text[position + 1 : position + 2]
    if escaped.isdigit():
        raise Refusal("back-references are not accepted", accepted=_ACCEPTED)
    if escaped not in _ESCAPED:
        raise Refusal(f"the escape \\{escaped} is not accepted", accepted=_ACCEPTED)
    return position + 2


def _set(text: str, position: int) -> int:
    match = _SET.match(text, position)
    if match is None:
        raise Refusal(r"a set is empty or not closed; ] within one is written \]", accepted=_ACCEPTED)
    inside = match[1]
    for escape in re.finditer(r"\\(.)", inside):
        if escape[1] in "bB" or escape[1] not in _ESCAPED:
            raise Refusal(f"the escape \\{escape[1]} is not accepted in a set", accepted=_ACCEPTED)
    bare = re.sub(r"\\.", "_", inside)
    if "[" in bare or any(operator in bare for operator in ("&&", "--", "~~", "||")):
        raise Refusal(r"nested sets and set operations are not accepted; write \[", accepted=_ACCEPTED)
    return match.end()


Pattern = Annotated[
    str,
    Parsed(
        (str,),
        parse_pattern,
        _ACCEPTED,
        longest=LONGEST,
        # The API server's own engine, RE2, refuses a pattern by failing to compile it, which no || may swallow.
        rule="self != '' && [''.matches(self)].size() == 1",
        schema={"minLength": 1},
    ),
]
