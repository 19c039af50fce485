"""Kamailio as fast as it can be had for this work: TLSF allocator, large buffers, no log, one worker.

One Record-Route and the next node in turn, as the others do; no failure route, so that it has less to do than ours.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benefit.peers import program
from tests.stand.process import child, taken, until

_CONFIG = """\
debug=-1
log_stderror=yes
fork=yes
children=1
disable_tcp=yes
auto_aliases=no
maxbuffer=4194304
listen=udp:{address}:5060
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "dispatcher.so"
modparam("dispatcher", "list_file", "{listed}")

request_route {{
    if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ {relay}; exit; }}
        sl_send_reply("481", "Call/Transaction Does Not Exist");
        exit;
    }}
    record_route();
    if (!ds_select_dst("1", "4")) {{ sl_send_reply("503", "Service Unavailable"); exit; }}
    {relay};
}}
"""


def arguments(folder: Path, address: str, nodes: Sequence[str], *, stateful: bool) -> list[str]:
    """Write the configuration into ``folder``; the command line that runs it in the foreground."""
    listed = folder / "dispatcher.list"
    listed.write_text("".join(f"1 sip:{node}\n" for node in nodes))
    config = folder / "kamailio.cfg"
    relay = "t_relay()" if stateful else "forward()"
    config.write_text(_CONFIG.format(address=address, listed=listed, relay=relay))
    runtime = folder / "run"
    runtime.mkdir(exist_ok=True)
    memory = ("-m", "256", "-M", "64", "-x", "tlsf", "-X", "tlsf")
    return [program(), "-f", str(config), "-DD", "-E", "-Y", str(runtime), *memory]


@contextlib.contextmanager
def running(folder: Path, address: str, nodes: Sequence[str], *, stateful: bool) -> Iterator[int]:
    """Run it until the block ends; the process that its others descend from."""
    with child(arguments(folder, address, nodes, stateful=stateful), folder / "kamailio.log") as process:
        until(lambda: taken(socket.SOCK_DGRAM, address, 5060), "Kamailio's socket")
        yield process.pid


def version() -> str:
    """What it calls itself, e.g. ``5.6.3``."""
    words = subprocess.run([program(), "-v"], capture_output=True, text=True, check=True).stdout.split()
    return words[words.index("kamailio") + 1]
