"""The page from its file of results alone: what sizes need, what breaks first, and the simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests.scaling.figures import CHURN, CHURN_SECONDS, FLEETS, HOLD, WRITES_A_SECOND, Fleet, fleet

Json = Mapping[str, Any]
_Cells = Mapping[tuple[str, int, float], Json]

_HEAD = """\
# What ten and a hundred balancers need

Made by `make bench-scaling`. Sizes are of documents that the operator's own code makes and of a FreeSWITCH's recorded
words; processor times are those of `docs/performance.json`. What was not measured when the page was made stands
as a letter. Everything else is arithmetic, in `tests/scaling/figures.py`. Nothing here was run at these sizes.
"""

_SIMULATED = """\
## Choosing on old reports

*R* replicas before one pool of nodes of 100 sessions, in virtual time. Ours is the product's load model, arithmetic
and choice, given heartbeats alone (no polls). OpenSIPS 4.1 goes by its formulas, made anew each second of the last
heartbeat: *load_balancer* `trunc(idle × (max − (sessions − local))) − local`, the largest wins, equals by lot;
*relative* its flag `r`; *dispatcher* `round(100 × (1 − sessions ÷ max) × idle)` in whole numbers, in turn (algorithm
4) or drawn (6). Idle CPU stands at 100 %, which is the best for OpenSIPS. A replica is drawn for each call; a refused
call goes to two more nodes at most. A node admits Max-Sessions − 1; the INVITE that comes then is refused and leaves
a session for 10 s. All nodes are heard at the start; each then reports in its own time. Calls of 60 s on average,
random arrivals, the same for everyone; 60 s of warm-up and 180 s that count; means of seeds 1 and 2. The calls that
stand at the start are evenly spread and end as exponential ones do; the rare long ones of a lognormal have not
gathered by then, so that a pool with these is somewhat emptier than with exponential lengths.

*Not modelled*: calls that no balancer placed, nodes of unlike size, noise of the CPU, sessions per second, reports
that are lost, and ringing apart from talking.

*Overshoot*: INVITEs to a node without a free session, of 1,000 calls offered (a call may cause three). *Lost*: calls
that nobody took, of 1,000. *Variation*: standard deviation of the nodes' utilization over its mean, averaged over time.
"""


def page(results: Json) -> str:
    """The page in Markdown."""
    return "\n".join([_HEAD, _needs(results), _breaks(results), _simulation(results["simulation"])])


def _needs(results: Json) -> str:
    sizes, known = results["sizes"], results["measured"]
    fleets = [fleet(replicas, nodes, sizes) for replicas, nodes in FLEETS]
    columns: Sequence[tuple[str, Callable[[Fleet], str]]] = (
        ("balancers", lambda one: f"{one.replicas}"),
        ("nodes", lambda one: f"{one.nodes:,}"),
        ("ESL connections", lambda one: f"{one.connections:,}"),
        ("commands/s a node", lambda one: f"{one.commands_a_node:g}"),
        ("ESL a balancer", lambda one: _rate(one.esl_a_balancer)),
        ("ESL of all", lambda one: _rate(one.esl_of_all)),
        ("answer to the operator", lambda one: _rate(one.state_answer)[:-2]),
        ("all answers", lambda one: _rate(one.state_of_all)),
        ("set writes asked for", lambda one: f"{one.writes_asked:g}/s"),
        ("watches of sets", lambda one: _rate(one.watch_of_all)),
    )
    rows = _table([title for title, _ in columns], ([cell(one) for _, cell in columns] for one in fleets))
    return f"""\
## Sizes

{_sizes(sizes)}
Payload, without headers of TCP and HTTP. Replicas write nothing into sets or status: only the operator's leader does,
so that writes do not grow with replicas. Status: {1 / sizes["status_min_interval"]:g} writes a second and group at
most, {_rate(sizes["status_bytes"] / sizes["status_min_interval"])}.

## What sizes need

With a heartbeat a second, default polls, and while {CHURN:.0%} of the nodes change within {CHURN_SECONDS:g} s. A change
of one node is taken for one write of its set, without what coalescing saves; of the writes asked for the operator
makes {WRITES_A_SECOND:g} a second (`--write-qps`), and watches are of those.

