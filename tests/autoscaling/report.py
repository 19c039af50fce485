"""What came of the days as a section of docs/autoscaling.md: goals, a table, a plot, and what is modelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.autoscaling.calls import Day
from tests.autoscaling.play import BOUNDS, BUFFER_PERCENT, POLICIES, Ideal, Outcome

BEGIN, END = "<!-- simulation: begin -->", "<!-- simulation: end -->"
PLOTTED = ("HPA on CPU, 10 min", "HPA on sessions", "spec.autoscale")
#: A point of the plot stands for so many minutes.
PLOT_STEP = 30

_COLUMNS = (
    "who scales", "pod hours", "of the ideal", "refused", "cut", "scale operations", "flaps", "pods drained", "revived",
    "longest drain", "most pods",
)  # fmt: skip

_MODEL = f"""\
Made by `make bench-autoscale`: the same calls, in a simulated cluster, with different ways to scale. The planning
(`domain/autoscale`) and the deletion costs (`domain/marks.py`) are the operator's own code, run every two seconds of
the day; `make test` plays two hours with the same ups and downs and holds the second table to what it says.

*Modelled*: arrivals as a Poisson process with a night, two rushes and a campaign at 13:00 that more than doubles the
calls from one moment to the next; lengths with a lognormal body and a Pareto tail, up to two hours; pods that take 50
calls and need 30 to 90 s until they report; reports up to a second old, annotations that balancers know of a second
later; least loaded first; the order in which a ReplicaSet removes pods (not ready, deletion cost, spread, age), a
StatefulSet with `podManagementPolicy: Parallel`, a roll-out with `maxSurge: 1`; the arithmetic of an HPA with
tolerance, stabilization and policies. {BOUNDS.least} to {BOUNDS.most} pods, buffer {BUFFER_PERCENT} %. The CPU that
the HPA reads is the best there could be: it follows the sessions but for 5 % noise and a spike at the start of a pod,
and 100 % is precisely a full pod.

*Not modelled*: retries of refused callers, hosts that have no room for a pod, pods or hosts that fail, nodes of unlike
size, call set-up apart from the call, a CPU that depends on what the calls do, a Prometheus that is away.

*Ideal* knows all calls beforehand and starts and ends pods in no time. *Refused*: calls for which no node had room.
*Cut*: calls that ended because their pod did. A *flap* is a change of the replicas against the last one within five
minutes. *Pods drained* counts all that went or began to go, however. *Pod hours* are from creation to the end, start
and drain included.
"""


_SHORT = """\
The two hours that `make test` plays, {:,} calls of the same seed: all rises are twelve times as steep, the windows a
fifth as long.
"""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked of a whole day, and of whom."""

    words: str
    policies: tuple[str, ...]
    holds: Callable[[Outcome, Ideal], bool]


_OURS = tuple(policy.name for policy in POLICIES if "CPU" not in policy.name)
_SCALED = tuple(name for name in _OURS if name != "HPA on sessions")
_STEADY = tuple(name for name in _OURS if name != "… roll-out")

GOALS = (
    Goal("no call cut", _OURS, lambda run, _: run.cut == 0),
    Goal("at most one call in a thousand refused", _OURS, lambda run, _: run.rejected_share <= 0.001),
    Goal(
        "at most 1.4 times the ideal with buffer",
        _OURS,
        lambda run, best: run.pod_hours <= 1.4 * best.buffered_hours,
    ),
    Goal("at most two flaps", _SCALED, lambda run, _: run.flaps <= 2),
    Goal(
        "never more than 1.3 times the most pods of the ideal with buffer",
        _STEADY,
        lambda run, best: run.peak <= 1.3 * max(best.buffered),
    ),
)

_OF = {
    _OURS: "sessions and `spec.autoscale`",
    _SCALED: "`spec.autoscale`",
    _STEADY: "sessions and `spec.autoscale`, but for the roll-out",
}


def missed(goal: Goal, runs: Mapping[str, Outcome], best: Ideal) -> list[str]:
    """Names of the runs that miss a goal."""
    return [name for name in goal.policies if name in runs and not goal.holds(runs[name], best)]


def section(
    calls: Day, best: Ideal, runs: Mapping[str, Outcome], seed: int, short: tuple[Day, Ideal, Mapping[str, Outcome]]
) -> str:
    """The section in Markdown, without its heading."""
    told = [policy for policy in POLICIES if policy.name in runs]
    rows = "\n".join(f"* **{policy.name}**: {policy.words}." for policy in told)
    return "\n".join(
        [
            _MODEL,
            rows,
            "",
            f"{len(calls):,} calls, seed {seed}:",
            "",
            _goals(runs, best),
            table(best, runs),
            _plot(best, runs, calls.shape.seconds / 3600),
            _SHORT.format(len(short[0])),
            table(short[1], short[2]),
        ]
    )


def table(best: Ideal, runs: Mapping[str, Outcome]) -> str:
    """A row for each ideal and for each run."""
    lines = [f"| {' | '.join(_COLUMNS)} |", f"|---{'|---:' * (len(_COLUMNS) - 1)}|"]
    blank = [""] * (len(_COLUMNS) - 4)
    for words, hours, pods in (
        ("ideal, no buffer", best.bare_hours, best.bare),
        ("ideal with buffer", best.buffered_hours, best.buffered),
    ):
        share = f"{hours / best.buffered_hours:.2f}"
        lines.append(f"| {' | '.join([words, f'{hours:.1f}', share, *blank, str(max(pods))])} |")
    lines += [f"| {' | '.join(_cells(run, best))} |" for run in runs.values()]
    return "\n".join(lines) + "\n"


def replaced(page: str, made: str) -> str:
    """The page with what is made between the marks. Raises ValueError unless they are there, each once and in order."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs {BEGIN} and then {END}, each once")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{made.strip()}\n{END}{rest.split(END)[1]}"


def _cells(run: Outcome, best: Ideal) -> list[str]:
    return [
        run.policy, f"{run.pod_hours:.1f}", f"{run.pod_hours / best.buffered_hours:.2f}",
        f"{run.rejected} ({run.rejected_share:.2%})", str(run.cut), str(run.scales), str(run.flaps), str(run.drained),
        str(run.revived), f"{run.longest_drain / 60:.0f} min", str(run.peak),
    ]  # fmt: skip


def _goals(runs: Mapping[str, Outcome], best: Ideal) -> str:
    lines = ["| goal | of | |", "|---|---|---|"]
    for goal in GOALS:
        failed = "; ".join(missed(goal, runs, best))
        lines.append(f"| {goal.words} | {_OF[goal.policies]} | {f'missed: {failed}' if failed else 'reached'} |")
    return "\n".join(lines) + "\n"


def _plot(best: Ideal, runs: Mapping[str, Outcome], hours: float) -> str:
    """Pods over the day, a line each, as Mermaid draws it."""
    lines = {"ideal with buffer": best.buffered} | {name: runs[name].pods_by_minute for name in PLOTTED if name in runs}
    most = max(max(pods) for pods in lines.values())
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f'    title "Pods over the day ({"; ".join(lines)}; in this order)"',
            f'    x-axis "hour" 0 --> {hours:g}',
            f'    y-axis "pods" 0 --> {most + 2}',
            *(f"    line [{', '.join(map(str, _points(pods)))}]" for pods in lines.values()),
            "```",
            "",
        ]
    )


def _points(pods: Sequence[int]) -> list[int]:
    """The most pods of each step of the plot."""
    return [max(pods[start : start + PLOT_STEP]) for start in range(0, len(pods), PLOT_STEP)]
