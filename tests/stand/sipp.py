"""SIPp, the outside judge of calls: runs a scenario and reads its own statistics."""

from __future__ import annotations

import csv
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.stand.process import command, free_port, taken, until

SCENARIOS = Path(__file__).parent.parent / "judges" / "scenarios"


@dataclass(frozen=True)
class Result:
    """What SIPp counted."""

    created: int
    successful: int
    failed: int
    unexpected: int
    retransmissions: int
    output: str


@dataclass
class Run:
    """A SIPp process under way."""

    process: subprocess.Popen[bytes]
    stat_file: Path
    log: Path

    def _errors(self) -> str:
        """What SIPp found unexpected, word by word."""
        file = self.stat_file.with_suffix(".err")
        return file.read_text(errors="replace")[:4000] if file.exists() else ""

    def stop(self) -> Result:
        """End it, whether or not its calls came, and read what it counted until now (within a second)."""
        self.process.send_signal(signal.SIGUSR1)
        return self.result(5)

    def result(self, patience: float) -> Result:
        """Wait for the end (at most ``patience`` seconds) and read the statistics."""
        try:
            self.process.wait(patience)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        with self.stat_file.open() as handle:
            last = list(csv.DictReader(handle, delimiter=";"))[-1]

        def total(name: str) -> int:
            return int(last[f"{name}(C)"])

        unexpected = sum(
            total(name) for name in ("FailedUnexpectedMessage", "FailedCmdNotSent", "FailedOutboundCongestion")
        )
        return Result(
            created=total("TotalCallCreated") if "TotalCallCreated(C)" in last else int(last["TotalCallCreated"]),
            successful=total("SuccessfulCall"),
            failed=total("FailedCall"),
            unexpected=unexpected,
            retransmissions=total("Retransmissions"),
            output=self._errors() + self.log.read_text(errors="replace")[-4000:],
        )


def start(
    scenario: str,
    target: str,
    folder: Path,
    *,
    calls: int,
    rate: int,
    pause_ms: int = 500,
    local: str = "127.0.0.2",
    service: str = "service",
    limit: int = 10_000,
    transport: str = "u1",
    lost: int = 0,
    patience_ms: int = 40_000,
) -> Run:
    """Start placing ``calls`` calls at ``rate`` calls a second to ``target`` ("ip:port").

    ``transport`` as SIPp's -t: u1 and t1 for one socket or connection, un and tn for one of each call.
    ``lost`` percent of what it sends and of what comes are thrown away. A call that waits longer than ``patience_ms``
    for a message has failed.
    """
    port = free_port(socket.SOCK_STREAM if transport.startswith("t") else socket.SOCK_DGRAM, local)
    placing = [target, "-s", service, "-r", str(rate), "-l", str(limit), "-d", str(pause_ms)]
    placing += ["-lost", str(lost)] if lost else []
    placing += ["-recv_timeout", str(patience_ms)]
    return _run(scenario, folder, local, port, calls, transport, placing)


def answer(scenario: str, local: str, port: int, folder: Path, *, calls: int, transport: str = "u1") -> Run:
    """Play a node at ``local:port`` for ``calls`` calls; when this returns, its port is open."""
    run = _run(scenario, folder, local, port, calls, transport, [])
    kind = socket.SOCK_STREAM if transport.startswith("t") else socket.SOCK_DGRAM
    until(lambda: taken(kind, local, port) or run.process.poll() is not None, f"SIPp at {local}:{port}")
    return run


def _run(scenario: str, folder: Path, local: str, port: int, calls: int, transport: str, more: Sequence[str]) -> Run:
    name = f"sipp-{scenario}-{local}-{port}"
    stat_file, log = folder / f"{name}.csv", folder / f"{name}.log"
    arguments = [
        command("sipp"), *more,
        "-sf", str(SCENARIOS / f"{scenario}.xml"),
        "-i", local, "-p", str(port), "-t", transport,
        "-m", str(calls), "-max_socket", str(max(calls + 100, 1000)),
        "-nostdin", "-buff_size", "4194304",
        "-trace_stat", "-stf", str(stat_file), "-fd", "1",
        "-trace_err", "-error_file", str(folder / f"{name}.err"),
        "-timeout", "300",
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
    _under_way.append(process)
    return Run(process, stat_file, log)


_under_way: list[subprocess.Popen[bytes]] = []


def end_all() -> None:
    """End what is still under way: a test that failed has not waited for its calls."""
    while _under_way:
        process = _under_way.pop()
        if process.poll() is None:
            process.kill()
        process.wait()