{rows}
{_calls(known)}"""


def _sizes(sizes: Json) -> str:
    heartbeat, poll, checks = sizes["heartbeat_bytes"], sizes["poll_bytes"], sizes["checks_bytes"]
    rows = (
        (
            f"DestinationSet of {sizes['members_per_slice']} pods",
            sizes["slice_bytes"],
            "once a change or many at a time",
        ),
        (
            "status of a group with its 50 nodes",
            sizes["status_bytes"],
            f"at most once in {sizes['status_min_interval']:g} s",
        ),
        ("a node in a balancer's answer to the operator", sizes["state_bytes_a_node"], "a balancer, once a second"),
        ("HEARTBEAT", heartbeat, "a connection, as FreeSWITCH is set"),
        ("`status`, asked and answered", poll, f"a connection, once in {sizes['poll_seconds']:g} s"),
        (f"{sizes['checks']} checks, the same", checks, f"a connection, once in {sizes['checks_seconds']:g} s"),
    )
    return _table(["what", "bytes", "how often"], ([what, f"{bytes_:,}", often] for what, bytes_, often in rows))


def _calls(known: Json) -> str:
    rate = 1_000_000 / HOLD
    lines = [
        "### A million calls in progress\n",
        (
            f"Calls of {HOLD:g} s: {rate:,.0f} a second. With two legs a call and 1,000 sessions a node that takes "
            f"2,000 nodes, each with {rate / 2000:.1f} new calls a second. Processor time of forwarding, on all "
            "balancers together:\n"
        ),
    ]
    for title, figure, letter in (
        ("Switchtender, stateful `LeastLoad`", "call_us", "c"),
        ("Kamailio, stateful", "kamailio_us", "k"),
    ):
        if figure in known:
            lines.append(f"* {title}: {known[figure]:g} µs a call, {rate * known[figure] / 1e6:.2f} cores.")
        else:
            lines.append(f"* {title}: *{letter}* µs a call (not measured yet), {rate / 1e6:.4f} × *{letter}* cores.")
    lines.append(
        "\nEstablished calls need no table: the way of each is in its own Record-Route. What is remembered of *m* "
        "bytes a call takes *m* MB over all balancers, and 1/R of it in each of R. A balancer that is lost loses open "
        "transactions, no established calls: with ten balancers a tenth of the calls that are being set up.\n"
    )
    return "\n".join(lines)


def _breaks(results: Json) -> str:
    sizes = results["sizes"]
    node, answer = sizes["state_bytes_a_node"], sizes["state_bytes_most"]
    commands = 1 / sizes["poll_seconds"] + sizes["checks"] / sizes["checks_seconds"]
    slower = (1 + sizes["checks"]) / 5
    hundred = fleet(100, 10_000, sizes)
    ten = fleet(10, 10_000, sizes)
    return f"""\
## What breaks first

Which of the first two is met first depends on *e* and on the number of replicas:

1. **The control plane's one thread in each balancer**, by nodes: *e* cores for a thousand connections bear 1,000 ÷ *e*
   nodes at the very most. More replicas do not help: each hears from every node. *Then*: `health.pollInterval` up
   (heartbeats tell the load meanwhile; 5 s leaves {slower:g} of {commands:g} commands a second and node), then several
   balancers by name, each with groups of its own (`spec.balancer`): a node is heard by those of its group alone.
