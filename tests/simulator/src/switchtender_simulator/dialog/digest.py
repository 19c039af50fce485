"""Digest challenges (RFC 2617, RFC 7616 with MD5) whose nonces are good at the node that made them only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

_PAIR = re.compile(r'([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
NONCE_SECONDS = 60.0


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("latin-1"), usedforsecurity=False).hexdigest()


class Challenger:
    """Makes challenges and checks credentials for one user; time is an argument, nonces come from `make_nonce`."""

    def __init__(self, *, user: str, password: str, realm: str, make_nonce: Callable[[], str]) -> None:
        self._user = user
        self._password = password
        self._realm = realm
        self._make_nonce = make_nonce
        self._nonces: dict[str, float] = {}

    def challenge(self, now: float) -> str:
        """A fresh value for `Proxy-Authenticate` or `WWW-Authenticate`."""
        for nonce in [nonce for nonce, made in self._nonces.items() if made < now - NONCE_SECONDS]:
            del self._nonces[nonce]
        nonce = self._make_nonce()
        self._nonces[nonce] = now
        return f'Digest realm="{self._realm}", nonce="{nonce}", algorithm=MD5, qop="auth"'

    def knows(self, credentials: str) -> bool:
        """Whether the nonce is one of ours; False for credentials that answer another node's challenge."""
        return _fields(credentials).get("nonce", "") in self._nonces

    def accepts(self, credentials: str, method: str) -> bool:
        """Whether `credentials` (the value of an Authorization header) are right and answer a nonce of ours."""
        fields = _fields(credentials)
        nonce = fields.get("nonce", "")
        if nonce not in self._nonces or fields.get("username") != self._user:
            return False
        ha1 = _md5(f"{self._user}:{fields.get('realm', '')}:{self._password}")
        ha2 = _md5(f"{method}:{fields.get('uri', '')}")
        if "qop" in fields:
            middle = f"{nonce}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:{fields['qop']}"
        else:
            middle = nonce
        return _md5(f"{ha1}:{middle}:{ha2}") == fields.get("response")


def _fields(credentials: str) -> dict[str, str]:
    scheme, _, rest = credentials.strip().partition(" ")
    if scheme.lower() != "digest":
        return {}
    return {name.lower(): quoted or bare for name, quoted, bare in _PAIR.findall(rest)}
