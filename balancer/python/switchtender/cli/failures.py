"""Why ``serve`` could not start, in one line: the field that is meant, what happened, and what helps."""

from __future__ import annotations

import errno
import re

from switchtender._core import BindError, ConfigError
from switchtender.http.listen import HttpBindError

_HELP = {
    errno.EADDRINUSE: "another process has it; stop that one or choose another address or port",
    errno.EADDRNOTAVAIL: "this host has no such address; accepted: one of its own, 0.0.0.0 or ::",
    errno.EACCES: "ports below 1024 need the capability NET_BIND_SERVICE; choose a higher one",
}
_OS_ERROR = re.compile(r" \(os error (\d+)\)$", re.ASCII)


def bind_failure(error: BindError) -> str:
    """An address of the packet core that could not be bound."""
    what, address, port, message = error.args
    found = _OS_ERROR.search(message)
    return _bind(_field(what), address, port, _OS_ERROR.sub("", message), int(found[1]) if found else None)


def http_bind_failure(error: HttpBindError) -> str:
    """The HTTP interface's address that could not be bound."""
    return _bind("spec.http", error.address, error.port, error.reason, error.errno)


def core_refusal(error: ConfigError) -> str:
    """What the packet core does not take, though the file was found valid."""
    pointer, message = error.args
    return f"the packet core refuses the configuration: at {pointer} of what it was given: {message}"


def _bind(field: str, address: str, port: int, reason: str, number: int | None) -> str:
    hint = _HELP.get(number) if number is not None else None
    return f"{field}: cannot bind {address} port {port}: {reason}" + (f"; {hint}" if hint else "")


def _field(what: str) -> str:
    if what.startswith("listener "):
        return f"spec.listeners, {what}"
    return {"node side": "spec.nodeSide", "worker port": "spec.nodeSide.workerPorts"}.get(what, what)
