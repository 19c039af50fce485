"""`make bench`: what a call costs, beside Kamailio and a bare forwarder; a page, its figures and a verdict.

Exit status 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benefit.peers import kamailio_is_installed
from tests.performance.goals import GOALS
from tests.performance.legs import LEGS, Leg, Programs
from tests.performance.machine import machine
from tests.performance.measure import Load, Run, run
from tests.performance.report import page
from tests.performance.rounds import played

#: What each scene is. A node takes 800 requests a second, as FreeSWITCH does, so that many calls need many nodes.
SCENES: dict[str, dict[str, Any]] = {"compare": {"nodes": 8, "rate": 1500.0}, "saturated": {"nodes": 160, "window": 64}}


def main() -> int:
    """Play, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__)
    parser.add_argument("--programs", type=Path, required=True, help="where cargo put what it built for release")
    parser.add_argument("--rounds", type=int, default=7, help="of every leg (default 7)")
    parser.add_argument("--seconds", type=float, default=5.0, help="a run (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds: to see that it runs")
    parser.add_argument("--scene", action="append", choices=list(SCENES), help="default: all")
    parser.add_argument("--leg", action="append", choices=[leg.key for leg in LEGS], help="default: all")
    parser.add_argument("--json", type=Path, help="the file of results: the scenes played are replaced in it")
    parser.add_argument("--page", type=Path, help="write the page of all results in --json")
    options = parser.parse_args()
    if options.page and not options.json:
        parser.error("--page needs --json")
    if not kamailio_is_installed():
        parser.error("Kamailio is not installed: apt-get install kamailio")
    legs = [leg for leg in LEGS if not options.leg or leg.key in options.leg]
    rounds, seconds = (1, 2.0) if options.quick else (options.rounds, options.seconds)
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    known["machine"] = machine()
    programs = Programs(options.programs.resolve())
    for scene in options.scene or SCENES:
        known[scene] = _scene(scene, legs, rounds, seconds, programs)
    if options.json:
        options.json.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    made = page(known)
    if options.page:
        options.page.write_text(made, encoding="utf-8")
    else:
        print(made)
    judged = ((goal, goal.figure(known)) for goal in GOALS)
    return 0 if all(goal.reached(values, goal.must) for goal, values in judged if values) else 1


def _scene(scene: str, legs: list[Leg], rounds: int, seconds: float, programs: Programs) -> dict[str, Any]:
    what = SCENES[scene]
    load = Load(seconds=seconds, **what)
    print(f"== {scene}: {rounds} rounds of {len(legs)} legs", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="switchtender-bench-") as folder:

        def one(leg: Leg, number: int) -> Run:
            return run(leg, load, programs, Path(folder) / f"{number}-{leg.key}")

        results = played(legs, rounds, one, random.Random())
    return {**what, "rounds": rounds, "seconds": seconds, **results.as_json()}


if __name__ == "__main__":
    sys.exit(main())
