"""The demonstration: the scene once with LeastLoad on reported load, once blind with RoundRobin, then the numbers.

Exit status 1 when a call failed under LeastLoad. DEMO_KEEP=1 leaves nodes and balancer up until interrupted.
"""

from __future__ import annotations

import os
import signal
import sys

from rich.console import Console
from rich.live import Live

from tests.demo import report, scene
from tests.demo.run import BLIND, LEAST_LOAD, Arrangement, Look, Outcomes, Show, keep, run
from tests.stand.process import StandError

_LINE_EVERY = 5.0


def main() -> int:
    """Play, print, judge."""
    console = Console()
    console.print(
        "Four simulated FreeSWITCH nodes, one loaded from outside; one is killed and one drained on the way.\n"
        f"Calls come at {scene.RATE:g} a second over UDP. First by reported load, then blind.\n",
        highlight=False,
    )
    try:
        results = {arrangement.title: _shown(console, arrangement) for arrangement in (LEAST_LOAD, BLIND)}
    except StandError as error:
        console.print(f"the demonstration could not run: {error}", style="red", highlight=False)
        return 2
    console.print(report.comparison(results))
    console.print(report.shares(results))
    failed = results[LEAST_LOAD.title].failed
    verdict = "no call failed" if failed == 0 else f"{failed} calls FAILED"
    console.print(f"\n{LEAST_LOAD.title}: {verdict}", style="green" if failed == 0 else "red", highlight=False)
    if os.environ.get("DEMO_KEEP"):
        _keep(console)
    return 0 if failed == 0 else 1


def _shown(console: Console, arrangement: Arrangement) -> Outcomes:
    if not console.is_terminal:
        return run(arrangement, _lines(console, arrangement.title))
    with Live(console=console, auto_refresh=False) as live:
        return run(arrangement, lambda look: live.update(report.live(arrangement.title, look), refresh=True))


def _lines(console: Console, title: str) -> Show:
    due = 0.0
    told = 0

    def show(look: Look) -> None:
        nonlocal due, told
        for words in look.said[told:]:
            console.print(f"{title}: {words}", highlight=False)
        told = len(look.said)
        if look.elapsed >= due:
            console.print(report.progress(title, look), highlight=False, soft_wrap=True)
            due += _LINE_EVERY

    return show


def _keep(console: Console) -> None:
    console.print("\nLeft up; Ctrl-C ends it.")
    stand = keep(LEAST_LOAD)
    for line in (next(stand), next(stand), next(stand)):
        console.print(line, highlight=False, soft_wrap=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        stand.close()


if __name__ == "__main__":
    sys.exit(main())
