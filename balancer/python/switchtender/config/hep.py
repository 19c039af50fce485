"""The password that a HEP collector asks for, from where the configuration says that it is.

No text made here holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from switchtender_api.loader import Documents
from switchtender_api.problems import DocumentErrors, Finding
from switchtender_api.v1alpha1.passwords import PasswordFrom, resolve


def password(documents: Documents, environ: Mapping[str, str]) -> SecretStr | None:
    """The password for the collector, None where none is configured. Raises DocumentErrors when it cannot be read.

    Asked for when a process starts, and by no later reload: the packet core keeps what it was given.
    """
    hep = documents.config.spec.hep
    if hep is None or hep.password_from is None:
        return None
    source = PasswordFrom(env=hep.password_from.env, file=hep.password_from.file)
    outcome = resolve(source, environ=environ, read_file=_read_text, path=("spec", "hep", "passwordFrom"))
    if isinstance(outcome, Finding):
        raise DocumentErrors(documents.problems(documents.config, [outcome]))
    return outcome


def _read_text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")
