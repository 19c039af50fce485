"""`make bench-autoscale`: a day of calls through every way to scale; a table, a plot and a verdict.

Exit status 1 when a goal is missed or, with --check, when the page is not what the code makes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tests.autoscaling.calls import SHORT_DAY, WHOLE_DAY, Shape, day
from tests.autoscaling.play import POLICIES, Ideal, Outcome, by_name, ideal, play
from tests.autoscaling.report import GOALS, missed, replaced, section

#: Of the page.
SEED = 1
#: What the second table of the page has, and a test plays again.
SHORT = ("HPA on CPU, SIGTERM", "HPA on sessions", "spec.autoscale")


def main() -> int:
    """Play, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.autoscaling", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help=f"of calls and start-up times (default {SEED})")
    parser.add_argument("--policy", action="append", choices=[policy.name for policy in POLICIES], help="default: all")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default 2)")
    parser.add_argument("--page", type=Path, help="write the section between the marks of this page")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is another")
    parser.add_argument("--json", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    if options.check and not options.page:
        parser.error("--check needs --page")
    if options.page and options.policy:
        parser.error("a page has all policies: --page without --policy")
    calls, short_calls = day(WHOLE_DAY, options.seed), day(SHORT_DAY, options.seed)
    names = [policy.name for policy in POLICIES if not options.policy or policy.name in options.policy]
    runs = _played(WHOLE_DAY, names, options.seed, options.jobs)
    short = _played(SHORT_DAY, SHORT, options.seed, options.jobs)
    best = ideal(calls)
    made = section(calls, best, runs, options.seed, (short_calls, ideal(short_calls), short))
    print(made)
    if options.json:
        options.json.write_text(json.dumps(_as_json(options.seed, best, runs), indent=1) + "\n", encoding="utf-8")
    if options.page:
        page = options.page.read_text(encoding="utf-8")
        if options.check and page != replaced(page, made):
            print(f"{options.page} is not what the code makes: make bench-autoscale", file=sys.stderr)
            return 1
        if not options.check:
            options.page.write_text(replaced(page, made), encoding="utf-8")
    return 1 if any(missed(goal, runs, best) for goal in GOALS) else 0


def _played(shape: Shape, names: list[str] | tuple[str, ...], seed: int, jobs: int) -> Mapping[str, Outcome]:
    """Every run, in the order of the names."""
    runs: dict[str, Outcome] = {}
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(_play, shape, name, seed) for name in names]):
            run = done.result()
            runs[run.policy] = run
            print(
                f"{len(runs)} of {len(names)}: {run.policy}: {run.pod_hours:.1f} pod hours, "
                f"{run.rejected} of {run.offered} refused, {run.cut} cut",
                file=sys.stderr,
            )
    return {name: runs[name] for name in names}


def _play(shape: Shape, name: str, seed: int) -> Outcome:
    return play(by_name(name), day(shape, seed), seed)


def _as_json(seed: int, best: Ideal, runs: Mapping[str, Outcome]) -> dict[str, object]:
    return {
        "seed": seed,
        "ideal": {"pods_by_minute": list(best.bare), "with_buffer_by_minute": list(best.buffered)},
        "runs": [asdict(run) for run in runs.values()],
    }


if __name__ == "__main__":
    sys.exit(main())
