"""`make bench-benefit`: every scene through every balancer, a table, a plot and a verdict.

Exit status 1 when a goal was missed, 2 when a run could not be made.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console

from tests.benefit.goals import judge
from tests.benefit.peers import KAMAILIO, LEAST_LOAD, ROUND_ROBIN, WEIGHTED, Peer, kamailio_is_installed, least_load
from tests.benefit.report import page
from tests.benefit.run import Result, as_json, run
from tests.benefit.scenes import SCENES, Scene
from tests.stand.process import StandError

_FIRST_NET = 20
_USUAL = (KAMAILIO, ROUND_ROBIN, WEIGHTED, LEAST_LOAD, least_load(2))
_MANY = (KAMAILIO, ROUND_ROBIN, WEIGHTED, *(least_load(count) for count in (1, 2, 4, 8)))


def main() -> int:
    """Play, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benefit", description=__doc__)
    parser.add_argument("--scene", action="append", choices=[scene.name for scene in SCENES], help="default: all")
    parser.add_argument("--peer", action="append", help="title of a balancer as in the table; default: all")
    parser.add_argument("--arrivals", choices=["even", "poisson"], default="even", help="default: even")
    parser.add_argument("--jobs", type=int, default=3, help="runs at a time (default 3; the large scene always alone)")
    parser.add_argument("--page", type=Path, help="write the results as a Markdown page")
    parser.add_argument("--json", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    console = Console()
    scenes = [scene for scene in SCENES if not options.scene or scene.name in options.scene]
    try:
        results = _played(scenes, options, console)
    except StandError as error:
        console.print(f"a run could not be made: {error}", style="red", highlight=False)
        return 2
    verdicts = judge(results)
    text = page(scenes, results, verdicts, "evenly spaced" if options.arrivals == "even" else "Poisson")
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    if options.page:
        options.page.write_text(text)
    if options.json:
        options.json.write_text(json.dumps([as_json(result) for result in results], indent=1) + "\n")
    return 1 if any(verdict.missed for verdict in verdicts) else 0


def _played(scenes: list[Scene], options: argparse.Namespace, console: Console) -> list[Result]:
    """Every run, in the order of scenes and balancers."""
    if not kamailio_is_installed():
        console.print("Kamailio is not installed (Debian: apt-get install kamailio); its rows are missing")
    runs = [(scene, peer) for scene in scenes for peer in _peers(scene) if _wanted(peer, options.peer)]
    alone = [index for index, (scene, _) in enumerate(runs) if scene.name == "large"]
    together = [index for index in range(len(runs)) if index not in alone]
    results: dict[int, Result] = {}
    for batch in (together, *([index] for index in alone)):
        with ThreadPoolExecutor(options.jobs) as pool:
            pending = {pool.submit(run, *runs[index], _FIRST_NET + index, options.arrivals): index for index in batch}
            for done in as_completed(pending):
                result = results[pending[done]] = done.result()
                console.print(
                    f"{len(results)} of {len(runs)}: {result.scene}, {result.peer}: {result.succeeded} of "
                    f"{result.ideal} ({result.share:.1%}), {result.refused} refused by nodes, {result.zombies} zombies",
                    highlight=False,
                )
    return [results[index] for index in range(len(runs))]


def _peers(scene: Scene) -> tuple[Peer, ...]:
    return _MANY if scene.name == "large" else _USUAL


def _wanted(peer: Peer, titles: list[str] | None) -> bool:
    if peer.algorithm is None and not kamailio_is_installed():
        return False
    return not titles or peer.title in titles


if __name__ == "__main__":
    sys.exit(main())
