"""What the operator is told when it starts, checked as a whole. Knows neither the command line nor Kubernetes."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)


class SettingsError(Exception):
    """A setting that cannot be; the text is for a person and names the flag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings.

    `watch_namespaces` empty means every namespace. `namespace` is the operator's own: its Lease, the balancers and
    what belongs to them. `lease_duration` in seconds. `write_qps` writes a second, `write_burst` at once.
    """

    namespace: str
    identity: str
    watch_namespaces: tuple[str, ...] = ()
    lease_name: str = "switchtender-operator"
    leader_election: bool = True
    lease_duration: float = 15.0
    esl_secret_names: frozenset[str] = frozenset({"esl"})
    ensure_crds: bool = True
    http_address: str = "0.0.0.0"
    http_port: int = 8081
    kubeconfig: str | None = None
    context: str | None = None
    write_qps: float = 20.0
    write_burst: int = 40

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        _check("--namespace", self.namespace, _LABEL)
        for name in self.watch_namespaces:
            _check("--watch-namespaces", name, _LABEL)
        _check("--lease-name", self.lease_name, _SUBDOMAIN)
        for name in sorted(self.esl_secret_names):
            _check("--esl-secret-names", name, _SUBDOMAIN)
        if not self.identity:
            raise SettingsError("--identity: must not be empty")

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """What is listed and watched: each namespace on its own, or None alone for the whole cluster."""
        return self.watch_namespaces or (None,)


def names(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, each once, in order; empty for an empty text."""
    return tuple(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def unique_identity(base: str | None) -> str:
    """Return a holder identity for the Lease that no other process has: the pod's name, else the host's, and chance.

    A container that restarts in the same pod is another holder: what its former life wrote may still be under way.
    """
    return f"{base or socket.gethostname()}_{secrets.token_hex(4)}"


def _check(flag: str, name: str, accepted: re.Pattern[str]) -> None:
    if not accepted.fullmatch(name):
        raise SettingsError(f"{flag}: {name!r} is no Kubernetes name (lower case letters, digits and -)")
