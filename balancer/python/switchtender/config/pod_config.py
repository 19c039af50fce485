"""The BalancerConfig of a balancer in a pod: a file with one document, in which the pod's own names and addresses, and
those of its Services, are still to be filled in.

Knows no API server: whoever asks one for a Service hands the addresses in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from switchtender_api import unsupported
from switchtender_api.loader import Documents, load
from switchtender_api.problems import DocumentErrors, Finding, Problem, quote
from switchtender_api.v1alpha1.config import NodeSideAdvertise

VARIABLES: Final = ("POD_IP", "HOST_IP", "POD_NAME", "POD_NAMESPACE")
"""What ``$(NAME)`` may name: the downward API's words, from the environment."""

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "POD_IP": "192.0.2.1",
    "HOST_IP": "192.0.2.2",
    "POD_NAME": "pod",
    "POD_NAMESPACE": "namespace",
}
"""What stands in for them where a file is checked outside a pod (RFC 5737 addresses)."""

_REFERENCE = re.compile(r"\$\(([^()\n]*)\)")
_VALUE = re.compile(r"[0-9A-Za-z.:_-]+")


def read_config(path: Path, *, environ: Mapping[str, str]) -> Documents:
    """The BalancerConfig in the file at ``path``, the pod's own words filled in. Raises DocumentErrors."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DocumentErrors([Problem(str(path), message=f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError:
        raise DocumentErrors([Problem(str(path), message="the file is not UTF-8 text")]) from None
    return make_config(text, str(path), environ=environ)


def make_config(text: str, file: str, *, environ: Mapping[str, str]) -> Documents:
    """The BalancerConfig in ``text``; ``file`` is what messages call it. Raises DocumentErrors."""
    problems = list(_unfilled(text, file, environ))
    if problems:
        raise DocumentErrors(problems)
    documents = load(_REFERENCE.sub(lambda found: environ[found[1]], text), file)
    problems += documents.problems(documents.config, unsupported.findings(documents.config, "Kubernetes"))
    for group in documents.groups:
        finding = Finding((), "in Kubernetes a group is an object of its own", accepted="kubectl apply")
        problems += documents.problems(group, [finding])
    if problems:
        raise DocumentErrors(problems)
    return documents


def services_named(documents: Documents) -> frozenset[str]:
    """The Services whose ClusterIP the node side advertises."""
    side = documents.config.spec.node_side
    return frozenset(entry.service for entry in side.advertise if entry.service) if side else frozenset()


def with_services(documents: Documents, addresses: Mapping[str, Sequence[str]]) -> Documents:
    """The same documents with the ClusterIP of each Service in the place of its name: of those that it has the first in
    the family of the networks it is advertised to.
    """
    config = documents.config
    side = config.spec.node_side
    if side is None:
        return documents
    advertise = tuple(
        entry.model_copy(update={"host": _in_family(entry, addresses[entry.service]), "service": None})
        if entry.service
        else entry
        for entry in side.advertise
    )
    spec = config.spec.model_copy(update={"node_side": side.model_copy(update={"advertise": advertise})})
    return replace(documents, config=config.model_copy(update={"spec": spec}))


def _in_family(entry: NodeSideAdvertise, addresses: Sequence[str]) -> str:
    families = {network.version for network in entry.networks}
    fitting = (address for address in addresses if not families or ipaddress.ip_address(address).version in families)
    return next(fitting, addresses[0])


def _unfilled(text: str, file: str, environ: Mapping[str, str]) -> Iterator[Problem]:
    for found in _REFERENCE.finditer(text):
        name, line = found[1], text.count("\n", 0, found.start()) + 1
        if name not in VARIABLES:
            accepted = ", ".join(f"$({variable})" for variable in VARIABLES)
            yield Problem(file, line=line, found=quote(found[0]), accepted=accepted, message="not known here")
        elif name not in environ:
            accepted = "an environment variable of the pod, from the downward API"
            yield Problem(file, line=line, found=quote(found[0]), accepted=accepted, message=f"{name} is not set")
        elif not _VALUE.fullmatch(environ[name]):
            yield Problem(file, line=line, message=f"{name} holds neither a name nor an address")
