"""A file of documents to values, or everything that is wrong with it at once.

Pure: takes the text and a name for messages, opens nothing. Whole or not at all: a file with one mistake gives
DocumentErrors. Knows no field by name; what fields mean is in the models, what holds across fields in `rules`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from switchtender_api import rules
from switchtender_api.constants import API_VERSION, DEFAULT_NAMESPACE
from switchtender_api.problems import DocumentErrors, Finding, Problem, format_path
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup
from switchtender_api.validation import describe, findings_of
from switchtender_api.yaml_text import Document, Flaw, read

_MODELS: Mapping[str, type[BalancerConfig] | type[BalancerGroup]] = {
    "BalancerConfig": BalancerConfig,
    "BalancerGroup": BalancerGroup,
}
_KINDS = "BalancerConfig, BalancerGroup"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document stands: what turns a Finding about it into a Problem."""

    file: str
    kind: str
    name: str
    document: Document

    def problem(self, finding: Finding) -> Problem:
        """Return the finding with its place in the file."""
        return Problem(
            file=self.file,
            document=self.document.index,
            kind=self.kind,
            name=self.name,
            line=self.document.line_of(finding.path),
            path=format_path(finding.path),
            found=finding.found,
            accepted=finding.accepted,
            message=finding.message,
        )


@dataclass(frozen=True, slots=True)
class Documents:
    """What a file holds: one BalancerConfig and its groups, in the order of the file."""

    file: str
    config: BalancerConfig
    groups: tuple[BalancerGroup, ...]
    origins: Mapping[tuple[str, str], Origin] = field(default_factory=dict, repr=False, compare=False)

    def problems(self, document: BalancerConfig | BalancerGroup, findings: Iterable[Finding]) -> list[Problem]:
        """Return findings about one of these documents with their places in the file."""
        kind, name = rules.identity(document)
        origin = self.origins.get((kind, name))
        if origin is not None:
            return [origin.problem(finding) for finding in findings]
        return [
            Problem(
                self.file,
                kind=kind,
                name=name,
                path=format_path(finding.path),
                found=finding.found,
                accepted=finding.accepted,
                message=finding.message,
            )
            for finding in findings
        ]


def load(source: str | bytes, file: str) -> Documents:
    """Return the documents of a YAML text; `file` is what messages call it.

    Raises DocumentErrors with every problem: syntax (with what could be read before it), unknown or missing fields,
    values, rules across fields and documents.
    """
    text = read(source)
    problems: list[Problem] = []
    loaded: list[tuple[BalancerConfig | BalancerGroup, Origin]] = []
    origins: list[Origin] = []
    for document in text.documents:
        if document.value is None:
            continue
        origin = _origin(file, document)
        origins.append(origin)
        findings, model = _validated(document)
        problems.extend(origin.problem(finding) for finding in findings)
        problems.extend(_flaw_problem(origin, flaw) for flaw in document.flaws)
        if model is not None:
            loaded.append((model, origin))
    if text.fatal is not None:
        problems.append(Problem(file, line=text.fatal.line, message=text.fatal.message))
    elif sum(origin.kind == "BalancerConfig" for origin in origins) != 1:
        problems.append(_config_count(file, [origin.kind for origin in origins]))
    problems.extend(_repeated(origins))
    problems.extend(_in_context(loaded, {origin.name for origin in origins}))
    if problems:
        raise DocumentErrors(sorted(problems, key=lambda problem: (problem.line or 0, problem.path)))
    config = next(model for model, _ in loaded if isinstance(model, BalancerConfig))
    groups = tuple(model for model, _ in loaded if isinstance(model, BalancerGroup))
    return Documents(file, config, groups, {rules.identity(model): origin for model, origin in loaded})


def _origin(file: str, document: Document) -> Origin:
    """Name a document by what it says of itself, as far as that can be read."""
    value = document.value if isinstance(document.value, dict) else {}
    kind = value.get("kind")
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name, namespace = metadata.get("name"), metadata.get("namespace", DEFAULT_NAMESPACE)
    full = name if isinstance(name, str) else ""
    if kind == "BalancerGroup" and full and isinstance(namespace, str):
        full = f"{namespace}/{full}"
    return Origin(file, kind if isinstance(kind, str) else "", full, document)


def _flaw_problem(origin: Origin, flaw: Flaw) -> Problem:
    path = format_path(flaw.path)
    return Problem(origin.file, origin.document.index, origin.kind, origin.name, flaw.line, path, message=flaw.message)


def _validated(document: Document) -> tuple[list[Finding], BalancerConfig | BalancerGroup | None]:
    value = document.value
    if not isinstance(value, dict):
        return [Finding((), "a document is a mapping of fields", accepted="apiVersion, kind, metadata, spec")], None
    findings = _header_findings(value)
    if findings:
        return findings, None
    model = _MODELS[value["kind"]]
    try:
        result = model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        return list(findings_of(error, model, value, document.words)), None
    return list(rules.within(result)), result


def _header_findings(value: dict[str, Any]) -> list[Finding]:
    findings = []
    if value.get("apiVersion") != API_VERSION:
        findings.append(_header("apiVersion", value, API_VERSION, (API_VERSION,)))
    kind = value.get("kind")
    if kind == "DestinationSet":
        findings.append(
            Finding(
                ("kind",),
                "a DestinationSet is written by the operator and never stands in a file; give the nodes in "
                "spec.members.static of a BalancerGroup",
            )
        )
    elif kind not in _MODELS:
        findings.append(_header("kind", value, _KINDS, tuple(_MODELS)))
    return findings


def _header(name: str, value: dict[str, Any], accepted: str, known: tuple[str, ...]) -> Finding:
    if name not in value:
        return Finding((name,), "required field is missing", accepted=accepted)
    found = value[name]
    near = difflib.get_close_matches(found, known, 1) if isinstance(found, str) else []
    return Finding((name,), f"did you mean {near[0]}?" if near else "", describe(found), accepted)


def _config_count(file: str, kinds: list[str]) -> Problem:
    count = kinds.count("BalancerConfig")
    message = "the file is empty" if not kinds else "a file holds exactly one BalancerConfig"
    return Problem(
        file, found=f"{count} BalancerConfig documents", accepted="exactly one BalancerConfig", message=message
    )


def _repeated(origins: Iterable[Origin]) -> Iterator[Problem]:
    """Yield a problem for each group whose name an earlier one has."""
    first: dict[str, Origin] = {}
    for origin in origins:
        if origin.kind != "BalancerGroup" or not origin.name:
            continue
        if origin.name in first:
            line = first[origin.name].document.line
            yield origin.problem(
                Finding(("metadata", "name"), f"the group of line {line} has this name", accepted="a name of its own")
            )
        first.setdefault(origin.name, origin)


def _in_context(loaded: list[tuple[BalancerConfig | BalancerGroup, Origin]], groups: set[str]) -> Iterator[Problem]:
    config = next((model for model, _ in loaded if isinstance(model, BalancerConfig)), None)
    for model, origin in loaded:
        if isinstance(model, BalancerGroup):
            yield from map(origin.problem, rules.in_context(model, config, groups))
