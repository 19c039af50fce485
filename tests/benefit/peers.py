"""What stands between callers and nodes in a run: Kamailio's dispatcher, or one or more of our own balancers."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.nodes import Node
from tests.stand.process import child, command, until

Address = tuple[str, int]


@dataclass(frozen=True)
class Peer:
    """One way to place the calls; ``algorithm`` None: Kamailio's dispatcher, round robin with failover."""

    title: str
    algorithm: str | None
    replicas: int = 1


KAMAILIO = Peer("Kamailio dispatcher", None)
ROUND_ROBIN = Peer("RoundRobin", "RoundRobin")
WEIGHTED = Peer("Weighted", "Weighted")
LEAST_LOAD = Peer("LeastLoad", "LeastLoad")


def least_load(replicas: int) -> Peer:
    """LeastLoad on several replicas that know of each other."""
    return Peer(f"LeastLoad x {replicas}", "LeastLoad", replicas) if replicas > 1 else LEAST_LOAD


@contextlib.contextmanager
def placed(peer: Peer, nodes: Sequence[Node], net: int, folder: Path) -> Iterator[list[Address]]:
    """Run the peer in front of the nodes, on 127.0.``net``.201 and up; where calls are to be sent, by replica."""
    if peer.algorithm is None:
        with _kamailio(nodes, f"127.0.{net}.201", folder) as address:
            yield [address]
        return
    layouts = [Layout(address=f"127.0.{net}.{201 + number}") for number in range(peer.replicas)]
    with contextlib.ExitStack() as stack:
        for number, layout in enumerate(layouts):
            layout.peers = tuple(f"{other.address}:{other.http}" for other in layouts if other is not layout)
            config = folder / f"balancer-{number}.yaml"
            group = Group("benefit", nodes, {"routing": {"algorithm": peer.algorithm}})
            write_config(config, layout, [group], folder / f"state-{number}")
            stack.enter_context(serving(config, layout))
        yield [(layout.address, layout.sip) for layout in layouts]


_KAMAILIO = """\
debug=-1
log_stderror=yes
fork=yes
children=2
disable_tcp=yes
auto_aliases=no
listen=udp:{address}:5060
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "dispatcher.so"
modparam("dispatcher", "list_file", "{list}")
modparam("dispatcher", "flags", 2)
modparam("tm", "fr_timer", 2000)
modparam("tm", "fr_inv_timer", 30000)

request_route {{
    if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("481", "Call/Transaction Does Not Exist");
        exit;
    }}
    t_check_trans();
    record_route();
    if (!ds_select_dst("1", "4")) {{ sl_send_reply("503", "Service Unavailable"); exit; }}
    t_on_failure("NEXT");
    t_relay();
}}

failure_route[NEXT] {{
    if (t_is_canceled()) exit;
    if (t_check_status("503") || (t_branch_timeout() && !t_branch_replied())) {{
        if (ds_next_dst()) {{ t_on_failure("NEXT"); t_relay(); exit; }}
    }}
}}
"""


@contextlib.contextmanager
def _kamailio(nodes: Sequence[Node], address: str, folder: Path) -> Iterator[Address]:
    """Kamailio as its dispatcher is mostly used: in turn, the next node on 503 or after 2 s of silence."""
    listed = folder / "dispatcher.list"
    listed.write_text("".join(f"1 sip:{node.address}:5060\n" for node in nodes))
    config = folder / "kamailio.cfg"
    config.write_text(_KAMAILIO.format(address=address, list=listed))
    runtime = folder / "run"
    runtime.mkdir()
    memory = ("-m", "64", "-x", "tlsf", "-X", "tlsf")
    arguments = [program(), "-f", str(config), "-DD", "-E", "-Y", str(runtime), *memory]
    with child(arguments, folder / "kamailio.log"):
        until(lambda: _is_bound(address), "Kamailio's socket")
        yield address, 5060


def program() -> str:
    """Kamailio lives where only root looks for programs."""
    usual = "/usr/sbin/kamailio"
    return usual if os.access(usual, os.X_OK) else command("kamailio")


def _is_bound(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 5060))
        except OSError:
            return True
    return False


def kamailio_is_installed() -> bool:
    """Whether the comparison can be made."""
    return os.access("/usr/sbin/kamailio", os.X_OK)
