"""How large what is sent really is: documents made by the operator's own code, and a node's words as recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from switchtender.drivers.esl.session import CHECKS, STATUS, Pace
from switchtender_operator.domain.plan import plan
from switchtender_operator.domain.world import Settings
from switchtender_operator.reconcile.balancers import LONGEST_ANSWER
from tests.contract.test_contract_producer import world_of

_ROOT = Path(__file__).parents[2]
_ESL = _ROOT / "balancer" / "tests" / "data" / "esl"
_WORLD = _ROOT / "tests" / "contract" / "worlds" / "pods.yaml"
_YES = len(b"Content-Type: api/response\nContent-Length: 4\n\ntrue")
"""Bytes of a node's answer to a check."""


def sizes() -> dict[str, Any]:
    """Bytes of what goes over the network, and how often: as made, recorded or configured by default."""
    settings, pace = Settings(), Pace()
    few, many = _planned(settings.members_per_slice), _planned(2 * settings.members_per_slice)
    slices = [_bytes(body) for body in few["sets"]]
    return {
        "members_per_slice": settings.members_per_slice,
        "slice_bytes": max(slices),
        "slices_of_two_fills": len(many["sets"]),
        "status_bytes": _bytes(many["status"]),
        "status_min_interval": settings.status_min_interval.total_seconds(),
        "state_bytes_a_node": _state_entry(),
        "state_bytes_most": LONGEST_ANSWER,
        "heartbeat_bytes": _heartbeat(),
        "poll_bytes": len(STATUS) + 2 + _status(),
        "checks_bytes": sum(len(check) + 2 for check in CHECKS) + len(CHECKS) * _YES,
        "checks": len(CHECKS),
        "poll_seconds": pace.poll,
        "checks_seconds": pace.checks,
    }


def _planned(count: int) -> dict[str, Any]:
    """What the operator writes for a group of so many pods."""
    raw = yaml.safe_load(_WORLD.read_text())
    first = raw["pods"][0]
    raw["pods"] = [_pod(first, number) for number in range(count)]
    world, now = world_of(yaml.safe_dump(raw))
    made = plan(world, now)
    return {"sets": [each.body for each in made.apply], "status": made.status}


def _pod(first: dict[str, Any], number: int) -> dict[str, Any]:
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    metadata = {
        **first["metadata"],
        "name": f"freeswitch-7c9f6d5b8d-{number:05x}",
        "uid": f"7c9e6679-7425-40de-944b-{number:012x}",
    }
    return {**first, "metadata": metadata, "status": {**first["status"], "podIP": address, "podIPs": [{"ip": address}]}}


def _bytes(body: Any) -> int:
    return len(json.dumps(body, separators=(",", ":")).encode())


def _state_entry() -> int:
    """A node in a balancer's answer to the operator, with the comma; names as long as a Deployment's pods have them."""
    known = json.loads((_ROOT / "tests" / "contract" / "state.json").read_text())["nodes"][0]
    return _bytes({**known, "name": "freeswitch-7c9f6d5b8d-00000"}) + 1


def _heartbeat() -> int:
    """One HEARTBEAT as a FreeSWITCH sent it, with its header."""
    recorded = (_ESL / "05-event-json-hb1.s2c.raw").read_bytes()
    found = re.search(rb"Content-Length: (\d+)\nContent-Type: text/event-json\n\n", recorded)
    if found is None:
        raise ValueError("05-event-json-hb1.s2c.raw has no event")
    return len(found.group(0)) + int(found.group(1))


def _status() -> int:
    """One answer to `api status` as a FreeSWITCH gave it, with its header."""
    recorded = (_ESL / "08-api-set.s2c.raw").read_bytes()
    found = re.search(rb"Content-Type: api/response\nContent-Length: (\d+)\n\nUP ", recorded)
    if found is None:
        raise ValueError("08-api-set.s2c.raw has no answer to status")
    return len(found.group(0)) - len(b"UP ") + int(found.group(1))
