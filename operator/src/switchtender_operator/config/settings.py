"""What the operator is told when it starts, checked as a whole. Knows neither the command line nor Kubernetes."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass
from types import MappingProxyType

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)


_TARGET = re.compile(
    rf"(?P<group>{_SUBDOMAIN.pattern})/(?P<version>v[a-z0-9]{{1,62}})/(?P<plural>[a-z0-9]+):(?P<kind>[A-Z][A-Za-z0-9]*)",
    re.ASCII,
)


class SettingsError(Exception):
    """A setting that cannot be; the text is for a person and names the flag."""


@dataclass(frozen=True, slots=True)
class ScalableKind:
    """A kind that autoscaling may act on, as it is named in paths and in objects."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As objects name it."""
        return f"{self.group}/{self.version}"


SHORT_TARGETS = MappingProxyType(
    {
        "Deployment": ScalableKind("apps", "v1", "deployments", "Deployment"),
        "StatefulSet": ScalableKind("apps", "v1", "statefulsets", "StatefulSet"),
    }
)
"""Kinds that need no more than their name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings.

    `watch_namespaces` empty means every namespace. `namespace` is the operator's own: its Lease, the balancers and
    what belongs to them. `lease_duration` in seconds. `write_qps` writes a second, `write_burst` at once.
    `autoscale_targets` are the kinds that spec.autoscale may name; `pod_marks`: whether pods are marked by their load.
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
    autoscale_targets: tuple[ScalableKind, ...] = tuple(SHORT_TARGETS.values())
    pod_marks: bool = True
    drain_cordoned_nodes: bool = False

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        _check("--namespace", self.namespace, _LABEL)
        for name in self.watch_namespaces:
            _check("--watch-namespaces", name, _LABEL)
        _check("--lease-name", self.lease_name, _SUBDOMAIN)
        for name in sorted(self.esl_secret_names):
            _check("--esl-secret-names", name, _SUBDOMAIN)
        if self.drain_cordoned_nodes and self.watch_namespaces:
            raise SettingsError("--drain-cordoned-nodes: nodes have no namespace; leave --watch-namespaces empty")
        if not self.identity:
            raise SettingsError("--identity: must not be empty")

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """What is listed and watched: each namespace on its own, or None alone for the whole cluster."""
        return self.watch_namespaces or (None,)


def names(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, each once, in order; empty for an empty text."""
    return tuple(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def scalable_kinds(text: str) -> tuple[ScalableKind, ...]:
    """Return the kinds of a comma-separated list: Deployment, StatefulSet, or group/version/plural:Kind.

    Raises SettingsError.
    """
    found = []
    for word in names(text):
        match = _TARGET.fullmatch(word)
        if match is None and word not in SHORT_TARGETS:
            raise SettingsError(
                f"--autoscale-targets: {word!r} is neither Deployment nor StatefulSet nor of the form "
                "group/version/plural:Kind, such as apps/v1/replicasets:ReplicaSet"
            )
        found.append(
            SHORT_TARGETS[word]
            if match is None
            else ScalableKind(match["group"], match["version"], match["plural"], match["kind"])
        )
    return tuple(dict.fromkeys(found))


def unique_identity(base: str | None) -> str:
    """Return a holder identity for the Lease that no other process has: the pod's name, else the host's, and chance.

    A container that restarts in the same pod is another holder: what its former life wrote may still be under way.
    """
    return f"{base or socket.gethostname()}_{secrets.token_hex(4)}"


def _check(flag: str, name: str, accepted: re.Pattern[str]) -> None:
    if not accepted.fullmatch(name):
        raise SettingsError(f"{flag}: {name!r} is no Kubernetes name (lower case letters, digits and -)")
