"""What can be set on a node: at the start by flag or file, most of it live over HTTP. Values only, no behavior."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from switchtender_simulator.accounting import ZOMBIE_SECONDS


class SettingsError(ValueError):
    """A setting that does not exist or cannot have this value; the message names both."""


@dataclass(slots=True)
class EslUser:
    """A `userauth` user; None for a list means that everything is allowed."""

    name: str  # user@domain
    password: str
    events: list[str] | None = None
    api: list[str] | None = None


@dataclass(slots=True)
class Faults:
    """Fault switches of a node; all live."""

    sip_silent: bool = False  # SIP is read and never answered
    esl_silent: bool = False  # ESL accepts and reads, never sends a byte
    esl_drip: float = 0.0  # ESL sends one byte each so many seconds; 0 = off
    esl_half_open: bool = False  # ESL neither reads nor writes, connections stay open
    no_heartbeat: bool = False
    frozen: bool = False  # as with one stuck ESL client: INVITE gets a 100 only, api and events stop, OPTIONS 200


@dataclass(slots=True)
class NodeSettings:
    """One node. Times are seconds."""

    name: str = "fs1"
    sip: str = "127.0.0.1:5060"
    esl: str = "127.0.0.1:8021"
    password: str = "ClueCon"
    users: list[EslUser] = field(default_factory=list)
    acl: list[str] = field(default_factory=list)  # networks that may speak ESL; empty = everybody
    max_sessions: int = 1000
    sessions_per_second: int = 30
    max_requests_per_second: int = 1000  # 0 = no blackout
    heartbeat_interval: float = 20.0
    legs_per_call: int = 1
    answer_delay: float = 0.0
    call_duration: float = 0.0  # 0 = until the caller hangs up
    bye_from: Literal["node", "caller"] = "node"  # who ends a call after call_duration
    auth: str = ""  # user:password; INVITE and REGISTER are challenged
    background_sessions: int = 0
    outside_rate: float = 0.0  # calls a second that no balancer sent
    outside_holding: float = 60.0  # their mean duration
    zombie_seconds: float = ZOMBIE_SECONDS
    admission_lag: float = 0.0004  # between the two looks at the limit
    boot_time: float = 1.6  # from process start to ESL open, for `start` after a crash
    idle_cpu: float = 95.0
    clock_offset: float = 0.0
    t1: float = 0.5
    esl_auth_timeout: float = 24.3
    elegant_term: bool = False  # started with -elegant-term
    version: Literal["1.11.1", "1.10.12"] = "1.11.1"

    @property
    def sip_address(self) -> tuple[str, int]:
        """SIP host and port."""
        return parse_address(self.sip)

    @property
    def esl_address(self) -> tuple[str, int]:
        """ESL host and port."""
        return parse_address(self.esl)


# Fixed once a node exists.
FIXED = frozenset({"name", "sip", "esl", "users", "version"})
_POSITIVE = frozenset(
    {"max_sessions", "sessions_per_second", "heartbeat_interval", "legs_per_call", "t1", "outside_holding"}
)
_CHOICES: dict[str, tuple[str, ...]] = {"bye_from": ("node", "caller"), "version": ("1.11.1", "1.10.12")}


def format_address(address: tuple[str, int]) -> str:
    """Host and port as text, IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:5060` or `[::1]:8021` as host and port; raises SettingsError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _convert(name: str, kind: str, value: Any) -> Any:
    if kind == "bool":
        if isinstance(value, bool):
            return value
        if value in {"true", "false"}:
            return value == "true"
        raise SettingsError(f"{name}: {value!r} is not true or false")
    if kind in {"int", "float"}:
        try:
            number = float(value) if kind == "float" else int(str(value))
        except (TypeError, ValueError):
            raise SettingsError(f"{name}: {value!r} is not a number") from None
        if not abs(number) < 1e12 or (number < 0 and name != "clock_offset") or (number == 0 and name in _POSITIVE):
            raise SettingsError(f"{name}: {value!r} is out of range")
        return number
    if name == "acl":
        return value.split("+") if isinstance(value, str) else [str(network) for network in value]
    if name == "users":
        return [_user(user) for user in value]
    if not isinstance(value, str) or value not in _CHOICES.get(name, (value,)):
        raise SettingsError(f"{name}: {value!r} is not one of {', '.join(_CHOICES.get(name, ('a text',)))}")
    return value


def _user(value: Any) -> EslUser:
    if isinstance(value, str):
        name, _, password = value.rpartition(":")
        value = {"name": name, "password": password}
    try:
        return EslUser(**value)
    except TypeError as error:
        raise SettingsError(f"users: {error}") from None


def update(target: NodeSettings | Faults, values: dict[str, Any], *, fixed: frozenset[str] = frozenset()) -> None:
    """Set `values` (names may be spelt with hyphens) on `target`, all or none; raises SettingsError."""
    kinds = {field_.name: str(field_.type) for field_ in fields(target)}
    converted = {}
    for spelling, value in values.items():
        name = spelling.replace("-", "_")
        if name not in kinds:
            raise SettingsError(f"unknown setting {spelling!r}; known: {', '.join(sorted(kinds))}")
        if name in fixed:
            raise SettingsError(f"{spelling} cannot be changed on a running node")
        converted[name] = _convert(name, kinds[name], value)
    for name, value in converted.items():
        setattr(target, name, value)


def parse_node(spec: str, defaults: dict[str, Any]) -> NodeSettings:
    """A node from `name=fs1,sip=127.0.0.11:5060,…`; raises SettingsError."""
    values: dict[str, Any] = dict(defaults)
    for item in spec.split(","):
        name, equals, value = item.partition("=")
        if not equals:
            raise SettingsError(f"--node {spec!r}: {item!r} is not NAME=VALUE")
        values[name.strip().replace("-", "_")] = value.strip()
    return make_node(values)


def make_node(values: dict[str, Any]) -> NodeSettings:
    """A node from names and values; raises SettingsError."""
    settings = NodeSettings()
    update(settings, values)
    parse_address(settings.esl)
    if ":" in parse_address(settings.sip)[0]:
        raise SettingsError(f"sip: {settings.sip}: SIP is played over IPv4 only")
    return settings
