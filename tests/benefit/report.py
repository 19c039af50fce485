"""The results as a page: what was played, a table a scene, a plot, and the goals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.benefit.goals import Verdict
from tests.benefit.run import Result
from tests.benefit.scenes import SMALL, SMALL_RATES, Scene

_COLUMNS = (
    "balancer", "offered", "ideal", "succeeded", "of the ideal", "failed, by final status", "cut", "503s by nodes",
    "zombies", "caller's retransmissions", "PDD median", "p95", "p99 ms",
)  # fmt: skip

_INTRODUCTION = """\
# What routing by reported load is worth

Made by `make bench-benefit`: the same calls, at the same moments, through several balancers in front of simulated
FreeSWITCH nodes. The nodes refuse and keep zombie sessions as a real FreeSWITCH 1.11.1 does (a test holds the simulator
against a recorded collapse). *Ideal* is what one could set up who knows at each moment what every node carries.
*Zombies* are sessions of 10 s that an INVITE at a node's limit leaves behind. *Cut* are calls on a node when it was
killed. A call succeeded when it was answered and ended in order, or was cut. The caller's retransmissions where nodes
go are mostly BYEs of calls that stood on them.

- **Kamailio dispatcher**: round robin, the next node on 503 or after 2 s of silence, as it is mostly configured.
- **RoundRobin, Weighted, LeastLoad**: the algorithms of `spec.routing.algorithm`, with reported load; `Weighted` is
  OpenSIPS' dispatcher formula in floats. `x 2` and so on: that many replicas, calls by turns.

On loopback a retry costs milliseconds, so post-dial delay differs less here than across a network.
"""


def page(scenes: Sequence[Scene], results: Iterable[Result], verdicts: Sequence[Verdict], arrivals: str) -> str:
    """The page in Markdown."""
    known = list(results)
    parts = [_INTRODUCTION, f"Arrivals: {arrivals}.\n", _goals(verdicts)]
    if plot := _plot(known):
        parts.append(plot)
    for scene in scenes:
        runs = [run for run in known if run.scene == scene.name]
        if runs:
            parts.append(f"## {scene.name}\n\n{scene.words[0].upper()}{scene.words[1:]}.\n\n{_table(runs)}")
    return "\n".join(parts)


def _goals(verdicts: Sequence[Verdict]) -> str:
    rows = ["| goal | runs | |", "|---|---|---|"]
    for verdict in verdicts:
        missed = "; ".join(f"{run.scene}, {run.peer}" for run in verdict.missed)
        rows.append(f"| {verdict.goal.words} | {verdict.judged} | {f'missed: {missed}' if missed else 'reached'} |")
    return "\n".join(rows) + "\n"


def _table(runs: Sequence[Result]) -> str:
    rows = [f"| {' | '.join(_COLUMNS)} |", f"|---{'|---:' * (len(_COLUMNS) - 1)}|"]
    rows += [f"| {' | '.join(_cells(run))} |" for run in runs]
    return "\n".join(rows) + "\n"


def _cells(run: Result) -> list[str]:
    failed = ", ".join(f"{count} x {status}" for status, count in run.failed.items()) or "0"
    delays = (f"{delay:.1f}" for delay in (run.pdd_median, run.pdd_p95, run.pdd_p99))
    counts = (run.cut, run.refused, run.zombies, run.retransmissions)
    return [
        run.peer, str(run.offered), str(run.ideal), str(run.succeeded), f"{run.share:.1%}", failed, *map(str, counts),
        *delays,
    ]  # fmt: skip


def _plot(results: Sequence[Result]) -> str:
    """Part of the ideal over the offered rate, a line a balancer, as Mermaid draws it."""
    by_run = {(run.scene, run.peer): run for run in results}
    scenes = {scene.name for scene in SMALL}
    peers = list(dict.fromkeys(run.peer for run in results if run.scene in scenes))
    rates = [rate for rate in SMALL_RATES if all((f"small-{rate:g}", peer) in by_run for peer in peers)]
    if not peers or len(rates) < 2:
        return ""
    lines = [
        "## Part of the ideal on two small nodes\n",
        "```mermaid",
        "xychart-beta",
        f'    title "Calls set up, % of the ideal ({", ".join(peers)}, in this order)"',
        f'    x-axis "calls a second" [{", ".join(f"{rate:g}" for rate in rates)}]',
        '    y-axis "% of the ideal" 0 --> 100',
    ]
    for peer in peers:
        values = (f"{100 * by_run[f'small-{rate:g}', peer].share:.1f}" for rate in rates)
        lines.append(f"    line [{', '.join(values)}]")
    return "\n".join([*lines, "```", ""])
