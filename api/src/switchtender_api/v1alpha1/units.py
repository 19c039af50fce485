"""The small field types of the documents: bounded numbers, texts, durations, networks, port ranges.

Each is a marker for `Annotated`, so that a field carries its bounds, its JSON schema with what an API server checks,
and one plain sentence on what it accepts. YAML already tells 5060 from "5060"; so numbers and booleans are taken
strictly. Knows no document.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.cel import UNJUDGED, cel, cel_text

AUTO = "Auto"
Auto = Literal["Auto"]

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DURATION_PATTERN = r"^([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$"
"""Of a text that is not empty. No sum of such amounts overflows the 64-bit nanoseconds of Go and CEL."""
_LONGEST_DURATION = 40
_DURATION_UNITS = ("hours", "minutes", "seconds", "milliseconds")


def _refusing(schema: CoreSchema, accepted: str) -> CoreSchema:
    return core_schema.custom_error_schema(
        schema,
        custom_error_type="refused",
        custom_error_message="not accepted",
        custom_error_context={"accepted": accepted},
    )


@dataclass(frozen=True, slots=True)
class Whole:
    """Marker: a whole number within bounds, both included; with `auto`, the word Auto too."""

    low: int
    high: int
    auto: bool = False

    @property
    def accepted(self) -> str:
        """What the field takes, in words."""
        return f"{'Auto or ' if self.auto else ''}a whole number from {self.low} to {self.high}"

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.int_schema(ge=self.low, le=self.high, strict=True)
        if self.auto:
            return _refusing(core_schema.union_schema([number, core_schema.literal_schema([AUTO])]), self.accepted)
        return _refusing(number, self.accepted)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if not self.auto:
            return handler(schema)
        rule = f"type(self) == int ? self >= {self.low} && self <= {self.high} : self == '{AUTO}'"
        return {**handler(schema), "x-kubernetes-int-or-string": True, **cel(rule, self.accepted)}


@dataclass(frozen=True, slots=True)
class Flag:
    """Marker: true or false, nothing that merely looks like it."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return _refusing(core_schema.bool_schema(strict=True), "true or false")


@dataclass(frozen=True, slots=True)
class Text:
    """Marker: a text that matches an anchored pattern (one that JSON schema, Python and RE2 read alike).

    Where a password may be written by mistake (`secret`), the API server is left to judge from the object around it.
    """

    pattern: str
    accepted: str
    longest: int = 253
    shortest: int = 1
    secret: bool = False

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(
            pattern=self.pattern, min_length=self.shortest, max_length=self.longest, strict=True
        )
        return core_schema.no_info_before_validator_function(self._not_a_number, _refusing(text, self.accepted))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        judged = UNJUDGED if self.secret else cel(f"self.matches({cel_text(self.pattern)})", self.accepted)
        return {**handler(schema), **judged}

    def _not_a_number(self, value: Any) -> Any:
        if isinstance(value, (bool, int, float)):
            raise Refusal("a text stands in quotes when it looks like something else", accepted=self.accepted)
        return value


