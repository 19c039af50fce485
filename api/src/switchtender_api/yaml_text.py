"""YAML text to plain values, with the line of every field, safely.

The part of YAML 1.1 that kubectl and people mean: mappings, lists, texts, whole and decimal numbers, true/false (and
yes/no, on/off, as kubectl), null, anchors, merge keys. No tags but !!str, no dates, no octal, no base 60: what only
looks like one is a text. Built from parser events, so that nothing recurses deeper, expands further or lasts longer
than the bounds below. Knows no document kind, and repeats no text of the file but field names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from switchtender_api.problems import Path

MOST_BYTES = 4 * 1024 * 1024
MOST_DEPTH = 48
MOST_NODES = 500_000
"""Values in one file, those that aliases repeat counted each time."""

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"(?P<true>true|True|TRUE|yes|Yes|YES|on|On|ON)|false|False|FALSE|no|No|NO|off|Off|OFF", re.ASCII)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"[-+]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][-+]?[0-9]{1,3})?|[-+]?\.[0-9]{1,30}", re.ASCII)
_QUOTED = re.compile(r"(['\"])(.*?)\1")
_STRING_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with the text itself; `line` counts from 1, `path` leads to the field where there is one."""

    message: str
    line: int | None
    path: Path = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its plain value, the line of each path in it, and what is wrong with its text.

    `index` counts from 1. `words` keeps how a value that is no text was written: YAML reads `on` as true.
    """

    index: int
    value: Any
    line: int
    lines: dict[Path, int] = field(default_factory=dict)
    words: dict[Path, str] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """Return the line of a field; of what should hold it, where it is missing."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return self.line


@dataclass(frozen=True, slots=True)
class Text:
    """What a text holds: its documents that could be read, and the flaw that ended reading, if any."""

    documents: tuple[Document, ...]
    fatal: Flaw | None = None


class _Fatal(Exception):  # noqa: N818 - carries a Flaw
    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.flaw = Flaw(message, line)


