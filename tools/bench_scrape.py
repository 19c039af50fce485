"""What a scrape of a balancer with a thousand nodes costs, and whom it disturbs (`make bench-scrape`).

A whole balancer runs in a process of its own; only its Event Sockets are replaced by ones that report at once. This
process places calls through it, answers them as every one of the nodes, and scrapes. Quiet times and times with scrapes
take turns, so that what else goes on on the machine weighs on both.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import select
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from switchtender.control import watch
from switchtender.drivers.reports import Link, Listener, Report
from switchtender.serve.server import Server

_HOST = "127.0.0.1"
_GROUPS = 10
_CALLS_PER_SECOND = 100
_PATIENCE = 20.0
_ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
_TICK = 0.001

_CONFIG = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
metadata: {{name: default}}
spec:
  listeners: [{{name: public, address: 127.0.0.1, port: {sip}}}]
  nodeSide: {{address: 127.0.0.1, port: {node_side}, workerPorts: {worker}-{worker}}}
  http: {{address: 127.0.0.1, port: {http}}}
  stateDir: {folder}/state
"""
_GROUP = """\
---
apiVersion: switchtender.dev/v1alpha1
kind: BalancerGroup
metadata: {{name: g{index}, namespace: bench}}
spec:
  match: {{rules: [{{requestUri: {{userPattern: "^g{index}$"}}}}]}}
  health: {{staleAfter: 10m, options: null}}
  members:
    static:
"""
_MEMBER = '    - {{name: fs{index}, sip: "sip:{address}:{port}", load: "fs://:none@{address}"}}\n'


@dataclass(frozen=True, slots=True)
class Ports:
    """Of one run, all free at its start."""

    sip: int
    node_side: int
    worker: int
    http: int
    node: int


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape: seconds until the page was there, seconds for which the event loop had no turn meanwhile, bytes."""

    seconds: float
    stall: float
    size: int


@dataclass(slots=True)
class Spell:
    """All quiet times, or all with scrapes: post-dial delays of calls, the balancer's CPU and the longest time for
    which its event loop had no turn (only of quiet ones), all in seconds.
    """

    delays: list[float] = field(default_factory=list)
    cpu: float = 0.0
    stall: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it."""

    scrapes: list[Scrape]
    quiet: Spell
    busy: Spell


class _Reporting:
    """An Event Socket that reports when it is asked for, and never again."""

    def __init__(self, host: str, port: int, credentials: object, listener: Listener, **rest: object) -> None:
        self._listener = listener

    async def run(self) -> None:
        """Log in, report, stay."""
        now = time.monotonic()
        self._listener(Link(state="authenticated", detail="logged in", since=now))
        numbers = {"sessions_per_second_limit": 1000, "sessions_per_second_last": 7, "idle_cpu": 81.5}
        self._listener(Report(source="poll", sessions=12, max_sessions=100_000, received=now, **numbers))  # type: ignore[arg-type]
        await asyncio.Event().wait()


def main() -> int:
    """Run it, and print a table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6, help="pairs of a quiet time and one with scrapes")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each such time")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two scrapes")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    stall: Synchronized[float] = context.Value("d", 0.0)
    with tempfile.TemporaryDirectory() as folder:
        ports = _ports()
        path = Path(folder) / "bench.yaml"
        path.write_text(_configuration(ports, arguments.nodes, folder))
        balancer = context.Process(target=_balancer, args=(str(path), stall))
        balancer.start()
        try:
            url = f"http://{_HOST}:{ports.http}/metrics"
            _await(lambda: _heard(url) == arguments.nodes)
            _report(_rounds(arguments, ports, url, stall, balancer.pid or 0))
        finally:
            balancer.terminate()
            balancer.join(_PATIENCE)
            if balancer.is_alive():
                balancer.kill()
    return 0


def _rounds(arguments: argparse.Namespace, ports: Ports, url: str, stall: Synchronized[float], pid: int) -> Measured:
    scrapes: list[Scrape] = []
    quiet, busy = Spell(), Spell()
    with _answering(ports.node):
        _calls(ports.sip, 1.0)  # what is done once is done
        for _ in range(arguments.rounds):
            stall.value, began = 0.0, _cpu(pid)
            quiet.delays += _calls(ports.sip, arguments.seconds)
            quiet.stall, quiet.cpu = max(quiet.stall, stall.value), quiet.cpu + _cpu(pid) - began
            over, began = threading.Event(), _cpu(pid)
            scraping = threading.Thread(target=_scrape, args=(url, stall, arguments.every, over, scrapes))
            scraping.start()
            busy.delays += _calls(ports.sip, arguments.seconds)
            over.set()
            scraping.join()
            busy.cpu += _cpu(pid) - began
    return Measured(scrapes, quiet, busy)


def _cpu(pid: int) -> float:
    """Seconds of CPU that all threads of a process used (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _report(measured: Measured) -> None:
    scrapes, quiet, busy = measured.scrapes, measured.quiet, measured.busy
    seconds, stalls = [each.seconds for each in scrapes], [each.stall for each in scrapes]
    cost = (busy.cpu - quiet.cpu) / len(scrapes)
    write = sys.stdout.write
    write(f"{len(scrapes)} scrapes, {scrapes[0].size / 1e3:.0f} kB in gzip\n")
    write(f"  ms of CPU for each            {_ms(cost)}\n")
    write(f"  ms until the page is there    median {_ms(statistics.median(seconds))}   most {_ms(max(seconds))}\n")
    write(f"  ms without the event loop     median {_ms(statistics.median(stalls))}   most {_ms(max(stalls))}")
    write(f"   (most in quiet times {_ms(quiet.stall)})\n")
    write(f"{len(quiet.delays)} calls in quiet times, {len(busy.delays)} while scraped: ms of post-dial delay\n")
    for name, part in (("median", 0.5), ("95 of 100", 0.95)):
        without, beside = _quantile(quiet.delays, part), _quantile(busy.delays, part)
        write(f"  {name:<10} quiet {_ms(without)}   while scraped {_ms(beside)}   ratio {beside / without:.2f}\n")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:7.2f}"


