"""The `api` commands that a load balancer may use, with the texts of FreeSWITCH 1.11.1; they act on a `Core`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from switchtender_simulator.accounting import SessionLedger
from switchtender_simulator.api_output import Delay, Output, WhenIdle
from switchtender_simulator.events import duration_parts, duration_text
from switchtender_simulator.lifecycle import Direction, Phase, Status

_FSCTL_WORDS = (
    "[api_expansion [on|off]|recover|send_sighup|hupall|pause [inbound|outbound]|resume [inbound|outbound]|shutdown"
    " [cancel|elegant|asap|now|restart]|uuid_version [4|7]|sps|sps_peak_reset|sync_clock|sync_clock_when_idle|"
    "reclaim_mem|max_sessions|min_dtmf_duration [num]|max_dtmf_duration [num]|default_dtmf_duration [num]|"
    "min_idle_cpu|loglevel [level]|debug_level [level]|mdns_resolve [enable|disable]]"
)
_RULE = "=" * 97


class Core(Protocol):
    """The node as the commands see it."""

    @property
    def ledger(self) -> SessionLedger: ...
    @property
    def status(self) -> Status: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sip_host_port(self) -> str: ...
    @property
    def uptime(self) -> float: ...
    @property
    def wall(self) -> float: ...
    @property
    def live_calls(self) -> int: ...

    def begin_shutdown(self) -> None:
        """Plain `fsctl shutdown`: hang up everything and stop."""

    def request_shutdown(self, mode: str) -> None:
        """`fsctl shutdown elegant|asap`: fires SHUTDOWN_REQUESTED and stops when empty."""

    def cancel_shutdown(self) -> None:
        """`fsctl shutdown cancel`."""

    def crash(self) -> None:
        """`fsctl shutdown now`."""

    def hang_up_all(self) -> None:
        """`hupall`."""


def run(core: Core, command: str, arguments: str) -> Output:
    """Output of `api <command> <arguments>`."""
    handler = _COMMANDS.get(command)
    if handler is None:
        return f"-ERR {command} Command not found!\n"
    return handler(core, arguments)


def _status(core: Core, arguments: str) -> Output:
    del arguments
    ledger = core.ledger
    return (
        f"UP {duration_text(core.uptime)}\n"
        f"FreeSWITCH (Version {core.version}-release  64bit) is {'ready' if core.status.ready else 'not ready'}\n"
        f"{ledger.since_startup} session(s) since startup\n"
        f"{ledger.count} session(s) - peak {ledger.peak}, last 5min {ledger.peak_five_minutes} \n"
        f"{ledger.last_second} session(s) per Sec out of max {ledger.sessions_per_second},"
        f" peak {ledger.last_second_peak}, last 5min {ledger.last_second_peak_five_minutes} \n"
        f"{ledger.max_sessions} session(s) max\n"
        f"min idle cpu {ledger.min_idle_cpu:.2f}/{ledger.idle_cpu:.2f}\n"
        "Current Stack Size/Max 240K/8192K\n"
    )


def _json(core: Core, arguments: str) -> Output:
    try:
        request = json.loads(arguments)
    except ValueError:
        return "-ERR Invalid JSON\n"
    command = request.get("command") if isinstance(request, dict) else None
    if command != "status" or "data" not in request:
        error = {"status": "error", "message": "Invalid request or non-existant command", "response": None}
        return _compact({**request, **error} if isinstance(request, dict) else error) + "\n"
    ledger = core.ledger
    uptime = {f"{unit}s": number for number, unit in duration_parts(core.uptime)}
    response = {
        "systemStatus": "ready" if core.status.ready else "not ready",
        "uptime": uptime,
        "version": f"{core.version}-release  64bit",
        "sessions": {
            "count": {
                "total": ledger.since_startup,
                "active": ledger.count,
                "peak": ledger.peak,
                "peak5Min": ledger.peak_five_minutes,
                "limit": ledger.max_sessions,
            },
            "rate": {
                "current": ledger.last_second,
                "max": ledger.sessions_per_second,
                "peak": ledger.last_second_peak,
                "peak5Min": ledger.last_second_peak_five_minutes,
            },
        },
        # The labels are the real one's, exchanged as there: `used` is the setting, `allowed` the measurement.
        "idleCPU": {"used": _number(ledger.min_idle_cpu), "allowed": _number(ledger.idle_cpu)},
        "stackSizeKB": {"current": 240, "max": 8192},
    }
    return _compact({**request, "status": "success", "response": response}) + "\n"


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 6)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _word(value: object) -> str:
    return "true" if value else "false"


def _direction(word: str) -> Direction | None:
    return "inbound" if word == "inbound" else "outbound" if word == "outbound" else None


def _fsctl(core: Core, arguments: str) -> Output:
    words = arguments.split()
    if not words:
        return f"-USAGE: {_FSCTL_WORDS}\n"
    handler = _FSCTL.get(words[0])
    if handler is None:
        return f"-ERR Invalid command\nUSAGE: fsctl {_FSCTL_WORDS}\n"
    return handler(core, words[1:])


def _ready_check(core: Core, words: list[str]) -> Output:
    del words
    return _word(core.status.ready)


def _pause_check(core: Core, words: list[str]) -> Output:
    return _word(core.status.pause_check(_direction(words[0] if words else "")))


def _shutdown_check(core: Core, words: list[str]) -> Output:
    del words
    return _word(core.status.shutdown_check)


def _pause(core: Core, words: list[str]) -> Output:
    core.status.set_paused(_direction(words[0] if words else ""), paused=True)
    return "+OK\n"


def _resume(core: Core, words: list[str]) -> Output:
    core.status.set_paused(_direction(words[0] if words else ""), paused=False)
    return "+OK\n"


def _shutdown(core: Core, words: list[str]) -> Output:
    mode = words[0] if words else ""
    if mode == "cancel":
        core.cancel_shutdown()
    elif mode in {"elegant", "asap"}:
        core.request_shutdown(mode)
        return WhenIdle("+OK\n")
    elif mode == "now":
        core.crash()
    else:
        core.begin_shutdown()
    return "+OK\n"


def _integer(words: list[str]) -> int:
    return int(words[0]) if words and words[0].isdigit() else 0


def _max_sessions(core: Core, words: list[str]) -> Output:
    return f"+OK max sessions: {core.ledger.set_limit(_integer(words))}\n"


def _sps(core: Core, words: list[str]) -> Output:
    return f"+OK sessions per second: {core.ledger.set_rate(_integer(words))}\n"


def _last_sps(core: Core, words: list[str]) -> Output:
    del words
    return f"+OK last sessions per second: {core.ledger.last_second}\n"


def _sps_peak_reset(core: Core, words: list[str]) -> Output:
    del words
    core.ledger.reset_rate_peak()
    return "+OK max sessions per second counter reset\n"


def _min_idle_cpu(core: Core, words: list[str]) -> Output:
    if words:
        try:
            core.ledger.min_idle_cpu = max(0.0, float(words[0]))
        except ValueError:
            core.ledger.min_idle_cpu = 0.0
    value = core.ledger.min_idle_cpu
    return f"+OK min idle cpu: {f'{value:.0f}%' if value else 'DISABLED'}\n"


def _hupall(core: Core, words: list[str]) -> Output:
    del words
    core.hang_up_all()
    return "+OK\n"


def _show(core: Core, arguments: str) -> Output:
    words = arguments.split()
    if not words or words[0] not in {"calls", "channels"}:
        return "-USAGE: codec|endpoint|application|api|dialplan|file|timer|calls [count]|channels [count]\n"
    rows = core.live_calls if words[0] == "calls" else core.ledger.count
    as_json = words[-2:] == ["as", "json"]
    if "count" in words:
        return f'{{"row_count":{rows},"rows":[]}}' if as_json else f"\n{rows} total.\n"
    return f'{{"row_count": {rows}}}\n' if as_json else f"\n{rows} total.\n"


def _uptime(core: Core, arguments: str) -> Output:
    scales = {"ms": 1000, "us": 1_000_000, "m": 1 / 60, "h": 1 / 3600, "d": 1 / 86400}
    scale = scales.get(arguments.strip(), 1)
    return f"{int(core.uptime * scale)}\n"


def _version(core: Core, arguments: str) -> Output:
    if arguments.strip() == "short":
        return core.version
    return f"FreeSWITCH Version {core.version}-release~64bit ( 64bit)\n"


def _sofia(core: Core, arguments: str) -> Output:
    words = arguments.split()
    if words[:2] == ["global", "standby"] and len(words) == 3:
        core.status.standby = words[2] == "on"
        return f"+OK Global standby {words[2]}"
    if words == ["status"]:
        address = f"sip:mod_sofia@{core.sip_host_port}"
        state = "RUNNING" if core.status.phase is Phase.RUNNING else "DOWN"
        return (
            f"{'Name':>25}\t{'Type':>7}\t{'Data':>42}\tState\n{_RULE}\n"
            f"{'internal':>25}\tprofile\t{address:>42}\t{state} ({core.live_calls})\n{_RULE}\n1 profile 0 aliases\n"
        )
    return "-ERR Unknown command!\n"


def _msleep(core: Core, arguments: str) -> Output:
    del core
    return Delay(_integer(arguments.split()) / 1000, "+OK")


def _echo(core: Core, arguments: str) -> Output:
    del core
    return arguments


def _hup(core: Core, arguments: str) -> Output:
    core.hang_up_all()
    return f"+OK hangup all channels with cause {arguments.strip() or 'MANAGER_REQUEST'}\n"


def _name(core: Core, arguments: str) -> Output:
    del arguments
    return core.name


def _strepoch(core: Core, arguments: str) -> Output:
    del arguments
    return str(int(core.wall))


_FSCTL: dict[str, Callable[[Core, list[str]], Output]] = {
    "ready_check": _ready_check,
    "pause_check": _pause_check,
    "shutdown_check": _shutdown_check,
    "pause": _pause,
    "resume": _resume,
    "shutdown": _shutdown,
    "max_sessions": _max_sessions,
    "sps": _sps,
    "last_sps": _last_sps,
    "sps_peak_reset": _sps_peak_reset,
    "min_idle_cpu": _min_idle_cpu,
    "hupall": _hupall,
}
_COMMANDS: dict[str, Callable[[Core, str], Output]] = {
    "status": _status,
    "json": _json,
    "fsctl": _fsctl,
    "show": _show,
    "uptime": _uptime,
    "version": _version,
    "sofia": _sofia,
    "msleep": _msleep,
    "echo": _echo,
    "hupall": _hup,
    "hostname": _name,
    "switchname": _name,
    "strepoch": _strepoch,
}
