"""One leg's run: calls through it, the processor time it took meanwhile, and whether the run counts."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.performance.legs import Leg, Programs, running
from tests.performance.places import CALLER, NODE_PORT, OTHER_CPU, PROXY, nodes


class VoidError(Exception):
    """The run does not count: calls failed, something came twice, or the kernel dropped a datagram."""


@dataclass(frozen=True)
class Load:
    """What the generator does: ``rate`` calls a second or ``window`` calls at once, to ``nodes`` nodes."""

    seconds: float
    nodes: int
    warmup: float = 1.0
    rate: float | None = None
    window: int | None = None

    def arguments(self) -> list[str]:
        """As options of the generator."""
        how = ["--rate", f"{self.rate:g}"] if self.rate is not None else ["--window", str(self.window)]
        return [*how, "--seconds", f"{self.seconds:g}", "--warmup", f"{self.warmup:g}"]


@dataclass(frozen=True)
class Run:
    """What one run of a leg came to, within the measured window. Times in microseconds."""

    calls: int
    rate: float
    cpu: float
    """Of a call: of all threads of what is measured."""
    busiest: float
    """Of a call: of the one thread that worked most, which moves the datagrams."""
    oneway_p50: float
    oneway_p99: float
    setup_p50: float
    setup_p99: float


def run(leg: Leg, load: Load, programs: Programs, folder: Path) -> Run:
    """Start a leg, put the load on it, measure; raises VoidError."""
    with running(leg, load.nodes, programs, folder) as pid:
        return measured(pid, load, programs, folder)


def measured(pid: int, load: Load, programs: Programs, folder: Path, extra: Sequence[str] = ()) -> Run:
    """Put the load on what runs as ``pid`` and measure; raises VoidError."""
    dropped = drops()
    with _generator(programs, load, folder, extra) as lines:
        before, end, after = {}, {}, {}
        for line in lines:
            if line["event"] == "begin":
                before = processor_time(pid)
            elif line["event"] == "end":
                after, end = processor_time(pid), line
    return judged(end, before, after, drops() - dropped)


def judged(end: Mapping[str, Any], before: Mapping[int, int], after: Mapping[int, int], dropped: int) -> Run:
    """The run that these figures make; raises VoidError where it does not count."""
    if not end:
        raise VoidError("the generator ended early")
    wrong = {name: end[name] for name in ("calls_failed", "retransmissions", "unexpected") if end[name]}
    if dropped:
        wrong["dropped"] = dropped
    if wrong or not end["calls_completed"]:
        raise VoidError(", ".join(f"{name} {count}" for name, count in wrong.items()) or "no call completed")
    took = [spent - before.get(thread, 0) for thread, spent in after.items()]
    calls = end["calls_completed"]
    oneway, setup = end["oneway_us"], end["setup_us"]
    return Run(
        calls=calls,
        rate=calls / end["seconds"],
        cpu=sum(took) / 1000 / calls,
        busiest=max(took) / 1000 / calls,
        oneway_p50=oneway["p50"],
        oneway_p99=oneway["p99"],
        setup_p50=setup["p50"],
        setup_p99=setup["p99"],
    )


@contextlib.contextmanager
def _generator(
    programs: Programs, load: Load, folder: Path, extra: Sequence[str]
) -> Iterator[Iterator[dict[str, Any]]]:
    uas = ",".join(f"{node}:{NODE_PORT}" for node in nodes(load.nodes))
    arguments = [programs.sipload, "--proxy", f"{PROXY}:5060", "--uac", CALLER, "--uas", uas, "--cpu", str(OTHER_CPU)]
    with (folder / "sipload.log").open("ab") as log:
        process = subprocess.Popen([*arguments, *load.arguments(), *extra], stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        yield (json.loads(line) for line in process.stdout)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode == 2:
        raise VoidError((folder / "sipload.log").read_text(errors="replace")[-500:])


def processor_time(pid: int) -> dict[int, int]:
    """Nanoseconds that each thread of a process and of its descendants ran; from schedstat, which counts exactly."""
    found: dict[int, int] = {}
    for process in (pid, *_descendants(pid)):
        for task in Path(f"/proc/{process}/task").iterdir():
            # It may end just now.
            with contextlib.suppress(OSError):
                found[int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return found


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for each in (task / "children").read_text().split():
                yield int(each)
                yield from _descendants(int(each))


def drops(table: str | None = None) -> int:
    """UDP datagrams that this network namespace lost to full buffers or took for broken, ever."""
    lines = (table or Path("/proc/net/snmp").read_text()).splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Udp:"))
    counts = dict(zip(names, map(int, values), strict=True))
    return counts["InErrors"] + counts["RcvbufErrors"] + counts["SndbufErrors"]