@dataclass(frozen=True, slots=True)
class _Scalar:
    line: int
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class _List:
    line: int
    items: list[_Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Map:
    line: int
    pairs: list[tuple[_Node, _Node]] = field(default_factory=list)


_Node = _Scalar | _List | _Map


@dataclass(slots=True)
class _Frame:
    """A list or mapping whose end has not come yet."""

    node: _List | _Map
    anchor: str | None
    key: _Node | None = None


def read(source: str | bytes) -> Text:
    """Return the documents of a YAML text; never raises for what the text holds."""
    documents: list[Document] = []
    try:
        expansion = _Expansion()
        for index, root in enumerate(_roots(_decoded(source)), start=1):
            documents.append(expansion.document(index, root))
    except _Fatal as fatal:
        return Text(tuple(documents), fatal.flaw)
    except yaml.YAMLError as error:
        return Text(tuple(documents), _syntax_flaw(error))
    return Text(tuple(documents))


def _decoded(source: str | bytes) -> str:
    try:
        data = source.encode() if isinstance(source, str) else source
        text = data.decode("utf-8-sig")
    except UnicodeError:
        raise _Fatal("the file is not UTF-8 text", None) from None
    if len(data) > MOST_BYTES:
        raise _Fatal(f"the file is longer than {MOST_BYTES // (1024 * 1024)} MiB", None)
    forbidden = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if forbidden is not None:
        raise _Fatal("not YAML: a character that YAML does not allow", text.count("\n", 0, forbidden.start()) + 1)
    return text


def _syntax_flaw(error: yaml.YAMLError) -> Flaw:
    """Describe a syntax error without repeating the text of the file, which may hold a password."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return Flaw("not YAML", None)
    words = ", ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    return Flaw(f"not YAML: {_QUOTED.sub(_without_content, words)}", mark.line + 1 if mark else None)


def _without_content(quoted: re.Match[str]) -> str:
    """Keep single characters and the parser's own <names>; anything else quoted may come from the file."""
    return quoted[0] if len(quoted[2]) <= 1 or quoted[2].startswith("<") else "…"


def _roots(text: str) -> Iterator[_Node]:
    """Yield the root node of each document, aliases resolved to the very node they name."""
    builder = _Builder()
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder()
        elif isinstance(event, yaml.DocumentEndEvent) and builder.root is not None:
            yield builder.root
        else:
            builder.feed(event)


class _Builder:
    """Makes one document's nodes from parser events."""

    def __init__(self) -> None:
        self.root: _Node | None = None
        self._anchors: dict[str, _Node] = {}
        self._open: list[_Frame] = []

    def feed(self, event: yaml.Event) -> None:
        if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            frame = self._open.pop()
            self._finish(frame.node, frame.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._finish(self._anchored(event), None)
        elif isinstance(event, yaml.ScalarEvent):
            self._finish(_scalar(event), event.anchor)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            line = _line(event)
            if event.tag not in (None, "!"):
                raise _Fatal("tags are not accepted here", line)
            if len(self._open) >= MOST_DEPTH:
                raise _Fatal(f"nested deeper than {MOST_DEPTH}", line)
            node = _List(line) if isinstance(event, yaml.SequenceStartEvent) else _Map(line)
            self._open.append(_Frame(node, event.anchor))

    def _anchored(self, event: yaml.AliasEvent) -> _Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise _Fatal("not YAML: an alias without a finished anchor before it", _line(event))
        return node

    def _finish(self, node: _Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        frame = self._open[-1]
        if isinstance(frame.node, _List):
            frame.node.items.append(node)
        elif frame.key is None:
            frame.key = node
        else:
            frame.node.pairs.append((frame.key, node))
            frame.key = None


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 1


def _scalar(event: yaml.ScalarEvent) -> _Scalar:
    if event.tag is not None and event.tag not in _STRING_TAGS:
        raise _Fatal("tags other than !!str are not accepted", _line(event))
    plain = event.style in (None, "") and event.tag is None
    return _Scalar(_line(event), event.value, plain)


class _Expansion:
    """Turns nodes into plain values, following aliases within one budget for the whole text."""

    def __init__(self) -> None:
        self._left = MOST_NODES

    def document(self, index: int, root: _Node) -> Document:
        document = Document(index, None, root.line)
        value = self._value(root, (), document)
        return replace(document, value=value)

    def _value(self, node: _Node, path: Path, document: Document) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _Fatal(f"more than {MOST_NODES} values, those that aliases repeat included", node.line)
        if len(path) > MOST_DEPTH:
            raise _Fatal(f"nested deeper than {MOST_DEPTH}", node.line)
        document.lines.setdefault(path, node.line)
        if isinstance(node, _List):
            return [self._value(item, (*path, position), document) for position, item in enumerate(node.items)]
        if isinstance(node, _Map):
            return self._mapping(node, path, document)
        value = _resolve(node)
        if not isinstance(value, str):
            document.words[path] = node.text
        return value

    def _mapping(self, node: _Map, path: Path, document: Document) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[_Node] = []
        for key, value in node.pairs:
            if isinstance(key, _Scalar) and key.plain and key.text == _MERGE:
                merged.extend(value.items if isinstance(value, _List) else [value])
                continue
            name = _resolve(key) if isinstance(key, _Scalar) else None
            if not isinstance(name, str):
                document.flaws.append(Flaw("a field name is a text; put it in quotes if it is meant", key.line, path))
            elif name in result:
                first = document.line_of((*path, name))
                document.flaws.append(Flaw(f"stands twice, first in line {first}", key.line, (*path, name)))
            else:
                document.lines[(*path, name)] = key.line
                result[name] = self._value(value, (*path, name), document)
        for source in merged:
            self._merge(source, path, result, document)
        return result

    def _merge(self, source: _Node, path: Path, result: dict[str, Any], document: Document) -> None:
        """Add what a merge key (<<) brings: it never replaces what stands there already."""
        if not isinstance(source, _Map):
            document.flaws.append(Flaw("a merge key (<<) takes a mapping or a list of mappings", source.line, path))
            return
        missing = [pair for pair in source.pairs if not (isinstance(pair[0], _Scalar) and pair[0].text in result)]
        result.update(self._mapping(_Map(source.line, missing), path, document))


def _resolve(scalar: _Scalar) -> Any:
    """Return the value of a scalar: a text unless it is plain and spelled like something else."""
    text = scalar.text
    if not scalar.plain:
        return text
    if _NULL.fullmatch(text):
        return None
    boolean = _BOOLEAN.fullmatch(text)
    if boolean:
        return boolean["true"] is not None
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) and not re.fullmatch(r"[-+]?0[0-9]+", text) else text