@dataclass(frozen=True, slots=True)
class Unique:
    """Marker for a tuple: no two entries are the same, or have the same value of the field `by`."""

    what: str
    by: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        kind = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.by]}
        return {**handler(schema), **(kind if self.by else {"x-kubernetes-list-type": "set"})}

    def _validate(self, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        seen: set[Any] = set()
        refusals: list[Refusal] = []
        for position, entry in enumerate(entries):
            value = getattr(entry, self.by) if self.by else entry
            if value in seen:
                refusals.append(self._refusal(position))
            seen.add(value)
        if refusals:
            first, *others = refusals
            raise Refusal(first.message, accepted=first.accepted, path=first.path, others=tuple(others))
        return entries

    def _refusal(self, position: int) -> Refusal:
        if self.by:
            path = (position, self.by)
            return Refusal(f"another {self.what} has this {self.by}", accepted=f"a {self.by} of its own", path=path)
        return Refusal(f"the {self.what} stands twice", accepted=f"each {self.what} once", path=(position,))


@dataclass(frozen=True, slots=True)
class Parsed:
    """Marker: a text that `parse` turns into one of `types`, and `render` back; Refusal says what was wrong.

    `rule` is what of it an API server can check, in CEL; `longest` counts characters.
    """

    types: tuple[type, ...]
    parse: Callable[[str], Any]
    accepted: str
    render: Callable[[Any], str] = str
    longest: int = 253
    rule: str = ""
    schema: dict[str, Any] = field(default_factory=dict, hash=False)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.render, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        checked = cel(self.rule, self.accepted) if self.rule else {}
        return {"type": "string", "maxLength": self.longest, **self.schema, **checked}

    def _validate(self, value: Any) -> Any:
        if isinstance(value, str):
            if len(value) > self.longest:
                raise Refusal(f"longer than {self.longest} characters", accepted=self.accepted)
            return self.parse(value)
        if isinstance(value, self.types):
            return value
        raise Refusal("", accepted=self.accepted)


@dataclass(frozen=True, slots=True)
class Duration:
    """Marker: a duration as in Kubernetes ("500ms", "2s", "1h30m"), bounds included.

    With `auto`, the word Auto too; with `zero`, no time at all too.
    """

    low: str
    high: str
    auto: bool = False
    zero: bool = False

    @property
    def accepted(self) -> str:
        """What the field takes, in words."""
        other = "Auto or " if self.auto else "0s or " if self.zero else ""
        return f"{other}a duration from {self.low} to {self.high}, such as 500ms, 2s or 1h30m"

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                _render_duration, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        pattern = f"^(Auto|{DURATION_PATTERN[1:-1]})$" if self.auto else DURATION_PATTERN
        bounds = f"duration(self) >= duration('{self.low}') && duration(self) <= duration('{self.high}')"
        if self.zero:
            bounds = f"(duration(self) == duration('0s') || {bounds})"
        within = f"self != '' && self.matches({cel_text(DURATION_PATTERN)}) && {bounds}"
        checked = cel(f"self == '{AUTO}' || {within}" if self.auto else within, self.accepted)
        return {"type": "string", "minLength": 2, "maxLength": _LONGEST_DURATION, "pattern": pattern, **checked}

    def _validate(self, value: Any) -> timedelta | str:
        if self.auto and value == AUTO:
            return AUTO
        duration = value
        if isinstance(value, str):
            try:
                duration = parse_duration(value)
            except Refusal as refusal:
                raise Refusal(refusal.message, accepted=self.accepted) from None
        if not isinstance(duration, timedelta):
            raise Refusal("", accepted=self.accepted)
        none = self.zero and not duration
        if not none and not parse_duration(self.low) <= duration <= parse_duration(self.high):
            raise Refusal("out of bounds", accepted=self.accepted)
        return duration


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text like "2h", "1h30m" or "500ms" names.

    Units h, m, s, ms, each at most once and in this order, whole numbers; a subset of Go's time.ParseDuration.
    Raises Refusal.
    """
    match = re.fullmatch(DURATION_PATTERN, text, re.ASCII)
    if match is None or not text:
        raise Refusal("not a duration", accepted="whole numbers with the units h, m, s, ms, such as 500ms, 2s or 1h30m")
    amounts = {
        unit: int(part.rstrip("hms"))
        for unit, part in zip(_DURATION_UNITS, match.groups(), strict=True)
        if part is not None
    }
    return timedelta(**amounts)


def format_duration(duration: timedelta) -> str:
    """Return the shortest text that parse_duration reads back to the same duration, rounded down to milliseconds."""
    rest = duration // timedelta(milliseconds=1)
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        amount, rest = divmod(rest, size)
        if amount:
            text += f"{amount}{unit}"
    return text or "0s"


def _render_duration(value: timedelta | str) -> str:
    return value if isinstance(value, str) else format_duration(value)


def parse_network(text: str) -> IpNetwork:
    """Return a network from "192.0.2.0/24", "2001:db8::/32" or a plain address. Raises Refusal."""
    accepted = "a network such as 192.0.2.0/24 or 2001:db8::/32, or one address"
    if "%" in text:
        raise Refusal("a zone is not accepted in a network", accepted=accepted)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Refusal("not a network", accepted=accepted) from None
    address, _, prefix = text.partition("/")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped:
        raise Refusal("an IPv4 address within an IPv6 one", accepted="the IPv4 address or network itself")
    if re.fullmatch(r"0|[1-9][0-9]{0,2}|", prefix, re.ASCII) is None:
        raise Refusal("the prefix is not a length in bits", accepted=accepted)
    if ipaddress.ip_address(address) != network.network_address:
        raise Refusal(f"bits are set past the prefix; did you mean {network}?", accepted=accepted)
    return network


def parse_address(text: str) -> IpAddress:
    """Return an IPv4 or IPv6 address, without brackets or zone. Raises Refusal."""
    accepted = "an IPv4 or IPv6 address"
    if "%" in text:
        raise Refusal("a zone is not accepted in an address", accepted=accepted)
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise Refusal("not an IP address", accepted=accepted) from None


class PortRange(NamedTuple):
    """Ports from `first` to `last`, both included; (0, 0) leaves the choice to the kernel."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def size(self) -> int:
        """How many ports the range holds."""
        return self.last - self.first + 1


def parse_port_range(text: str) -> PortRange:
    """Return the range that "5071-5134" names. "0-0" is the kernel's choice. Raises Refusal."""
    accepted = "two ports from 1 to 65535, the lower first, such as 5071-5134"
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text, re.ASCII)
    if match is None:
        raise Refusal("not a range of ports", accepted=accepted)
    first, last = (int(part) for part in match.groups())
    if first == last == 0:
        return PortRange(0, 0)
    if not 1 <= first <= last <= 65535:
        raise Refusal("not a range of ports", accepted=accepted)
    return PortRange(first, last)


