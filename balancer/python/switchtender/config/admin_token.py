"""The bearer token of the admin verbs, outside Kubernetes: where it stands, what one looks like, how one is made.

No text made here holds a token or what might be one.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from switchtender_api.problems import Finding
from switchtender_api.v1alpha1.http import TokenFrom

FILE = "admin-token"
"""In ``stateDir``."""

ACCEPTED = "16 to 4096 letters, digits and any of - . _ ~ + / ="
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750 section 2.1
_SHORTEST, _LONGEST = 16, 4096
_BYTES = 32

_Seen = tuple[int, int, int, int]


class NoTokenError(Exception):
    """There is no token that could be shown; the text says where it should be, and what is wrong there."""


def fresh() -> str:
    """A token nobody knows, as a line of a file."""
    return secrets.token_urlsafe(_BYTES) + "\n"


def parse_token(text: str) -> str:
    """The token in the text, less white space around it. Raises NoTokenError with what is wrong with it."""
    token = text.strip()
    if not _TOKEN.fullmatch(token) or not _SHORTEST <= len(token) <= _LONGEST:
        raise NoTokenError(f"is no token; accepted: {ACCEPTED}")
    return token


@dataclass
class TokenFile:
    """A file with the token, read again when it is another than before. None while it is gone or holds none."""

    path: Path
    _seen: _Seen | None = None
    _token: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"file {self.path}"

    def __call__(self) -> str:
        """The token. Raises NoTokenError."""
        try:
            with self.path.open("rb") as file:
                stat = os.fstat(file.fileno())
                seen = stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
                if seen != self._seen:
                    text = file.read(4 * _LONGEST).decode("ascii", "replace")
                    self._token, self._seen = parse_token(text), seen
        except OSError as error:
            raise NoTokenError(f"file {self.path}: {error.strerror or error}") from None
        except NoTokenError as error:
            raise NoTokenError(f"what {self.place} holds {error}") from None
        return self._token


@dataclass(frozen=True, slots=True)
class TokenVariable:
    """An environment variable with the token."""

    name: str
    environ: Mapping[str, str] = field(repr=False)

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"environment variable {self.name}"

    def __call__(self) -> str:
        """The token. Raises NoTokenError."""
        if self.name not in self.environ:
            raise NoTokenError(f"{self.place} is not set")
        try:
            return parse_token(self.environ[self.name])
        except NoTokenError as error:
            raise NoTokenError(f"what {self.place} holds {error}") from None


def named(source: TokenFrom, environ: Mapping[str, str]) -> TokenFile | TokenVariable:
    """Where the configuration says that the token is."""
    return TokenVariable(source.env, environ) if source.env is not None else TokenFile(Path(source.file or ""))


def findings(source: TokenFrom | None, environ: Mapping[str, str]) -> list[Finding]:
    """What keeps the token that the configuration names from being used."""
    if source is None:
        return []
    try:
        named(source, environ)()
    except NoTokenError as error:
        field_name = "file" if source.env is None else "env"
        return [Finding(("spec", "http", "admin", "tokenFrom", field_name), str(error))]
    return []
