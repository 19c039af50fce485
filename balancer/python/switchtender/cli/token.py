"""The bearer token of admin verbs, as a command finds it: named by an option, given in the environment, or in the file
that a balancer on this host made. Knows no route.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click

DEFAULT_FILE = Path("/var/lib/switchtender/admin-token")
"""Where a balancer keeps the token that it made, if its ``spec.stateDir`` is the default."""

_VARIABLE = "SWITCHTENDER_TOKEN"
_FILE_VARIABLE = "SWITCHTENDER_TOKEN_FILE"
_LONGEST = 16 * 1024

token_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help=f"File with the token of the balancer. Otherwise {_VARIABLE} holds the token or {_FILE_VARIABLE} names the "
    f"file; for a balancer on this host it is {DEFAULT_FILE} if that can be read.",
)


@dataclass(frozen=True, slots=True)
class Token:
    """What was found. ``value`` None: nothing. ``advice`` says, for a person whom the balancer refuses, where this one
    came from, or why there is none, and what to do.
    """

    value: str | None = field(repr=False)
    advice: str


NO_TOKEN = Token(None, "")
"""Of commands that need none."""


class TokenError(Exception):
    """A file was named that holds no token; the text names it, and never what is in it."""


def find_token(
    named: Path | None, url: str, *, environ: Mapping[str, str] = os.environ, default: Path = DEFAULT_FILE
) -> Token:
    """The token for the balancer at ``url``: the file that the option ``named``, else the environment, else the file of
    a balancer on this host. That last one goes to no other host: nobody asked for it to be sent. Raises TokenError.
    """
    if named is not None:
        return Token(_read(named, "--token-file"), f"the token came from --token-file {named}")
    if environ.get(_VARIABLE):
        return Token(_one_line(environ[_VARIABLE], _VARIABLE), f"the token came from {_VARIABLE}")
    if environ.get(_FILE_VARIABLE):
        file = Path(environ[_FILE_VARIABLE])
        return Token(_read(file, _FILE_VARIABLE), f"the token came from {_FILE_VARIABLE}, {file}")
    return _of_this_host(default, url)


def _of_this_host(file: Path, url: str) -> Token:
    how = f"name its file with --token-file, or set {_VARIABLE}"
    if not _on_this_host(url):
        return Token(None, f"no token was sent: {how}")
    try:
        text = file.read_text(encoding="utf-8")
    except PermissionError:
        return Token(None, f"no token was sent: {file} may not be read by this user; use sudo, or {how}")
    except (OSError, UnicodeDecodeError):
        return Token(None, f"no token was sent: there is none in {file}; {how}")
    return Token(_one_line(text, str(file)), f"the token came from {file}")


def _read(file: Path, named_by: str) -> str:
    try:
        with file.open(encoding="utf-8") as handle:
            text = handle.read(_LONGEST)
    except OSError as error:
        raise TokenError(f"{named_by}: cannot read {file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise TokenError(f"{named_by}: {file} is not text") from None
    return _one_line(text, f"{named_by}: {file}")


def _one_line(text: str, place: str) -> str:
    """The token in the text. What is no visible ASCII could not stand in a header."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise TokenError(f"{place}: holds no token; accepted: one line of visible ASCII, without spaces")
    return token


def _on_this_host(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
