"""The page from the file of results: goals, a table a scene, plots."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.performance.goals import GOALS, Known
from tests.performance.legs import FORWARDER, KAMAILIO_STATEFUL, LEGS
from tests.performance.rounds import Results, told

_INTRODUCTION = """\
# What a call costs

Made by `make bench` from `docs/performance.json`. A call is INVITE (800 bytes, with SDP), 180, 200, ACK, BYE, 200 over
UDP on loopback: what is measured has one worker and stays with all its threads on one processor; the generator
(`sipload`), which is both ends of every call and judges every message, has the other one. All of them write one
Record-Route and share the calls out over the same nodes.

- **Bare UDP forwarder**: a worker's sockets and system calls, and nothing read: what the kernel alone costs.
- **Kamailio**: Debian's package at its fastest: `-x tlsf -X tlsf`, buffers of 4 MiB, no log, one child, no failure
  route. With the allocator that it comes with it takes three times as much.
- **Switchtender**: the product as it is installed, with its control plane, hearing from every node over ESL.

Processor time is what the scheduler counted for all threads within the measured window (`/proc/PID/task/*/schedstat`).
Each round has every leg once, in random order; a run in which a call failed, anything was sent twice or the kernel
dropped a datagram does not count and is done again. Times drift on a shared machine: compare the ratios, which are
of the same round; median and range are given.
"""


def page(known: Known) -> str:
    """The page in Markdown."""
    parts = [_INTRODUCTION, _machine(known["machine"]), _goals(known)]
    for scene, section in _SECTIONS.items():
        if scene in known:
            parts.append(section(known))
    return "\n".join(parts)


def _machine(facts: dict[str, str]) -> str:
    return (
        f"Made on {facts['date']}: {facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, "
        f"Python {facts['python']}, rustc {facts['rustc']}, Kamailio {facts['kamailio']}, "
        f"Switchtender {facts['switchtender']}.\n"
    )


def _goals(known: Known) -> str:
    rows = ["| goal | must | aim | figure | |", "|---|---:|---:|---:|---|"]
    for goal in GOALS:
        values = goal.figure(known)
        if not values:
            continue
        verdict = (
            "aim reached"
            if goal.reached(values, goal.aim)
            else "reached"
            if goal.reached(values, goal.must)
            else "missed"
        )
        sign = "≥" if goal.at_least else "≤"
        rows.append(f"| {goal.words} | {sign} {goal.must:g} | {goal.aim:g} | {told(values, goal.digits)} | {verdict} |")
    return "\n".join(rows) + "\n"


def _compared(known: Known) -> str:
    scene = known["compare"]
    results = Results.from_json(scene)
    columns = (
        "",
        "µs CPU a call",
        "over the forwarder",
        "over Kamailio stateful",
        "INVITE's way p50",
        "p99 µs",
        "void runs",
    )
    rows = [f"| {' | '.join(columns)} |", "|---|---:|---:|---:|---:|---:|---:|"]
    for leg in LEGS:
        runs = results.runs.get(leg.key)
        if not runs:
            continue
        rows.append(
            f"| {leg.title} | {told([run.cpu for run in runs], 1)} | {_ratio(results, leg.key, FORWARDER.key)} "
            f"| {_ratio(results, leg.key, KAMAILIO_STATEFUL.key)} "
            f"| {statistics.median(run.oneway_p50 for run in runs):.0f} "
            f"| {told([run.oneway_p99 for run in runs], 0)} | {results.void[leg.key]} |"
        )
    return "\n".join(
        [
            f"## At {scene['rate']:g} calls a second\n",
            f"{scene['nodes']} nodes; {scene['rounds']} rounds, {scene['seconds']:g} s a run.\n",
            *rows,
            "",
            _plot("CPU of a call, microseconds", results, "cpu"),
        ]
    )


def _saturated(known: Known) -> str:
    scene = known["saturated"]
    results = Results.from_json(scene)
    rows = [
        "| | calls/s reached | µs CPU a call | calls/s per core | over Kamailio stateful | void runs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for leg in LEGS:
        runs = results.runs.get(leg.key)
        if not runs:
            continue
        rows.append(
            f"| {leg.title} | {told([run.rate for run in runs], 0)} | {told([run.cpu for run in runs], 1)} "
            f"| {told([1e6 / run.cpu for run in runs], 0)} "
            f"| {_ratio(results, KAMAILIO_STATEFUL.key, leg.key)} "
            f"| {results.void[leg.key]} |"
        )
    return "\n".join(
        [
            "## As many as it can\n",
            (
                f"{scene['nodes']} nodes; {scene['window']} calls at once, a new one for each that ends; "
                f"{scene['rounds']} rounds, {scene['seconds']:g} s a run. The generator ends at what the forwarder "
                "reaches: calls a second and core are what the processor time of a call allows.\n"
            ),
            *rows,
            "",
        ]
    )


def _ratio(results: Results, leg: str, other: str) -> str:
    ratios = results.ratios(leg, other)
    return told(ratios) if ratios else "-"


def _plot(title: str, results: Results, figure: str) -> str:
    """A bar a leg, as Mermaid draws it."""
    legs = [leg for leg in LEGS if results.runs.get(leg.key)]
    names = ", ".join(f'"{leg.title.replace("Switchtender, ", "").replace(",", "")}"' for leg in legs)
    heights: Sequence[str] = [
        f"{statistics.median(getattr(run, figure) for run in results.runs[leg.key]):.1f}" for leg in legs
    ]
    lines = ["```mermaid", "xychart-beta", f'    title "{title}"', f"    x-axis [{names}]"]
    return "\n".join([*lines, '    y-axis "microseconds"', f"    bar [{', '.join(heights)}]", "```", ""])


_SECTIONS = {"compare": _compared, "saturated": _saturated}
"""By scene, in the page's order."""
