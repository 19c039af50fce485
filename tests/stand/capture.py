"""tshark as the judge of datagrams: captures what one address emits and dissects every packet as SIP."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.stand.process import StandError, child, command

_SETTLE = 1.0


@dataclass
class Capture:
    """A capture file and the ports whose datagrams are SIP."""

    file: Path
    ports: Sequence[tuple[int, int]]

    def count(self, display_filter: str) -> int:
        """How many captured packets match."""
        decode: list[str] = []
        for first, last in self.ports:
            decode += ["-d", f"udp.port=={first}-{last},sip"]
        arguments = [
            command("tshark"),
            "-r",
            str(self.file),
            *decode,
            "-Y",
            display_filter,
            "-T",
            "fields",
            "-e",
            "frame.number",
        ]
        done = subprocess.run(arguments, capture_output=True, check=False)
        if done.returncode != 0:
            raise StandError(f"tshark: {done.stderr.decode(errors='replace')[-2000:]}")
        return len(done.stdout.split())


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
    if "dropped" in (said := log.read_text(errors="replace")):
        dropped = said.rsplit("dropped", 1)[1]
        if "0/0" not in dropped and "(0" not in dropped:
            (folder / "dropped").write_text(said)