def _quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(part * (len(values) - 1))]


def _balancer(path: str, stall: Synchronized[float]) -> None:
    """The other process: a balancer, and a look at how late its event loop is."""
    setattr(watch, "EslDriver", _Reporting)  # noqa: B010 - nobody else may

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK
            await asyncio.sleep(_TICK)
            stall.value = max(stall.value, loop.time() - due)

    async def run() -> None:
        ticking = asyncio.create_task(tick())
        await Server(Path(path)).run()
        ticking.cancel()

    asyncio.run(run())


def _scrape(url: str, stall: Synchronized[float], every: float, over: threading.Event, scrapes: list[Scrape]) -> None:
    request = urllib.request.Request(url, headers={"Accept": _ACCEPT, "Accept-Encoding": "gzip"})  # noqa: S310 - our own
    while not over.wait(every):
        stall.value = 0.0
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - our own
            page = answer.read()
        scrapes.append(Scrape(time.perf_counter() - began, stall.value, len(page)))


def _calls(port: int, seconds: float) -> list[float]:
    """Place calls at a steady rate; each one's seconds until it rings."""
    delays: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind((_HOST, 0))
        caller.connect((_HOST, port))
        for index in range(int(seconds * _CALLS_PER_SECOND)):
            began = time.perf_counter()
            delays.append(_call(caller, f"g{index % _GROUPS}"))
            time.sleep(max(0.0, began + 1 / _CALLS_PER_SECOND - time.perf_counter()))
    return delays


def _call(caller: socket.socket, user: str) -> float:
    """One call that rings and finds its callee busy."""
    own = "{}:{}".format(*caller.getsockname())
    mark = f"{time.monotonic_ns():x}"
    invite = (
        f"INVITE sip:{user}@{_HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{mark};rport\r\n"
        f"From: <sip:bench@{_HOST}>;tag={mark}\r\nTo: <sip:{user}@{_HOST}>\r\nCall-ID: {mark}@bench\r\n"
        f"CSeq: 1 INVITE\r\nContact: <sip:bench@{own}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    began = time.perf_counter()
    caller.send(invite.encode())
    rang = 0.0
    while True:
        if not select.select([caller], [], [], _PATIENCE)[0]:
            raise TimeoutError("a call was not answered")
        response = caller.recv(65536).decode()
        status = int(response.split(" ", 2)[1])
        if f"Call-ID: {mark}@bench" not in response or status == 100:
            continue
        if status == 180:
            rang = time.perf_counter() - began
        elif status == 486:
            to = re.search(r"(?m)^To: .*$", response)
            ack = re.sub(r"(?m)^To: .*$", to[0] if to else "", invite.replace("INVITE", "ACK"), count=1)
            caller.send(ack.encode())
            return rang
        else:
            raise RuntimeError(f"a call was answered: {response.splitlines()[0]}")


class _answering:  # noqa: N801 - used as a statement
    """While the block lasts, every node rings and then is busy: one socket hears all addresses of loopback."""

    def __init__(self, port: int) -> None:
        self._node = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._node.bind(("0.0.0.0", port))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._node.close()

    def _answer(self) -> None:
        while not self._over.is_set():
            if not select.select([self._node], [], [], 0.1)[0]:
                continue
            request, sender = self._node.recvfrom(65536)
            if not request.startswith(b"INVITE "):
                continue
            for status in ("180 Ringing", "486 Busy Here"):
                self._node.sendto(_response(request.decode(), status).encode(), sender)


def _response(request: str, status: str) -> str:
    kept = [line for line in request.split("\r\n")[1:] if re.match(r"(Via|From|Call-ID|CSeq|Record-Route): ", line)]
    to = re.search(r"(?m)^To: [^\r\n]*", request)
    return "\r\n".join(
        [f"SIP/2.0 {status}", *kept, f"{to[0] if to else 'To: <sip:x>'};tag=node", "Content-Length: 0", "", ""]
    )


def _configuration(ports: Ports, nodes: int, folder: str) -> str:
    return _CONFIG.format(
        sip=ports.sip, node_side=ports.node_side, worker=ports.worker, http=ports.http, folder=folder
    ) + "".join(_groups(ports.node, nodes))


def _groups(port: int, nodes: int) -> Iterator[str]:
    for group in range(_GROUPS):
        yield _GROUP.format(index=group)
        for index in range(group, nodes, _GROUPS):
            yield _MEMBER.format(index=index, address=f"127.1.{index // 250}.{index % 250 + 1}", port=port)


def _ports() -> Ports:
    with socket.socket() as a, socket.socket() as b, socket.socket() as c, socket.socket() as d, socket.socket() as e:
        for each in (a, b, c, d, e):
            each.bind((_HOST, 0))
        return Ports(*(each.getsockname()[1] for each in (a, b, c, d, e)))


def _heard(url: str) -> int:
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310 - our own
        page: bytes = answer.read()
    return page.count(b"switchtender_node_sessions{")


def _await(done: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            if done():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError("the balancer does not come up")
        time.sleep(0.1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
