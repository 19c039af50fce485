"""Provider `existing`: a cluster that is there already, by the name of a kubeconfig context that the user allowed.

Scenarios make and delete namespaces, cluster roles and CRDs. So nothing runs against a cluster whose context the user
did not write down for this very purpose, whatever the current context is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kubernetes.config import ConfigException, list_kube_config_contexts

from tests.e2e.providers.cluster import Cluster

ALLOWED = "E2E_CONTEXTS"
"""Contexts that scenarios may use, with commas between; the first is used."""


def allowed() -> tuple[str, ...]:
    """The names in E2E_CONTEXTS."""
    return tuple(name for name in (part.strip() for part in os.environ.get(ALLOWED, "").split(",")) if name)


def kubeconfig() -> Path:
    """The user's kubeconfig: $KUBECONFIG, if it is one file, else ~/.kube/config."""
    return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")


def missing() -> str | None:
    """Why this cannot run here; None when it can."""
    names = allowed()
    if not names:
        return f"{ALLOWED} names no kubeconfig context that the scenarios may use"
    try:
        contexts = list_kube_config_contexts(str(kubeconfig()))[0]  # type: ignore[no-untyped-call]
        known = {context["name"] for context in contexts}
    except ConfigException as error:
        return f"{kubeconfig()} cannot be read: {error}"
    if names[0] not in known:
        return f"{kubeconfig()} has no context {names[0]!r}"
    return None


@contextlib.contextmanager
def cluster(binaries: Path, folder: Path) -> Iterator[Cluster]:
    """The cluster of the first allowed context. Raises PermissionError when none is allowed."""
    if reason := missing():
        raise PermissionError(reason)
    found = Cluster("existing", binaries, kubeconfig(), folder, context=allowed()[0])
    yield found
    found.close()
