"""SIP messages without their secrets, to be shown to people and kept in logs. Pure text.

What is hidden, in headers and bodies alike (a body may hold a message): of the headers that carry credentials or
challenges (RFC 3261 §22, §20.7, §20.27, §20.28, §20.44, §20.6) every parameter that is not known to be harmless; the
password of a URI (§19.1.1); the keys of media (RFC 4568 §9.1 ``a=crypto``, RFC 4566 §5.12 ``k=``).
"""

from __future__ import annotations

import re

HIDDEN = "***"

_HEADER = re.compile(
    r"^(?P<name>(?:Proxy-)?Authorization|(?:WWW|Proxy)-Authenticate|(?:Proxy-)?Authentication-Info)"
    r"(?P<colon>[ \t]*:[ \t]*)(?P<value>.*(?:\n[ \t].*)*)",
    re.IGNORECASE | re.MULTILINE,
)
"""With the lines that it is folded over (RFC 3261 §7.3.1)."""

_PARAMETER = re.compile(r"""([\w.!%*+`'~-]+)[ \t\r\n]*=[ \t\r\n]*("(?:[^"\\]|\\.)*"|"|[^\s,"]*)""", re.DOTALL)
_SCHEMES = {"digest": "Digest", "basic": "Basic", "bearer": "Bearer"}
_SHOWN = frozenset({"realm", "username", "uri", "algorithm", "qop", "nc", "stale", "domain", "charset", "userhash"})
_KNOWN = frozenset({"response", "nonce", "cnonce", "opaque", "nextnonce", "rspauth", "auts"})

_URI_PASSWORD = re.compile(r"(\bsips?:[^\s:@<>\";,]+):[^\s@<>\"]*@", re.IGNORECASE)
_MEDIA_KEY = re.compile(r"^(a=crypto:\s*\S+\s+\S+\s+|k=)[^\r\n]*", re.IGNORECASE | re.MULTILINE)


def masked(text: str) -> str:
    """The message without its secrets, its lines ended by LF; all else as it is."""
    text = _HEADER.sub(lambda found: found["name"] + found["colon"] + _value(found["value"]), _lines(text))
    return _MEDIA_KEY.sub(rf"\1{HIDDEN}", _URI_PASSWORD.sub(rf"\1:{HIDDEN}@", text))


def _lines(text: str) -> str:
    """With the line ends that a regular expression knows: a lone CR ends a line for some who read SIP."""
    return re.sub(r"\r\n?|\n", "\n", text)


def _value(value: str) -> str:
    """Scheme and parameters: nothing comes through that is not known to be harmless."""
    words = value.split(None, 1)
    scheme = _SCHEMES.get(words[0].lower().rstrip(",")) if words else None
    shown = [_parameter(name, text) for name, text in _PARAMETER.findall(value)]
    if not shown and words:
        shown = [HIDDEN]
    return " ".join(([scheme] if scheme else []) + ([", ".join(shown)] if shown else []))


def _parameter(name: str, value: str) -> str:
    if name.lower() in _SHOWN and value != '"':
        return f"{name}={' '.join(value.split())}"
    return f"{name}={HIDDEN}" if name.lower() in _KNOWN else HIDDEN
