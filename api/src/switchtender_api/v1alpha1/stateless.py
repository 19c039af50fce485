"""What a stateless group cannot have, in one table: each thing with the reason, for a file and for an API server.

A stateless proxy (RFC 3261 §16.11) remembers nothing: a retransmission, a CANCEL and an ACK reach the node of their
INVITE only if each of them leads there by itself, and no call is counted, tried again or ended by us. Knows the
fields by name alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from switchtender_api.problems import Finding, Path, quote
from switchtender_api.v1alpha1.cel import RULES as EXTENSION
from switchtender_api.v1alpha1.cel import cel

_COUNTS: Final = "a stateless proxy counts no calls"
_REMEMBERS: Final = "a stateless proxy does not see how a call goes on"


@dataclass(frozen=True, slots=True)
class _Limit:
    """One thing that must hold of a stateless group.

    `path` leads to a field of the spec; where it is given, and not null, its value must be in `values` (none at all
    where that is empty). `holds` says the same in CEL with `self` for the spec.
    """

    path: Path
    reason: str
    accepted: str
    holds: str
    values: tuple[object, ...] = ()


def _absent(path: Path, reason: str) -> _Limit:
    optional = ".?".join(str(part) for part in path)
    return _Limit(path, reason, "nothing: leave it out", f"!self.?{optional}.hasValue()")


_LIMITS: Final[tuple[_Limit, ...]] = (
    _Limit(
        ("routing", "hashOn", "type"),
        "a CANCEL and an ACK do not carry it as the INVITE does, and would go elsewhere",
        "CallID, From, To, RequestURI, SourceAddress",
        "!(self.?routing.?hashOn.?type.orValue('CallID') in ['AuthUser', 'Header'])",
        ("CallID", "From", "To", "RequestURI", "SourceAddress"),
    ),
    _absent(("routing", "score"), "a score changes between an INVITE and its ACK"),
    _absent(("routing", "failover"), _REMEMBERS),
    _absent(("routing", "timerC"), _REMEMBERS),
    _absent(("capacity", "maxSessions"), _COUNTS),
    _Limit(
        ("capacity", "headroom"),
        _COUNTS,
        "nothing: leave it out",
        "!has(self.capacity) || !has(self.capacity.headroom) || type(self.capacity.headroom) == string",
        ("Auto",),
    ),
    _Limit(
        ("capacity", "emergencyReserve"),
        _COUNTS,
        "nothing: leave it out",
        "self.?capacity.?emergencyReserve.orValue(0) == 0",
        (0,),
    ),
    _absent(("capacity", "callExpiry"), _COUNTS),
    _Limit(
        ("capacity", "overLimit", "action"),
        "a stateless proxy knows no limit, and a second choice would not be that of the ACK",
        "Reject",
        "self.?capacity.?overLimit.?action.orValue('Reject') == 'Reject'",
        ("Reject",),
    ),
)


def _stateless(holds: str, field: str, reason: str) -> dict[str, Any]:
    rule = f"self.?routing.?mode.orValue('Stateful') != 'Stateless' || ({holds})"
    return cel(rule, f"mode Stateless: {reason}", field)


_ALGORITHM = "only Hash leads a retransmission, a CANCEL and an ACK to the node of their INVITE"
_QUEUE = "a stateless proxy holds no call"


def _field(path: Path) -> str:
    return ".".join(str(part) for part in path)


RULES: Final[dict[str, Any]] = {
    EXTENSION: [
        rule
        for extension in (
            _stateless(
                "self.?routing.?algorithm.orValue('') == 'Hash'", "routing.algorithm", f"algorithm: {_ALGORITHM}"
            ),
            *(
                _stateless(limit.holds, _field(limit.path[:1]), f"{_field(limit.path)}: {limit.reason}")
                for limit in _LIMITS
            ),
            _stateless(
                "self.?capacity.?queue.?maxWait.orValue('0s') == '0s'", "capacity", f"capacity.queue.maxWait: {_QUEUE}"
            ),
            _stateless(
                "!has(self.capacity) || !has(self.capacity.resources)"
                " || self.capacity.resources.all(resource, !has(resource.limit))",
                "capacity",
                f"capacity.resources: {_COUNTS}",
            ),
            _stateless(
                "!has(self.match) || !has(self.match.rules)"
                " || self.match.rules.all(rule, !has(rule.emergency) || !rule.emergency)",
                "match",
                f"match.rules: {_COUNTS}, so that none is above a limit",
            ),
        )
        for rule in extension[EXTENSION]
    ]
}
"""The same for an API server, as an extension of the spec's schema."""


def refusals(spec: Any) -> Iterator[Finding]:
    """Yield what a stateless group's spec asks for and cannot have."""
    if spec.routing.mode != "Stateless":
        return
    if spec.routing.algorithm != "Hash":
        yield Finding(("spec", "routing", "algorithm"), _ALGORITHM, quote(spec.routing.algorithm), "Hash")
    for limit in _LIMITS:
        value = _given(spec, limit.path)
        if value is not None and value not in limit.values:
            yield Finding(("spec", *limit.path), limit.reason, _shown(value), limit.accepted)
    if "queue" in spec.capacity.model_fields_set and spec.capacity.queue.max_wait:
        yield Finding(("spec", "capacity", "queue", "maxWait"), _QUEUE, accepted="0s, or leave it out")
    for position, resource in enumerate(spec.capacity.resources):
        if resource.limit is not None:
            path: Path = ("spec", "capacity", "resources", position, "limit")
            yield Finding(path, _COUNTS, str(resource.limit), "source: Reported, or no resources")
    for position, member in enumerate(spec.members.static):
        for number, resource in enumerate(member.resources):
            path = ("spec", "members", "static", position, "resources", number)
            yield Finding(path, _COUNTS, quote(resource.name), "nothing: leave it out")
    for position, rule in enumerate(spec.match.rules):
        if rule.emergency:
            path = ("spec", "match", "rules", position, "emergency")
            yield Finding(path, f"{_COUNTS}, so that none is above a limit", "true", "false")


def _given(value: Any, path: Path) -> Any:
    """Return what its author gave at a path of field names; None where nothing was given, or null."""
    for name in path:
        if not isinstance(value, BaseModel):
            return None
        fields = type(value).model_fields
        attribute = next(key for key, info in fields.items() if (info.alias or key) == name)
        if attribute not in value.model_fields_set:
            return None
        value = getattr(value, attribute)
    return value


def _shown(value: Any) -> str | None:
    return quote(value) if isinstance(value, str) else str(value) if isinstance(value, int) else None
