"""The demonstration: the scene once with LeastLoad on reported load, once blind with RoundRobin, then the numbers.

Exit status 1 when a call failed under LeastLoad. DEMO_KEEP=1 leaves nodes and balancer up until interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.live import Live

from tests.demo import monitoring, report, scene
from tests.demo.run import BLIND, LEAST_LOAD, Arrangement, Look, Outcomes, Show, keep, layout, run
from tests.stand.balancer import Layout
from tests.stand.process import StandError
from tests.stand.prometheus import Job

_LINE_EVERY = 5.0


def main() -> int:
    """Play, print, judge."""
    console = Console()
    console.print(
        "Four simulated FreeSWITCH nodes, one loaded from outside; one is killed and one drained on the way.\n"
        f"Calls come at {scene.RATE:g} a second over UDP. First by reported load, then blind.\n",
        highlight=False,
        soft_wrap=True,
    )
    where = layout()
    _tell(console, where)
    try:
        results = {arrangement.title: _shown(console, arrangement, where) for arrangement in (LEAST_LOAD, BLIND)}
    except StandError as error:
        console.print(f"the demonstration could not run: {error}", style="red", highlight=False)
        return 2
    console.print(report.comparison(results))
    console.print(report.shares(results))
    failed = results[LEAST_LOAD.title].failed
    verdict = "no call failed" if failed == 0 else f"{failed} calls FAILED"
    console.print(f"\n{LEAST_LOAD.title}: {verdict}", style="green" if failed == 0 else "red", highlight=False)
    if os.environ.get("DEMO_KEEP"):
        _keep(console, where)
    return 0 if failed == 0 else 1


def _tell(console: Console, where: Layout) -> None:
    """Where to look while it runs."""
    config = monitoring.write(monitoring.FOLDER, [Job("switchtender-balancer", [f"{where.address}:{where.http}"])])
    folder = config.parent
    for line in (
        f"live page:   {where.url}/",
        f"table:       .venv/bin/switchtender top --url {where.url}",
        f"metrics:     {where.url}/metrics",
        f"Prometheus:  prometheus --config.file={_here(config)} --storage.tsdb.path={_here(folder / 'data')}",
        f"Grafana:     import {_here(folder / 'grafana' / 'dashboards')}/*.json",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    console.print()


def _here(path: Path) -> str:
    return os.path.relpath(path)


def _shown(console: Console, arrangement: Arrangement, where: Layout) -> Outcomes:
    if not console.is_terminal:
        return run(arrangement, where, _lines(console, arrangement.title))
    with Live(console=console, auto_refresh=False) as live:
        return run(arrangement, where, lambda look: live.update(report.live(arrangement.title, look), refresh=True))


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


def _keep(console: Console, where: Layout) -> None:
    console.print("\nLeft up; Ctrl-C ends it.")
    stand = keep(LEAST_LOAD, where)
    for line in (next(stand), next(stand)):
        console.print(line, highlight=False, soft_wrap=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        stand.close()


def _terminated(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    # By way of an exit, so that nodes and balancer are ended too.
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(main())
