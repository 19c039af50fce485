"""Event Socket passwords out of Secrets. What was once known of a password stays known, whatever becomes of the Secret.

No text made here holds a password or what might be one.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.endpoints import parse_password

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of one Secret."""

    namespace: str
    name: str
    key: str

    @property
    def place(self) -> tuple[str, str]:
        """The Secret that it is in."""
        return self.namespace, self.name

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name}, key {self.key}"


class Passwords:
    """Passwords by the key that holds them."""

    def __init__(self) -> None:
        self._known: dict[SecretKey, SecretStr] = {}
        self._said: dict[SecretKey, str] = {}

    def learn(self, key: SecretKey, data: Mapping[str, str] | None) -> SecretStr | None:
        """The password in the Secret's ``data``, else the one known before; None where none ever was.

        What keeps it from being read is logged when it comes up.
        """
        if data is not None:
            found = decoded(data, key.key)
            if isinstance(found, SecretStr):
                self._known[key] = found
                self._said.pop(key, None)
            elif self._said.get(key) != found:
                self._said[key] = found
                stays = "; the password known before stays in use" if key in self._known else ""
                log.error("no password in %s: %s%s", key, found, stays)
        return self._known.get(key)


def decoded(data: Mapping[str, str], key: str) -> SecretStr | str:
    """The password under ``key``, less one trailing newline (`echo` writes one), or what is wrong, in words."""
    if key not in data:
        return "there is no such key"
    try:
        value = base64.b64decode(data[key], validate=True)
    except ValueError:
        return "the value is not base64"
    try:
        return parse_password(value.decode().removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        return "the value is not text"
    except Refusal as refusal:
        return refusal.message
