"""tshark as the judge of datagrams: captures what one address emits and dissects every packet as SIP."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.stand.process import StandError, child, command

_SETTLE = 1.0
_DROPPED = re.compile(r"received/dropped on interface '[^']*': \d+/(\d+)")
_ERROR = "8388608"
"""tshark's severity "error", as the number it prints."""


@dataclass(frozen=True)
class Dissection:
    """Packets captured, those that are SIP, and those that are not whole."""

    packets: int
    sip: int
    malformed: int


@dataclass
class Capture:
    """A capture file and the ports whose datagrams are SIP."""

    file: Path
    ports: Sequence[tuple[int, int]]

    def dissected(self) -> Dissection:
        """What tshark makes of every packet, in one pass."""
        decode: list[str] = []
        for first, last in self.ports:
            decode += ["-d", f"udp.port=={first}-{last},sip"]
        fields = ["-T", "fields", "-e", "frame.protocols", "-e", "_ws.malformed", "-e", "_ws.expert.severity"]
        arguments = [command("tshark"), "-n", "-r", str(self.file), *decode, *fields]
        done = subprocess.run(arguments, capture_output=True, check=False, text=True)
        if done.returncode != 0:
            raise StandError(f"tshark: {done.stderr[-2000:]}")
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        return Dissection(
            packets=len(rows),
            sip=sum("sip" in row[0].split(":") for row in rows),
            malformed=sum(bool(row[1]) or _ERROR in row[2].split(",") for row in rows),
        )


@contextlib.contextmanager
def captured(address: str, ports: Sequence[tuple[int, int]], folder: Path) -> Iterator[Capture]:
    """Capture what ``address`` sends over UDP from ``ports`` (ranges) on loopback while the block runs."""
    file = folder / "emitted.pcapng"
    ranges = " or ".join(f"src portrange {first}-{last}" for first, last in ports)
    arguments = [
        command("dumpcap"), "-q", "-i", "lo", "-B", "64", "-w", str(file),
        "-f", f"udp and src host {address} and ({ranges})",
    ]  # fmt: skip
    log = folder / "dumpcap.log"
    with child(arguments, log):
        deadline = time.monotonic() + 20
        while not (file.exists() and "File:" in log.read_text(errors="replace")):
            if time.monotonic() > deadline:
                raise StandError(f"dumpcap did not start: {log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield Capture(file, ports)
        time.sleep(_SETTLE)
    said = log.read_text(errors="replace")
    found = _DROPPED.search(said)
    if found is None or found[1] != "0":
        raise StandError(f"the capture is not whole: {said[-500:]}")
