"""Instructions of a call in user space, counted by callgrind: the same on a busy machine and on an idle one.

``python -m tests.performance.instructions --programs FOLDER [--check]``. The figure is the slope of two runs, so that
start-up is not in it; the worker runs by itself (``core`` of the bench crate), so that Python is not in it either.
Calls come one at a time, so that hardly two messages share a wake-up: the dearest way for them to come. ``--check``
holds the figures to the bounds in ``instructions.json``, which only ever go down. They leave room for how messages
happen to meet, and for the instructions that another processor's memchr and memcpy take.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.performance.legs import HASH, LEAST_LOAD, STATELESS
from tests.stand.process import until

BOUNDS = Path(__file__).with_name("instructions.json")
SHORT, LONG = 300, 900
ABOVE, BELOW = 1.05, 0.95
PROXY, CALLER, NODES = "127.0.92.1", "127.0.92.2", tuple(f"127.0.92.{10 + number}" for number in range(8))
BY_CALL = {"algorithm": "Hash", "hash_on": {"type": "CallID"}}
GROUPS: Mapping[str, Mapping[str, Any]] = {
    LEAST_LOAD.key: {"algorithm": "LeastLoad"},
    HASH.key: BY_CALL,
    STATELESS.key: {"mode": "Stateless", **BY_CALL},
}
"""What each of our legs is to the packet core."""


class MeasureError(Exception):
    """No figure came about: a program did not start, or a call failed."""


def settings() -> dict[str, Any]:
    """One worker with a socket towards callers and one towards nodes."""
    listener = {"name": "public", "address": PROXY, "port": 5060, "transports": ["UDP"], "nat": False, "allow": []}
    return {
        "format": 2,
        "listeners": [listener],
        "node_side": {"address": PROXY, "port": 5070, "worker_ports": [0, 0], "advertise": [], "sources": []},
        "workers": 1,
        "limits": {"max_transactions": 100_000},
        "tcp": {
            "idle_timeout_ms": 60_000,
            "connect_timeout_ms": 1000,
            "max_connections": 100,
            "max_per_source": 100,
        },
        "stop_deadline_ms": 1000,
        "run_id": 1,
    }


def snapshot(group: Mapping[str, Any]) -> dict[str, Any]:
    """One group of all nodes."""
    return {
        "format": 2,
        "keys": [{"id": 1, "secret": base64.b64encode(bytes(range(64))).decode()}],
        "nodes": [
            {"uid": f"uid-{number}", "name": f"fs{number}", "sip": f"{node}:5060", "transport": "UDP"}
            for number, node in enumerate(NODES)
        ],
        "groups": [
            {
                "namespace": "voice",
                "name": "bench",
                "uid": "group-1",
                "generation": 1,
                "priority": 0,
                "match": [],
                "legs_per_call": 1,
                "failover": {
                    "attempts": 3,
                    "retry_on": {"own_refusal": True, "timeout": True, "transport": True, "codes": [410]},
                    "first_response_timeout_ms": 5000,
                    "progress_timeout_ms": 10_000,
                    "cool_down_ms": [1000, 2000],
                },
                "timer_c_ms": 180_000,
                "over_limit": {"action": "Reject", "status": 503, "retry_after_s": [5, 15]},
                "panic_threshold": 0.5,
                "members": [
                    {"node": number, "weight": 1.0, "priority": 0, "draining": False} for number in range(len(NODES))
                ],
                **group,
            }
        ],
    }


@contextlib.contextmanager
def counted(command: Sequence[str], out: Path) -> Iterator[None]:
    """Run a program under callgrind until the block ends; its counts are in ``out`` afterwards."""
    watched = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", *command]
    with out.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(watched, stdout=log, stderr=log)
        try:
            until(lambda: b"\n" in Path(log.name).read_bytes(), "the line that tells the worker's addresses")
            yield
        finally:
            process.terminate()
            process.wait()


def total(out: Path) -> int:
    """Instructions that a callgrind file counts altogether."""
    for line in out.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in ("summary", "totals"):
            return int(value)
    raise MeasureError(f"{out}: callgrind told no total")


def load(programs: Path, calls: int) -> None:
    """Make so many calls, one after another; raises MeasureError where not all is well with every one of them."""
    where = ["--proxy", f"{PROXY}:5060", "--uac", f"{CALLER}:5060", "--uas", ",".join(f"{node}:5060" for node in NODES)]
    command = [str(programs / "sipload"), *where, "--window", "1", "--calls", str(calls)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise MeasureError(f"sipload ended with status {made.returncode}: {made.stderr}{made.stdout[-2000:]}")


def instructions(programs: Path, group: Mapping[str, Any], folder: Path) -> float:
    """Of one call through a group of these settings. Raises MeasureError."""
    (folder / "settings.json").write_text(json.dumps(settings()))
    (folder / "snapshot.json").write_text(json.dumps(snapshot(group)))
    core = [str(programs / "core"), "--settings", f"{folder}/settings.json", "--snapshot", f"{folder}/snapshot.json"]
    totals = []
    for calls in (SHORT, LONG):
        out = folder / f"callgrind.{calls}"
        with counted(core, out):
            load(programs, calls)
        totals.append(total(out))
    return (totals[1] - totals[0]) / (LONG - SHORT)


def judged(figures: Mapping[str, float], bounds: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """What is wrong with figures by their bounds, and which bounds could be lower."""
    dearer = [
        f"{name}: {figure:.0f} instructions a call, more than {bounds[name]:.0f}: find what made it dearer"
        for name, figure in figures.items()
        if figure > bounds[name] * ABOVE
    ]
    cheaper = [
        f"{name}: {figure:.0f} instructions a call: lower its bound from {bounds[name]:.0f} in {BOUNDS.name}"
        for name, figure in figures.items()
        if figure < bounds[name] * BELOW
    ]
    return dearer, cheaper


def main() -> int:
    """Measure all groups; 0 all is well, 1 a bound does not hold, 2 nothing could be measured."""
    parser = argparse.ArgumentParser(description="Instructions of a call in user space, by callgrind.")
    parser.add_argument("--programs", type=Path, required=True, help="where cargo put core and sipload, for release")
    parser.add_argument("--check", action="store_true", help=f"hold the figures to the bounds in {BOUNDS.name}")
    parser.add_argument("--keep", type=Path, help="where callgrind's files stay, for callgrind_annotate")
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        needed = os.environ.get("CI") == "true"
        print("valgrind is not installed" + ("" if needed else ", skipped"), file=sys.stderr)
        return 2 if needed else 0
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, group in GROUPS.items():
            folder = (given.keep or Path(scratch)) / name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                figures[name] = instructions(given.programs, group, folder)
            except MeasureError as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 2
            print(f"{name:12} {figures[name]:9.0f} instructions a call", flush=True)
    wrong, cheaper = judged(figures, json.loads(BOUNDS.read_text())) if given.check else ([], [])
    for line in wrong + cheaper:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
