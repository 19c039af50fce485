"""The SIP profiles of a node, as `sofia status` prints them, and what their addresses mean to callers. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from switchtender.drivers.esl.advice import Advice

LIST: Final = "sofia status"
_ROW: Final = re.compile(r"^\s*(\S+)\tprofile\t\s*(\S+)\t(\S+)", re.MULTILINE)
_FIELD: Final = re.compile(r"^([A-Za-z][A-Za-z0-9 -]*?)\s*\t(.*)$", re.MULTILINE)
_MOST: Final = 8
"""Profiles of a node that are looked at."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: ``sip`` and ``rtp`` are where it listens, ``ext_sip`` and ``ext_rtp`` what it tells peers instead;
    None where it does not say.
    """

    name: str
    url: str
    sip: str | None
    rtp: str | None
    ext_sip: str | None
    ext_rtp: str | None


def question(outputs: list[str]) -> str | None:
    """The next command: the list of profiles, then each running one of it."""
    if not outputs:
        return LIST
    asked = len(outputs) - 1
    names = profile_names(outputs[0])
    return f"sofia status profile {names[asked]}" if asked < len(names) else None


def profile_names(text: str) -> list[str]:
    """The running profiles in the output of `sofia status`."""
    rows = [row for row in _ROW.finditer(text) if row[3] == "RUNNING"]
    return [row[1] for row in rows if re.fullmatch(r"[A-Za-z0-9_.:-]+", row[1])][:_MOST]


def profiles(outputs: list[str]) -> list[Profile]:
    """The profiles in the outputs of the commands of ``question``; none where the user may not ask."""
    found = []
    for name, text in zip(profile_names(outputs[0]) if outputs else [], outputs[1:], strict=False):
        fields = {field[1].upper(): field[2].strip() for field in _FIELD.finditer(text)}
        found.append(
            Profile(
                name,
                fields.get("URL", ""),
                fields.get("SIP-IP") or None,
                fields.get("RTP-IP") or None,
                fields.get("EXT-SIP-IP") or None,
                fields.get("EXT-RTP-IP") or None,
            )
        )
    return found


def advise(seen: Iterable[Profile], sip: tuple[str, int], advertised: Iterable[str]) -> list[Advice]:
    """What the profile that takes calls at ``sip`` tells peers, where callers come in at the ``advertised`` hosts.

    A node puts its own address into Contact and SDP, and the balancer leaves those alone: a caller from outside gets
    no media from a private address. So such a node needs its external addresses set.
    """
    taking = next((profile for profile in seen if _listens(profile, sip)), None)
    if taking is None:
        return []
    outside = sorted(host for host in advertised if not _inside(host))
    missing = [
        setting
        for setting, own, external in (
            ("ext-sip-ip", taking.sip, taking.ext_sip),
            ("ext-rtp-ip", taking.rtp, taking.ext_rtp),
        )
        if own is not None and _inside(own) and external in {None, own}
    ]
    where = f"profile {taking.name}"
    if not missing or not outside:
        told = f"peers are told {taking.ext_sip or taking.sip} for SIP and {taking.ext_rtp or taking.rtp} for media"
        return [Advice("ok", "ext-sip-ip, ext-rtp-ip", f"{where}: {told}")]
    found = f"{where}: not set, so callers of {outside[0]} are told {taking.rtp or taking.sip}, an inside address"
    change = "set them in the profile to the address at which callers reach the node's media"
    return [Advice("warning", ", ".join(missing), found, change)]


def _listens(profile: Profile, sip: tuple[str, int]) -> bool:
    host, _, port = profile.url.rpartition("@")[2].partition(";")[0].rpartition(":")
    return port == str(sip[1]) and host.strip("[]") in {sip[0], profile.ext_sip or sip[0]}


def _inside(host: str) -> bool:
    """Whether the host is an address that the outside does not reach; a name may be anywhere, and counts as outside."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