def parse_time(text: str) -> datetime:
    """Return an RFC 3339 time with its offset. Raises Refusal."""
    accepted = "an RFC 3339 time such as 2026-03-01T22:00:00Z"
    if re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", text, re.ASCII) is None:
        raise Refusal("not an RFC 3339 time", accepted=accepted)
    try:
        time = datetime.fromisoformat(text.upper())
    except ValueError:
        raise Refusal("no such time", accepted=accepted) from None
    # Judged in UTC too, in which it will be written: what is read here must be readable there.
    if not 1970 <= time.year <= 2999 or not 1970 <= time.astimezone(UTC).year <= 2999:
        raise Refusal("not a time of our age", accepted=accepted)
    return time


def format_time(time: datetime) -> str:
    """Return a time as RFC 3339, with Z for UTC."""
    return time.isoformat().replace("+00:00", "Z")


Port = Annotated[int, Whole(1, 65535)]
BindPort = Annotated[int, Whole(0, 65535)]
"""A port to listen on; 0 leaves the choice to the kernel, for tests."""

Boolean = Annotated[bool, Flag()]

Network = Annotated[
    IpNetwork,
    Parsed(
        (ipaddress.IPv4Network, ipaddress.IPv6Network),
        parse_network,
        "a network such as 192.0.2.0/24, or one address",
        longest=49,
        rule="isCIDR(self) ? cidr(self).masked() == cidr(self) : isIP(self)",
    ),
]
Address = Annotated[
    IpAddress,
    Parsed((ipaddress.IPv4Address, ipaddress.IPv6Address), parse_address, "an IPv4 or IPv6 address", rule="isIP(self)"),
]
Ports = Annotated[
    PortRange,
    Parsed(
        (PortRange,), parse_port_range, "a range of ports such as 5071-5134", schema={"pattern": r"^\d{1,5}-\d{1,5}$"}
    ),
]
Time = Annotated[
    datetime,
    Parsed((datetime,), parse_time, "an RFC 3339 time", format_time, longest=40, schema={"format": "date-time"}),
]

EnvironmentVariable = Annotated[
    str, Text(r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable", secret=True)
]
"""Where a secret is; what stands here instead of a name may be the secret itself, so it is never shown."""

ObjectName = Annotated[
    str,
    Text(
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        "1 to 63 lower-case letters, digits and dashes, a letter or digit at both ends",
        63,
    ),
]
"""RFC 1123 label, as Kubernetes names namespaces and most objects."""

SliceName = Annotated[
    str,
    Text(
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[1-9][0-9]{0,5})?$",
        "the name of a group, with a dot and a number for further slices",
        70,
    ),
]

NodeName = Annotated[
    str,
    Text(
        r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
        "1 to 63 letters, digits, dots, dashes and underscores, a letter or digit at both ends",
        63,
    ),
]
HeaderName = Annotated[
    str,
    Text(r"^[A-Za-z0-9!%*_+.~-]+$", "the name of a header field, such as X-Account", 100),
]
"""RFC 3261 §25.1: a token, without the quotes that nobody uses in one."""

ResourceName = Annotated[
    str,
    Text(r"^[A-Za-z][A-Za-z0-9_-]{0,31}$", "1 to 32 letters, digits, dashes and underscores, a letter first", 32),
]
