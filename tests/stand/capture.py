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
"""tshark's severity "error", as the number it prints; several of a packet are kept apart by a bar."""

_NO_MEDIA = "sdp.establish_conversation:FALSE"
"""No media is captured. Expecting that of every call takes a time that grows with the square of the calls."""


@dataclass(frozen=True)
class Packet:
    """A packet as tshark dissects it."""

    source: str
    """Where it left, "ip:port"."""
    destination: str
    sip: bool
    """It holds SIP, or a piece of a message that later packets of the stream complete."""
    malformed: bool
    head: str
    """Start lines of the messages that end in it, then their header fields."""


@dataclass(frozen=True)
class Dissection:
    """Packets captured, those that are SIP, and those that are not whole."""

    packets: int
    sip: int
    malformed: int


@dataclass
class Capture:
    """A capture file and the ports that speak SIP."""

    file: Path
    ports: Sequence[tuple[int, int]]

    def dissected(self) -> Dissection:
        """How many packets with a payload there are, and what tshark makes of them."""
        found = self.packets()
        return Dissection(len(found), sum(packet.sip for packet in found), sum(packet.malformed for packet in found))

    def packets(self) -> list[Packet]:
        """What tshark makes of every packet with a payload, in one pass."""
        decode: list[str] = []
        for first, last in self.ports:
            for protocol in ("udp", "tcp"):
                decode += ["-d", f"{protocol}.port=={first}-{last},sip"]
        fields = [argument for name in _FIELDS for argument in ("-e", name)]
        arguments = [
            command("tshark"),
            "-n",
            "-o",
            _NO_MEDIA,
            "-r",
            str(self.file),
            "-Y",
            "udp or tcp.len > 0",
            *decode,
        ]
        done = subprocess.run(
            [*arguments, "-T", "fields", "-E", "aggregator=|", *fields], capture_output=True, check=False, text=True
        )
        if done.returncode != 0:
            raise StandError(f"tshark: {done.stderr[-2000:]}")
        return [_packet(line.split("\t")) for line in done.stdout.splitlines()]


_FIELDS = (
    "frame.protocols", "_ws.malformed", "_ws.expert.severity", "tcp.reassembled_in",
    "ip.src", "ipv6.src", "udp.srcport", "tcp.srcport", "ip.dst", "ipv6.dst", "udp.dstport", "tcp.dstport",
    "sip.Request-Line", "sip.Status-Line", "sip.msg_hdr",
)  # fmt: skip


def _packet(row: Sequence[str]) -> Packet:
    protocols, malformed, severity, completed_in, *ends = row[:12]
    source, destination = (f"{v4 or v6}:{udp or tcp}" for v4, v6, udp, tcp in (ends[:4], ends[4:]))
    return Packet(
        source=source,
        destination=destination,
        sip="sip" in protocols.split(":") or bool(completed_in),
        malformed=bool(malformed) or _ERROR in severity.split("|"),
        head="\r\n".join(part.replace("\\r\\n", "\r\n").replace("|", "\r\n") for part in row[12:] if part),
    )


@contextlib.contextmanager
def captured(address: str, ports: Sequence[tuple[int, int]], folder: Path) -> Iterator[Capture]:
    """Capture what ``address`` sends over UDP from ``ports`` (ranges) on loopback while the block runs."""
    ranges = " or ".join(f"src portrange {first}-{last}" for first, last in ports)
    with captured_where(f"udp and src host {address} and ({ranges})", ports, folder) as capture:
        yield capture


@contextlib.contextmanager
def captured_where(which: str, ports: Sequence[tuple[int, int]], folder: Path) -> Iterator[Capture]:
    """Capture the packets on loopback that a filter lets pass while the block runs; ``ports`` speak SIP."""
    file = folder / "emitted.pcapng"
    arguments = [command("dumpcap"), "-q", "-i", "lo", "-B", "64", "-w", str(file), "-f", which]
    log = folder / "dumpcap.log"
    with child(arguments, log):
        deadline = time.monotonic() + 60
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
