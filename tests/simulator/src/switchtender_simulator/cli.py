"""`switchtender-sim`: reads options into settings, runs the nodes, prints one line when all is bound."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from pathlib import Path
from typing import Any

import click
from aiohttp import web

from switchtender_simulator.http import make_app
from switchtender_simulator.node import Node
from switchtender_simulator.settings import NodeSettings, SettingsError, make_node, parse_address, parse_node

_EPILOG = """
A --node is NAME=VALUE pairs with commas between: name, sip and esl (HOST:PORT, port 0 = any) and every setting below
with its own value for that node, e.g. --node name=fs1,sip=127.0.0.11:5060,esl=127.0.0.11:8021,max-sessions=20.

A --nodes-file is a JSON list of objects with the same names (lists for acl and users).

The user part of a Request-URI writes the course of a call: 486 (any status from 300 to 699), 503-far (as relayed from a
far end), ring, 100-only, silent, early183; every other user is answered.
"""

# Option, type, help; the defaults are NodeSettings'.
_SETTINGS: list[tuple[str, Any, str]] = [
    ("password", str, "ESL password."),
    ("max-sessions", int, "Max-Sessions; one less is usable."),
    ("sessions-per-second", int, "New sessions a second; one less is admitted."),
    ("max-requests-per-second", int, "SIP requests a second before the silent blackout; 0 = never."),
    ("heartbeat-interval", float, "Seconds between HEARTBEATs."),
    ("legs-per-call", int, "Sessions that a call holds once it is routed on."),
    ("answer-delay", float, "Seconds from 180 to 200."),
    ("call-duration", float, "Seconds until the node sends BYE; 0 = never."),
    ("bye-from", click.Choice(["node", "caller"]), "Who ends a call after its duration."),
    ("auth", str, "USER:PASSWORD; INVITE and REGISTER are challenged."),
    ("background-sessions", int, "Sessions that no balancer sent, constant."),
    ("outside-rate", float, "Calls a second that no balancer sent (Poisson)."),
    ("outside-holding", float, "Their mean duration in seconds."),
    ("zombie-seconds", float, "How long a session refused at the boundary stays."),
    ("admission-lag", float, "Seconds between the two looks at the session limit."),
    ("boot-time", float, "Seconds that `start` takes after a crash."),
    ("idle-cpu", float, "Idle-CPU in percent."),
    ("clock-offset", float, "Seconds by which the node's wall clock is off."),
    ("t1", float, "SIP T1 in seconds."),
    ("esl-auth-timeout", float, "Seconds an ESL client has for its first command."),
    ("acl", str, "Networks that may speak ESL, with + between; none = all."),
    ("elegant-term", click.Choice(["true", "false"]), "Started with -elegant-term."),
    ("version", click.Choice(["1.11.1", "1.10.12"]), "FreeSWITCH version played."),
]


def _options(command: Any) -> Any:
    defaults = NodeSettings()
    for name, kind, text in reversed(_SETTINGS):
        default = getattr(defaults, name.replace("-", "_"))
        shown = "none" if default in ("", []) else str(default).lower() if isinstance(default, bool) else default
        command = click.option(f"--{name}", type=kind, default=None, help=f"{text}  [default: {shown}]")(command)
    return command


@click.command(epilog=_EPILOG, context_settings={"max_content_width": 118, "help_option_names": ["-h", "--help"]})
@click.option("--node", "nodes", multiple=True, metavar="SPEC", help="One node; may be given many times.")
@click.option(
    "--nodes-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Nodes as a JSON list."
)
@click.option("--http", "http_address", default="", metavar="HOST:PORT", help="Control API; none without it.")
@click.option("--user", "users", multiple=True, metavar="USER@DOMAIN:PASSWORD", help="A userauth user without limits.")
@click.option(
    "--sigterm",
    type=click.Choice(["exit", "freeswitch"]),
    default="exit",
    show_default=True,
    help="What SIGTERM does: end the simulator, or (one node only) stop that node as FreeSWITCH does.",
)
@_options
def main(
    nodes: tuple[str, ...],
    nodes_file: Path | None,
    http_address: str,
    users: tuple[str, ...],
    sigterm: str,
    **defaults: Any,
) -> None:
    """Simulate FreeSWITCH nodes: Event Socket, SIP over UDP and session accounting as the real one shows them.

    Prints one line of JSON ({"ready": …}) once every address is bound; SIGTERM and SIGINT end it.
    """
    given: dict[str, Any] = {name: value for name, value in defaults.items() if value is not None}
    if users:
        given["users"] = list(users)
    try:
        settings = [parse_node(spec, given) for spec in nodes]
        if nodes_file is not None:
            settings += [make_node({**given, **values}) for values in json.loads(nodes_file.read_text())]
        control = parse_address(http_address) if http_address else None
    except (SettingsError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if not settings:
        raise click.UsageError("give at least one --node or a --nodes-file")
    if len({node.name for node in settings}) < len(settings):
        raise click.UsageError("two nodes have the same name")
    if sigterm == "freeswitch" and len(settings) > 1:
        raise click.UsageError("--sigterm freeswitch is for one node; use POST /nodes/NAME/term")
    try:
        asyncio.run(serve(settings, control, sigterm=sigterm))
    except OSError as error:
        raise click.ClickException(str(error)) from None


async def serve(settings: list[NodeSettings], control: tuple[str, int] | None, *, sigterm: str = "exit") -> None:
    """Run nodes and control API until a signal; raises OSError when an address cannot be bound."""
    # Calls and transactions live for seconds and hold no cycles: a full collection would only stall the nodes.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    nodes = {node.name: Node(node) for node in settings}
    runner = web.AppRunner(make_app(nodes), access_log=None)
    try:
        for node in nodes.values():
            await node.start(at_once=True)
        ready: dict[str, Any] = {
            "nodes": {name: {"sip": node.sip_host_port, "esl": node.esl_host_port} for name, node in nodes.items()}
        }
        await runner.setup()
        if control is not None:
            site = web.TCPSite(runner, *control)
            await site.start()
            host, port = runner.addresses[0][:2]
            ready["http"] = f"http://{host}:{port}"
        only = next(iter(nodes.values()))
        loop.add_signal_handler(signal.SIGINT, stop.set)
        loop.add_signal_handler(signal.SIGTERM, only.terminate if sigterm == "freeswitch" else stop.set)
        sys.stdout.write(json.dumps({"ready": ready}) + "\n")
        sys.stdout.flush()
        if sigterm == "freeswitch":
            await asyncio.wait(
                [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(only.stopped.wait())],
                return_when=asyncio.FIRST_COMPLETED,
            )
        else:
            await stop.wait()
    finally:
        for node in nodes.values():
            await node.close()
        await runner.cleanup()
