"""Groups as YAML documents that the loader takes and people can edit. Pure.

Written by hand rather than by a YAML library for the comments: what nobody could tell from the tables is said where it
is to be written. Texts are quoted as JSON, which is YAML.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from switchtender.migrate.groups import Amount, Group, Node
from switchtender_api.constants import API_VERSION
from switchtender_api.v1alpha1.endpoints import EslUrl

_LONGEST_REMARK = 200
_CHOSEN = 10
"""Match priority of groups with a condition, above the one that takes every call."""

_CONFIG = f"""\
apiVersion: {API_VERSION}
kind: BalancerConfig
metadata: {{name: default}}
spec:
  listeners:
  - {{name: public, address: 0.0.0.0, port: 5060}}  # where callers come in
"""


@dataclass(frozen=True, slots=True)
class Form:
    """How documents are written: with a BalancerConfig before them, or for Kubernetes, where no password stands."""

    config: bool = True
    namespace: str | None = None
    kubernetes: bool = False


def render(groups: list[Group], form: Form) -> str:
    """All documents as one text. The first group takes every call that no other one's condition takes."""
    documents = [_CONFIG] if form.config and not form.kubernetes else []
    documents += ["\n".join(_group(group, form, first=group is groups[0])) + "\n" for group in groups]
    return "---\n".join(documents)


def _group(group: Group, form: Form, *, first: bool) -> Iterator[str]:
    metadata = f"name: {group.name}" + (f", namespace: {json.dumps(form.namespace)}" if form.namespace else "")
    yield f"# {group.origin}"
    yield f"apiVersion: {API_VERSION}"
    yield "kind: BalancerGroup"
    yield f"metadata: {{{metadata}}}"
    yield "spec:"
    yield from _match(group, first=first)
    yield "  members:"
    yield "    static:"
    for node in group.nodes:
        yield f"    - {_node(node, form)}"
    if form.kubernetes and any(node.load for node in group.nodes):
        yield "  esl:"
        yield "    passwordFrom: {secretKeyRef: {name: esl, key: password}}"
    yield from _routing(group)
    yield "  capacity:"
    yield "    legsPerCall: 2  # 1 where calls end on the node: announcements, conferences, voice agents"
    if group.resources:
        yield "    resources:"
        for amount in group.resources:
            yield f"    - {_amount(amount)}"


def _match(group: Group, *, first: bool) -> Iterator[str]:
    uses = f"resources: [{', '.join(group.uses)}]" if group.uses else ""
    if first:
        if uses:
            yield "  match:  # every call that no other group takes"
            yield "    rules:"
            yield f"    - {{{uses}}}"
        return
    yield "  match:"
    yield f"    priority: {_CHOSEN}"
    yield f"    rules:  # in place of the script's condition: only calls to sip:{group.name}@… until you write it"
    condition = f"requestUri: {{userPattern: {json.dumps(f'^{group.name}$')}}}"
    yield f"    - {{{', '.join(part for part in (condition, uses) if part)}}}"


def _routing(group: Group) -> Iterator[str]:
    if group.algorithm is None:
        return
    parts = [f"algorithm: {group.algorithm}"]
    if group.hash_on is not None:
        parts.append(f"hashOn: {{type: {group.hash_on.type}}}")
    if group.static_weights:
        parts.append("weightsFrom: Static")
    yield f"  routing: {{{', '.join(parts)}}}"


def _node(node: Node, form: Form) -> str:
    parts = [f"name: {json.dumps(node.name)}", f"sip: {json.dumps(str(node.sip))}"]
    if node.load is not None:
        parts.append(f"load: {json.dumps(_without_password(node.load) if form.kubernetes else node.load.reveal())}")
    if node.weight != 1:
        parts.append(f"weight: {node.weight}")
    if node.priority:
        parts.append(f"priority: {node.priority}")
    if node.backup:
        parts.append("backup: true")
    if node.resources:
        parts.append(f"resources: [{', '.join(_amount(amount) for amount in node.resources)}]")
    if node.drain is not None:
        parts.append(f"drain: {json.dumps(_time(node.drain))}")
    remark = _remark(node.remark)
    return f"{{{', '.join(parts)}}}" + (f"  # {remark}" if remark else "")


def _without_password(load: EslUrl) -> str:
    return EslUrl(load.host, load.port, load.user).reveal()


def _amount(amount: Amount) -> str:
    measure = "source: Reported" if amount.limit is None else f"limit: {amount.limit}"
    return f"{{name: {amount.name}, {measure}}}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _remark(text: str) -> str:
    """A text as the rest of a comment line: printable, and not endless."""
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    return line if len(line) <= _LONGEST_REMARK else f"{line[:_LONGEST_REMARK]}…"
