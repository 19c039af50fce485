"""The control API over HTTP: look at the nodes, change settings, throw fault switches, start and end lives.

Thin: every handler is a look-up and a call of `Node`. `GET /` lists the routes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from switchtender_simulator.lifecycle import Direction
from switchtender_simulator.node import Node
from switchtender_simulator.settings import SettingsError

NODES = web.AppKey("nodes", dict[str, Node])
_TASKS = web.AppKey("tasks", set[asyncio.Task[None]])

ROUTES = {
    "GET /": "this list",
    "GET /nodes": "every node: phase, counters, settings, faults",
    "GET /nodes/{name}": "one node",
    "PATCH /nodes": "change settings of every node; body as for one",
    "PATCH /nodes/{name}": 'change settings live, all or none, e.g. {"max_sessions": 20, "background_sessions": 5}',
    "PATCH /nodes/{name}/faults": 'throw fault switches, e.g. {"esl_drip": 0.05, "sip_silent": true}; they stay',
    "DELETE /nodes/{name}/faults": "all fault switches off",
    "POST /nodes/{name}/term": "SIGTERM as FreeSWITCH does it; returns at once",
    "POST /nodes/{name}/crash": "SIGKILL: every socket closed at once",
    "POST /nodes/{name}/start": "boot again: new Core-UUID, counters 0, boot_time; ?wait=1 returns when it runs",
    "POST /nodes/{name}/pause": "fsctl pause; ?direction=inbound|outbound, without: both",
    "POST /nodes/{name}/resume": "fsctl resume; ?direction as above",
    "POST /nodes/{name}/shutdown": "fsctl shutdown; ?mode=elegant|asap|cancel, without: at once",
    "POST /nodes/{name}/standby": "sofia global standby; ?on=1|0",
    "POST /nodes/{name}/hupall": "hang up every call",
    "POST /nodes/{name}/reinvite": "re-INVITE to every caller",
    "POST /nodes/{name}/heartbeat": "one HEARTBEAT now",
    "POST /nodes/{name}/notice-mid-frame": "half an event frame, a disconnect notice, close; on every ESL connection",
    "POST /nodes/{name}/garbage": "bytes that are no frame, on every ESL connection; ?size=256",
    "POST /nodes/{name}/esl-close": "close every ESL connection without a word; ?reset=1: with RST",
}


def make_app(nodes: dict[str, Node]) -> web.Application:
    """The application over `nodes`, by name."""
    app = web.Application(middlewares=[_errors])
    app[NODES] = nodes
    app[_TASKS] = set()
    app.add_routes(
        [
            web.get("/", _index),
            web.get("/nodes", _list),
            web.patch("/nodes", _change_all),
            web.get("/nodes/{name}", _show),
            web.patch("/nodes/{name}", _change),
            web.patch("/nodes/{name}/faults", _faults),
            web.delete("/nodes/{name}/faults", _no_faults),
            web.post("/nodes/{name}/{action}", _act),
        ]
    )
    return app


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except (SettingsError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=400)
    except (RuntimeError, OSError) as error:
        return web.json_response({"error": str(error)}, status=409)


def _node(request: web.Request) -> Node:
    name = request.match_info["name"]
    nodes = request.app[NODES]
    node = nodes.get(name)
    if node is None:
        raise web.HTTPNotFound(text=f"no node {name!r}; nodes: {', '.join(nodes)}\n")
    return node


async def _body(request: web.Request) -> dict[str, Any]:
    values = await request.json()
    if not isinstance(values, dict):
        raise SettingsError("the body must be a JSON object")
    return values


async def _index(request: web.Request) -> web.Response:
    del request
    return web.json_response({"routes": ROUTES})


async def _list(request: web.Request) -> web.Response:
    return web.json_response([node.describe() for node in request.app[NODES].values()])


async def _show(request: web.Request) -> web.Response:
    return web.json_response(_node(request).describe())


async def _change(request: web.Request) -> web.Response:
    node = _node(request)
    node.change(await _body(request))
    return web.json_response(node.describe())


async def _change_all(request: web.Request) -> web.Response:
    values = await _body(request)
    for node in request.app[NODES].values():
        node.change(values)
    return await _list(request)


async def _faults(request: web.Request) -> web.Response:
    node = _node(request)
    node.change_faults(await _body(request))
    return web.json_response(node.describe())


async def _no_faults(request: web.Request) -> web.Response:
    node = _node(request)
    node.clear_faults()
    return web.json_response(node.describe())


def _direction(request: web.Request) -> Direction | None:
    word = request.query.get("direction", "")
    if word == "inbound":
        return "inbound"
    if word == "outbound":
        return "outbound"
    if word in {"", "both"}:
        return None
    raise SettingsError(f"direction: {word!r} is not inbound or outbound")


async def _start(node: Node, request: web.Request) -> None:
    starting = asyncio.ensure_future(node.start())
    if request.query.get("wait") == "1":
        await starting
        return
    await asyncio.sleep(0)  # a node that runs already is an error of this request
    if starting.done():
        starting.result()
        return
    tasks = request.app[_TASKS]
    tasks.add(starting)
    starting.add_done_callback(tasks.discard)


async def _shutdown(node: Node, request: web.Request) -> None:
    mode = request.query.get("mode", "")
    if mode == "cancel":
        node.cancel_shutdown()
    elif mode in {"elegant", "asap"}:
        node.request_shutdown(mode)
    elif mode == "":
        node.begin_shutdown()
    else:
        raise SettingsError(f"mode: {mode!r} is not elegant, asap or cancel")


async def _act(request: web.Request) -> web.Response:
    node, action = _node(request), request.match_info["action"]
    if action == "start":
        await _start(node, request)
    elif action == "shutdown":
        await _shutdown(node, request)
    elif action in {"pause", "resume"}:
        node.status.set_paused(_direction(request), paused=action == "pause")
    elif action == "standby":
        node.status.standby = request.query.get("on", "1") == "1"
    elif action == "garbage":
        node.esl.write_raw(os.urandom(int(request.query.get("size", "256"))))
    elif action == "esl-close":
        node.esl.drop_all(reset=request.query.get("reset") == "1")
    elif (simple := _SIMPLE.get(action)) is not None:
        simple(node)
    else:
        raise web.HTTPNotFound(text=f"no action {action!r}; GET / lists them\n")
    return web.json_response(node.describe())


_SIMPLE: dict[str, Callable[[Node], object]] = {
    "term": Node.terminate,
    "crash": Node.crash,
    "hupall": Node.hang_up_all,
    "reinvite": Node.reinvite_all,
    "heartbeat": Node.heartbeat,
    "notice-mid-frame": Node.cut_in_mid_frame,
}
