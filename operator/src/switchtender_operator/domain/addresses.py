"""Where a pod takes SIP and where its Event Socket is.

SIP goes where `sip.addressFrom` says. The Event Socket is always at the pod's own address, of the group's family where
the pod has it: the load of a node is asked for inside the cluster, under its NetworkPolicies, whatever network callers'
traffic takes; a host port, an elastic address or a second network is made for SIP and should not open port 8021 too.
For a pod on the host's network the two are the same. A member's further addresses are the pod's own ones: what comes
from there comes from the node.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from switchtender_api.problems import Refusal, quote
from switchtender_api.v1alpha1.endpoints import host_address, parse_advertised_host
from switchtender_api.v1alpha1.group import Sip
from switchtender_operator.domain.pods import ANNOTATION_NETWORK_STATUS, Pod

Refuse = Callable[[str], str | None]
"""Returns why no node may be at an address, None if one may."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a pod is reached: `addresses` with that of SIP first, `esl` the host of its Event Socket."""

    addresses: tuple[str, ...]
    esl: str


class NoAddress(Exception):  # noqa: N818 - it is a verdict on a pod
    """A pod has no usable address; the text says why, as a sentence's end."""


def kept_annotations(sip: Sip) -> frozenset[str]:
    """Return the annotations of pods that `locate` reads."""
    if sip.address_from.type == "Annotation" and sip.address_from.name:
        return frozenset({sip.address_from.name})
    return frozenset({ANNOTATION_NETWORK_STATUS}) if sip.address_from.type == "NetworkStatus" else frozenset()


def locate(pod: Pod, sip: Sip, refuse: Refuse) -> Location | None:
    """Return where the pod is reached, None while it has no address at all yet. Raises NoAddress."""
    if not pod.pod_ips:
        return None
    host = _pick(_candidates(pod, sip), sip, _source(sip))
    esl = next((ip for ip in pod.pod_ips if _family(ip) == sip.ip_family), pod.pod_ips[0])
    for what, address in (("SIP", host), ("Event Socket", esl)):
        reason = refuse(address)
        if reason is not None:
            raise NoAddress(f"{what} address {address}: {reason}")
    others = (ip for ip in pod.pod_ips if ip != host and refuse(ip) is None)
    return Location((host, *others), esl)


def _source(sip: Sip) -> str:
    name = sip.address_from.name
    match sip.address_from.type:
        case "PodIP":
            return "the pod"
        case "HostIP":
            return "the pod's host"
        case "Annotation":
            return f"annotation {name}"
        case "NetworkStatus":
            return f"network {name}"


def _candidates(pod: Pod, sip: Sip) -> tuple[str, ...]:
    match sip.address_from.type:
        case "PodIP":
            return pod.pod_ips
        case "HostIP":
            return pod.host_ips
        case "Annotation":
            return _annotated(pod, sip.address_from.name or "")
        case "NetworkStatus":
            return _attached(pod, sip.address_from.name or "")


def _annotated(pod: Pod, annotation: str) -> tuple[str, ...]:
    value = pod.annotation(annotation)
    if value is None:
        raise NoAddress(f"it has no annotation {annotation}")
    return tuple(_parsed(text.strip(), f"annotation {annotation}") for text in value.split(","))


def _attached(pod: Pod, network: str) -> tuple[str, ...]:
    """Return the addresses on a network that is named "namespace/name", or "name" alone in the pod's namespace."""
    value = pod.annotation(ANNOTATION_NETWORK_STATUS)
    if value is None:
        raise NoAddress(f"it has no annotation {ANNOTATION_NETWORK_STATUS}")
    try:
        networks: Any = json.loads(value)
    except (ValueError, RecursionError):
        raise NoAddress(f"annotation {ANNOTATION_NETWORK_STATUS} is not JSON") from None
    for entry in networks if isinstance(networks, list) else ():
        if isinstance(entry, dict) and entry.get("name") in (network, f"{pod.namespace}/{network}"):
            ips = entry.get("ips")
            return tuple(_parsed(ip, f"network {network}") for ip in (ips if isinstance(ips, list) else ()))
    raise NoAddress(f"annotation {ANNOTATION_NETWORK_STATUS} names no network {network}")


def _parsed(text: Any, where: str) -> str:
    try:
        host = parse_advertised_host(text if isinstance(text, str) else "")
    except Refusal as refusal:
        raise NoAddress(f"{where}: {quote(text)}: {refusal.message}") from None
    if host_address(host) is None:
        raise NoAddress(f"{where}: {quote(text)} is not an IP address")
    return host


def _pick(candidates: tuple[str, ...], sip: Sip, source: str) -> str:
    """Return the first address of the group's family."""
    for address in candidates:
        if _family(address) == sip.ip_family:
            return _parsed(address, source)
    raise NoAddress(f"{source} has no {sip.ip_family} address (sip.ipFamily)")


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"