2. **The operator's questions**, by replicas × nodes: {_rate(ten.state_of_all)} of JSON at 10 × 10,000,
   {_rate(hundred.state_of_all)} at 100 × 10,000, all read in one thread each second. Answers count for 3.5 s; later
   ones leave the status as it was and scaling without figures, and no call is touched. One answer is refused above
   {answer >> 20} MiB, {answer // node:,} nodes. *Then*: operators by namespace (`--watch-namespaces`), each with its
   own balancers.
3. **FreeSWITCH's side**, by replicas: each connection of mod_event_socket is a thread there, and 100 balancers send a
   node {hundred.commands_a_node:g} commands a second. *Then*: a longer `health.pollInterval`, at last fewer balancers
   a node, as in 1.
4. **The API server's watches**, by replicas × writes: while everything changes at once,
   {_rate(hundred.watch_of_all)} go to 100 balancers at the operator's {WRITES_A_SECOND:g} writes a second, since a
   change of one node sends its whole slice to each. It is bounded by `--write-qps`: what is asked for beyond waits
   ({hundred.writes_asked:g} writes a second at 10,000 nodes, less what is coalesced: one group's change writes a slice
   once, however many of its nodes changed). *Then*: a lower `--write-qps`, or groups on different balancers.

Forwarding is none of these: it grows with calls alone and is shared by all replicas.
"""


def _simulation(rows: Sequence[Json]) -> str:
    steady = [row for row in rows if row["kind"] == "steady"]
    choices = list(dict.fromkeys(row["choice"] for row in steady))
    beats = sorted({row["heartbeat"] for row in steady})
    counts = sorted({row["replicas"] for row in steady})
    by = {(row["choice"], row["replicas"], row["heartbeat"]): row for row in steady}
    parts = [_SIMULATED, "### 16 nodes, 90 % offered, lognormal lengths\n"]
    parts.append("Each cell: variation in percent / overshoot / lost.\n")
    for choice in choices:
        parts.append(f"**{choice}**\n")
        cells = ([f"{count}", *(_cell(by[choice, count, beat]) for beat in beats)] for count in counts)
        parts.append(_table(["balancers", *(f"heartbeat {beat:g} s" for beat in beats)], cells))
    parts.append(_plots(by, choices, counts, beats))
    surge = [row for row in rows if row["kind"] == "surge"]
    parts.append("### A surge: 60 %, then three times the calls for 20 s\n")
    parts.append("The whole pool would be 94 % full at its end. Variation in percent / overshoot / lost.\n")
    parts.append(_crossed(surge, choices, lambda row: f"R = {row['replicas']}, {row['heartbeat']:g} s"))
    pool = [row for row in rows if row["kind"] == "pool"]
    parts.append(f"### Other pools, {pool[0]['replicas']} balancers, heartbeat {pool[0]['heartbeat']:g} s\n")
    parts.append("Maximum over mean of utilization / variation in percent / overshoot / lost.\n")
    parts.append(
        _crossed(
            pool,
            choices,
            lambda row: f"{row['nodes']} nodes, {row['load']:.0%}, {row['lengths']}",
            lambda row: f"{row['max_over_mean']:.2f} / {_cell(row)}",
        )
    )
    parts.append(_read(steady, choices))
    return "\n".join(parts)


def _read(steady: Sequence[Json], choices: Sequence[str]) -> str:
    lines = ["### The worst of each\n", "Over all replicas and heartbeats of the first tables:\n"]
    rows = []
    for choice in choices:
        mine = [row for row in steady if row["choice"] == choice]
        worst = [max(row[figure] for row in mine) for figure in ("max_over_mean", "variation", "overshoot", "lost")]
        rows.append([choice, f"{worst[0]:.2f}", f"{100 * worst[1]:.1f} %", f"{worst[2]:.1f}", f"{worst[3]:.1f}"])
    lines.append(_table(["", "max ÷ mean", "variation", "overshoot", "lost"], rows))
    lines.append(
        "load_balancer sends every balancer's calls to the same node until its next heartbeat, since it forgets its "
        "own calls of the meantime each second. In turn, the dispatcher stays on one node for up to a hundred calls, "
        "on each balancer. Drawing spreads without knowing. `LeastLoad` draws two, counts its own calls and takes the "
        "rest from its *share*. Where the relative mode is the more even one (mostly below a heartbeat of 5 s, far "
        "below the limits), the likely reason is that it looks at all nodes and not at two; near the limits and on old "
        "reports it passes them, since it does not know what the other balancers do.\n"
    )
    return "\n".join(lines)


def _plots(by: _Cells, choices: Sequence[str], counts: Sequence[int], beats: Sequence[float]) -> str:
    beat = 5 if 5 in beats else beats[0]
    plots = []
    for title, figure, scale in (
        ("Variation in percent", "variation", 100),
        ("Overshoot of 1000 calls", "overshoot", 1),
    ):
        lines = [[by[choice, count, beat][figure] * scale for count in counts] for choice in choices]
        most = max(max(line) for line in lines)
        plots.append(
            "\n".join(
                [
                    "```mermaid",
                    "xychart-beta",
                    f'    title "{title} at a heartbeat of {beat:g} s ({"; ".join(choices)}; in this order)"',
                    f'    x-axis "balancers" [{", ".join(map(str, counts))}]',
                    f'    y-axis "" 0 --> {most * 1.1 + 0.1:.1f}',
                    *(f"    line [{', '.join(f'{value:.2f}' for value in line)}]" for line in lines),
                    "```",
                    "",
                ]
            )
        )
    return "\n".join(plots)


def _cell(row: Json) -> str:
    return f"{100 * row['variation']:.1f} / {row['overshoot']:.1f} / {row['lost']:.1f}"


def _crossed(
    rows: Sequence[Json], choices: Sequence[str], name: Callable[[Json], str], cell: Callable[[Json], str] = _cell
) -> str:
    """A row a pool, a column a choice."""
    pools: dict[str, dict[str, str]] = {}
    for row in rows:
        pools.setdefault(name(row), {})[row["choice"]] = cell(row)
    return _table(["", *choices], ([pool, *(cells[choice] for choice in choices)] for pool, cells in pools.items()))


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(titles)} |", f"|---{'|---:' * (len(titles) - 1)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _rate(value: float) -> str:
    for unit, size in (("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} B/s"
