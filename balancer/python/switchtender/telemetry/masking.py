"""SIP messages without their secrets, to be shown to people and kept in logs. Pure text.

What is hidden, in headers and bodies alike (a body may hold a message): of the headers that carry credentials or
challenges (RFC 3261 §22, §20.7, §20.27, §20.28, §20.44, §20.6) every parameter that is not known to be harmless; such
headers and the password within a URI (§19.1.1); the keys of media and the password of ICE (RFC 4568 §9.1 ``a=crypto``,
RFC 4567 §3 ``a=key-mgmt``, RFC 4566 §5.12 ``k=``, RFC 8839 §5.4 ``a=ice-pwd``).

The sender of a message chooses what is matched here: every expression takes time linear in the text, so nothing that
was tried in vain is tried again from the next letter on.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_HEADER = re.compile(
    r"^(?P<name>(?:Proxy-)?Authorization|(?:WWW|Proxy)-Authenticate|(?:Proxy-)?Authentication-Info)"
    r"(?P<colon>[ \t]*+(?:\n[ \t]++)*+:[ \t]*)(?P<value>.*(?:\n[ \t].*)*)",
    re.IGNORECASE | re.MULTILINE,
)
"""With the lines that it is folded over (RFC 3261 §7.3.1)."""

_PARAMETER = re.compile(
    r"""(?<![\w.!%*+`'~-])([\w.!%*+`'~-]++)[ \t\n]*+=[ \t\n]*+("(?:[^"\\]|\\.)*+"|"|[^\s,"]*+)""", re.DOTALL
)
_SCHEMES = {"digest": "Digest", "basic": "Basic", "bearer": "Bearer"}
_SHOWN = frozenset({"realm", "username", "uri", "algorithm", "qop", "nc", "stale", "domain", "charset", "userhash"})
_KNOWN = frozenset({"response", "nonce", "cnonce", "opaque", "nextnonce", "rspauth", "auts"})

_USERINFO = re.compile(r"\b(?P<scheme>sips?:)(?P<text>[^\s@<>\"]*+)(?P<at>@?)", re.IGNORECASE)
"""With or without its end, so that none is looked at twice."""
_URI_HEADER = re.compile(r"([?&](?:Proxy-)?Authorization=)[^\s&>\"]*", re.IGNORECASE)
_MEDIA_KEY = re.compile(
    r"^(a=crypto:(?:[ \t]*+\d++(?:[ \t]++\w++(?=[ \t]))?[ \t]*+)?|a=key-mgmt:|a=ice-pwd:|k=)[^\n]*",
    re.IGNORECASE | re.MULTILINE,
)
"""Of ``a=crypto`` the tag and the suite are shown."""


def masked(text: str) -> str:
    """The message without its secrets, its lines ended by LF; all else as it is."""
    text = _HEADER.sub(lambda found: found["name"] + found["colon"] + _value(found["value"]), _lines(text))
    text = _URI_HEADER.sub(rf"\1{HIDDEN}", _USERINFO.sub(_without_password, text))
    return _MEDIA_KEY.sub(rf"\1{HIDDEN}", text)


def _without_password(found: re.Match[str]) -> str:
    user, colon, _ = found["text"].partition(":")
    return f"{found['scheme']}{user}:{HIDDEN}@" if colon and found["at"] else found[0]


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
