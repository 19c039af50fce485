"""What is wrong with a document, as values: where it stands, what was found, what is accepted.

Refusal is raised where a value is parsed, Finding says where in a document, Problem says where in a file. Nothing here
knows a model or YAML, and nothing here is shown a password: callers pass `found` already fit for a log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

Path = tuple[str | int, ...]
"""Field names (as in YAML) and list positions (from 0), outermost first."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Refusal(ValueError):  # noqa: N818 - it is a verdict on a value, named so where it is raised
    """A value that is not accepted; the message never repeats the value.

    `accepted` says in words what is; `path` leads from the refused object to the field meant, empty for itself;
    `others` are further refusals of the same object.
    """

    def __init__(self, message: str, *, accepted: str = "", path: Path = (), others: tuple[Refusal, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.accepted = accepted
        self.path = path
        self.others = others


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong within one document."""

    path: Path
    message: str = ""
    found: str | None = None
    accepted: str = ""

    @property
    def said(self) -> str:
        """What is wrong, without where: `message; found X; accepted: Y`."""
        return _said(self.message, self.found, self.accepted)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong within a file, ready to be shown.

    `document` counts from 1, `line` counts from 1; None where there is none, as in an empty file. `name` is
    `namespace/name` for a group and the plain name otherwise, empty while unknown.
    """

    file: str
    document: int | None = None
    kind: str = ""
    name: str = ""
    line: int | None = None
    path: str = ""
    found: str | None = None
    accepted: str = ""
    message: str = ""

    def render(self) -> str:
        """Return the problem as one line for a person: `file:line: Kind name: path: message: found X; accepted: Y`."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = " ".join(word for word in (self.kind, self.name) if word)
        if not subject and self.document is not None:
            subject = f"document {self.document}"
        said = _said(self.message, self.found, self.accepted)
        return ": ".join(part for part in (place, subject, self.path, said) if part)

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the problem as plain values, for JSON."""
        return asdict(self)


class DocumentErrors(Exception):  # noqa: N818 - holds several
    """A file was refused; `problems` holds everything wrong with it, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.render() for problem in self.problems))


def _said(message: str, found: str | None, accepted: str) -> str:
    parts = (message, f"found {found}" if found is not None else "", f"accepted: {accepted}" if accepted else "")
    return "; ".join(part for part in parts if part)


def quote(text: object) -> str:
    """Return a found text as it is shown: in quotes."""
    return json.dumps(str(text), ensure_ascii=False)


def format_path(path: Path) -> str:
    """Return a path as people write it: `spec.listeners[0].port`, `metadata.labels["example.com/a"]`.

    A name that looks like a URL with credentials, where a value slipped into the place of a field, is not shown.
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "@" in part or "://" in part:
            text += "[…]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text
