"""One simulated FreeSWITCH: its parts put together, its boot, its heartbeats and its end.

Here are the event loop and the clocks; the rules are in `accounting`, `lifecycle`, `dialog` and `esl_session`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from random import Random
from typing import Any

from switchtender_simulator import api
from switchtender_simulator.accounting import RequestMeter, SessionLedger, uint32
from switchtender_simulator.api_output import Delay, Output
from switchtender_simulator.counters import Counters
from switchtender_simulator.dialog.answers import NORMAL_CLEARING, Identity
from switchtender_simulator.dialog.uas import Uas
from switchtender_simulator.esl_server import EslServer
from switchtender_simulator.events import Event, EventSource, duration_text
from switchtender_simulator.lifecycle import Phase, Status
from switchtender_simulator.settings import FIXED, Faults, NodeSettings, format_address, update
from switchtender_simulator.sip_message import Address
from switchtender_simulator.sip_socket import SipSocket
from switchtender_simulator.timers import Timers

# Seconds after SHUTDOWN, as measured.
_LAST_HEARTBEAT = 0.4
_TEARDOWN = 0.5
_NOTICE = 0.75
_EXIT = 4.3
_ANSWERING = 0.75  # share of the boot time at which SIP begins to answer
_IDLE_POLL = 0.05
_RATE_POLL = 0.2


class Node:
    """A node that can boot, crash, shut down and boot again; settings and faults outlive its process, all else not."""

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.faults = Faults()
        self.lives = 0
        self.stopped = asyncio.Event()
        self.stopped.set()
        self._loop = asyncio.get_running_loop()
        self._random = Random()
        self._sip_address: Address = settings.sip_address
        self._esl_address: Address = settings.esl_address
        self._socket: SipSocket | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reset()

    def _reset(self) -> None:
        """A new process: new Core-UUID, counters at zero."""
        settings, now = self.settings, self._loop.time()
        self._born = now
        self.core_uuid = str(uuid.uuid4())
        self._status = Status(options_respond_503=settings.version == "1.10.12")
        self.counters = Counters()
        self._timers = Timers()
        self._ledger = SessionLedger(
            max_sessions=settings.max_sessions,
            sessions_per_second=settings.sessions_per_second,
            now=now,
            zombie_seconds=settings.zombie_seconds,
        )
        self._ledger.idle_cpu = settings.idle_cpu
        self._meter = RequestMeter(limit=settings.max_requests_per_second, now=now)
        self._events = EventSource(self.core_uuid, settings.name, settings.name, self._sip_address[0])
        self.esl = EslServer(settings=settings, faults=self.faults, host=self)
        self.uas = Uas(
            settings=settings,
            faults=self.faults,
            identity=Identity(settings.name, *self._sip_address),
            status=self._status,
            ledger=self._ledger,
            meter=self._meter,
            timers=self._timers,
            counters=self.counters,
            send=self._send,
            random=self._random,
        )

    # --- life --------------------------------------------------------------------------------------

    async def start(self, *, at_once: bool = False) -> None:
        """Boot: bound but deaf, then refusing, then running with ESL open; `at_once` skips the waiting.

        Raises OSError when an address is taken, RuntimeError when the node runs already.
        """
        if self._status.phase is not Phase.STOPPED:
            raise RuntimeError(f"{self.settings.name} is {self._status.phase}")
        boot = 0.0 if at_once else self.settings.boot_time
        self._socket = SipSocket(self._sip_address)
        self._sip_address = self._socket.address
        self._reset()
        self.lives += 1
        self.stopped.clear()
        status = self._status
        status.phase = Phase.DEAF
        await asyncio.sleep(boot * _ANSWERING)
        if not self._still(status, Phase.DEAF):
            return
        status.phase = Phase.BOOTING
        self._socket.listen(self._receive)
        await asyncio.sleep(boot * (1 - _ANSWERING))
        if not self._still(status, Phase.BOOTING):
            return
        try:
            self._esl_address = await self.esl.open(self._esl_address)
        except OSError:
            self.crash()
            raise
        status.phase = Phase.RUNNING
        self._ledger.set_background(self.settings.background_sessions)
        self._spawn(self._heartbeats())
        self._spawn(self._outside_calls())

    def _still(self, status: Status, phase: Phase) -> bool:
        return self._status is status and status.phase is phase

    def crash(self) -> None:
        """SIGKILL: every socket is closed at once, nothing is said."""
        self.esl.close(abrupt=True)
        self._exit()

    def terminate(self) -> None:
        """SIGTERM."""
        if self._status.phase is not Phase.RUNNING:
            self.crash()
        elif self.settings.elegant_term:
            self.request_shutdown("elegant")
        else:
            self.begin_shutdown()

    def begin_shutdown(self) -> None:
        """Orderly stop: SHUTDOWN event, BYE to every call, 410 while the profile goes, ESL notice, exit."""
        if self._status.phase is Phase.RUNNING:
            self._status.phase = Phase.STOPPING
            self._spawn(self._shutdown())

    async def _shutdown(self) -> None:
        started = self._loop.time()
        self._fire("SHUTDOWN", ("switch_core.c", "switch_core_destroy", 3033), [("Event-Info", "System Shutting Down")])
        self.uas.hang_up_all(started)
        self._ledger.set_background(0)
        self._arm()
        await asyncio.sleep(_LAST_HEARTBEAT)
        if not self.faults.no_heartbeat:
            self.heartbeat()  # measured: one more "System Ready" after SHUTDOWN
        await asyncio.sleep(_TEARDOWN - _LAST_HEARTBEAT)
        self._status.phase = Phase.TEARDOWN
        self._spawn(self._last_notice(started + _NOTICE - self._loop.time()))
        await asyncio.sleep(0.01)  # even when every BYE was answered there is a moment of 410
        while self.uas.unfinished:
            await asyncio.sleep(0.02)
        self._status.phase = Phase.CLOSED
        self._close_socket()
        await asyncio.sleep(max(0.0, started + _EXIT - self._loop.time()))
        self._exit()

    async def _last_notice(self, delay: float) -> None:
        await asyncio.sleep(max(0.0, delay))
        self.esl.close()

    def request_shutdown(self, mode: str) -> None:
        """`fsctl shutdown elegant|asap`, and SIGTERM with -elegant-term."""
        self._status.request_shutdown(mode)
        info = "ASAP" if mode == "asap" else mode
        self._fire("SHUTDOWN_REQUESTED", ("switch_core.c", "switch_core_session_ctl", 2825), [("Event-Info", info)])
        self._spawn(self._shutdown_when_idle())

    async def _shutdown_when_idle(self) -> None:
        await self.until_idle()
        if self._status.shutdown_check:
            self.begin_shutdown()

    async def until_idle(self) -> None:
        """Returns when no session is left or no shutdown is requested any more."""
        while self._status.shutdown_check:
            self.ledger_now()
            if self._ledger.count <= 0:
                return
            await asyncio.sleep(_IDLE_POLL)

    def cancel_shutdown(self) -> None:
        """`fsctl shutdown cancel`."""
        self._status.cancel_shutdown()

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exit(self) -> None:
        self._status.phase = Phase.STOPPED
        self.esl.close(abrupt=True)
        self._close_socket()
        self._timers.clear()
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()
        self.stopped.set()

    def clear_faults(self) -> None:
        """All fault switches off."""
        self.change_faults(dataclasses.asdict(Faults()))

    async def close(self) -> None:
        """The simulator itself ends."""
        self.crash()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- SIP ---------------------------------------------------------------------------------------

    def _receive(self, data: bytes, source: Address) -> None:
        if self.faults.sip_silent:
            self.counters.unanswered += 1
            return
        self.uas.receive(data, source, self._loop.time())
        self._arm()

    def _send(self, data: bytes, destination: Address) -> None:
        if self._socket is not None and not self.faults.sip_silent:
            self._socket.send(data, destination)

    def _arm(self) -> None:
        """Wake up for the next deadline."""
        deadline = self._timers.next_deadline()
        if self._wake is not None:
            if deadline is not None and self._wake.when() <= deadline:
                return  # early is harmless: it arms again
            self._wake.cancel()
            self._wake = None
        if deadline is not None:
            self._wake = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._wake = None
        now = self._loop.time()
        self._ledger.advance(now)
        self._timers.run(now)
        self._arm()

    def hang_up_all(self) -> None:
        """`hupall`."""
        self.uas.hang_up_all(self._loop.time(), reason=NORMAL_CLEARING)
        self._arm()

    def reinvite_all(self) -> None:
        """Send a re-INVITE to every caller."""
        self.uas.reinvite_all(self._loop.time())
        self._arm()

    # --- load that no balancer sent ----------------------------------------------------------------

    async def _outside_calls(self) -> None:
        while self._status.phase is Phase.RUNNING:
            rate = self.settings.outside_rate
            gap = self._random.expovariate(rate) if rate > 0 else _RATE_POLL
            # Poisson arrivals have no memory: a gap may be cut short and drawn again, so a new rate acts soon.
            await asyncio.sleep(min(gap, _RATE_POLL))
            if gap < _RATE_POLL and not self._status.paused_inbound:
                self._outside_call()

    def _outside_call(self) -> None:
        now = self.ledger_now()
        self.counters.outside_calls += 1
        if self._ledger.open_inbound() is not None or self._ledger.confirm(now) is not None:
            self.counters.outside_refused += 1
            return
        holding = self._random.expovariate(1 / self.settings.outside_holding)
        self._timers.at(now + holding, self._outside_end)
        self._arm()

    def _outside_end(self, now: float) -> None:
        del now
        self._ledger.release()

    # --- events ------------------------------------------------------------------------------------

    async def _heartbeats(self) -> None:
        while self._status.phase is Phase.RUNNING:
            # Against a fixed grid, so that the beats do not drift; a changed interval starts a new grid.
            interval, start = self.settings.heartbeat_interval, self._loop.time()
            while interval == self.settings.heartbeat_interval and self._status.phase is Phase.RUNNING:
                due = start + interval
                while self._loop.time() < due and interval == self.settings.heartbeat_interval:
                    await asyncio.sleep(min(0.5, due - self._loop.time()))
                if interval != self.settings.heartbeat_interval or self._status.phase is not Phase.RUNNING:
                    break
                start = due
                if not (self.faults.no_heartbeat or self.faults.frozen):
                    self.heartbeat()

    def heartbeat(self) -> Event:
        """Make and publish one HEARTBEAT."""
        self.ledger_now()
        ledger, uptime = self._ledger, self.uptime
        extra = [
            ("Event-Info", "System Ready"),
            ("Up-Time", duration_text(uptime)),
            ("FreeSWITCH-Version", f"{self.settings.version}-release~64bit"),
            ("Uptime-msec", str(int(uptime * 1000))),
            ("Session-Count", str(ledger.count)),
            ("Max-Sessions", str(ledger.max_sessions)),
            ("Session-Per-Sec", str(uint32(ledger.tokens))),
            ("Session-Per-Sec-Last", str(uint32(ledger.last_second))),
            ("Session-Per-Sec-Max", str(ledger.last_second_peak)),
            ("Session-Per-Sec-FiveMin", str(ledger.last_second_peak_five_minutes)),
            ("Session-Since-Startup", str(ledger.since_startup)),
            ("Session-Peak-Max", str(ledger.peak)),
            ("Session-Peak-FiveMin", str(ledger.peak_five_minutes)),
            ("Idle-CPU", f"{ledger.idle_cpu:f}"),
        ]
        return self._fire("HEARTBEAT", ("switch_core.c", "send_heartbeat", 95), extra)

    def _fire(self, name: str, origin: tuple[str, str, int], extra: list[tuple[str, str]], *, body: str = "") -> Event:
        event = self._events.make(name, origin, self.wall, extra, body=body)
        self.esl.publish(event)
        return event

    def cut_in_mid_frame(self) -> None:
        """Fault: a notice in the middle of a HEARTBEAT frame, then close, on every ESL connection."""
        self.esl.cut_in_mid_frame(self.heartbeat())

    # --- what the Event Socket asks for (esl_session.Switch, api.Core) -----------------------------

    def run_api(self, command: str, arguments: str) -> Output:
        """An API command; everyone who subscribed to API events sees it."""
        self.ledger_now()
        extra = [("API-Command", command)] + ([("API-Command-Argument", arguments)] if arguments else [])
        self._fire("API", ("switch_loadable_module.c", "switch_api_execute", 2954), extra)
        return api.run(self, command, arguments)

    def run_job(self, command: str, arguments: str, job: str) -> None:
        """`bgapi`: the output comes as a BACKGROUND_JOB event."""
        self._spawn(self._job(command, arguments, job))

    async def _job(self, command: str, arguments: str, job: str) -> None:
        output = self.run_api(command, arguments)
        if isinstance(output, Delay):
            await asyncio.sleep(output.seconds)
        elif not isinstance(output, str):
            await self.until_idle()
        text = output if isinstance(output, str) else output.output
        extra = [("Job-UUID", job), ("Job-Command", command)] + ([("Job-Command-Arg", arguments)] if arguments else [])
        self._fire("BACKGROUND_JOB", ("mod_event_socket.c", "api_exec", 1569), extra, body=text or "-ERR no reply\n")

    def send_event(self, name: str, headers: list[tuple[str, str]], body: str) -> str:
        """`sendevent`."""
        event_uuid = self.new_uuid()
        origin = ("mod_event_socket.c", "parse_command", 2272)
        before = [*headers, ("Event-UUID", event_uuid)]
        self.esl.publish(self._events.make(name, origin, self.wall, [], body=body, before=before))
        return event_uuid

    def new_uuid(self) -> str:
        """A fresh UUID."""
        return str(uuid.uuid4())

    def ledger_now(self) -> float:
        """Bring the ledger up to now; returns the loop's time."""
        now = self._loop.time()
        self._ledger.advance(now)
        return now

    @property
    def ledger(self) -> SessionLedger:
        """The session accounting."""
        return self._ledger

    @property
    def status(self) -> Status:
        """Phase and flags."""
        return self._status

    @property
    def name(self) -> str:
        """Switch name."""
        return self.settings.name

    @property
    def version(self) -> str:
        """FreeSWITCH version played."""
        return self.settings.version

    @property
    def sip_host_port(self) -> str:
        """The SIP address as text."""
        return format_address(self._sip_address)

    @property
    def esl_host_port(self) -> str:
        """The ESL address as text."""
        return format_address(self._esl_address)

    @property
    def uptime(self) -> float:
        """Seconds since the process started."""
        return self._loop.time() - self._born

    @property
    def wall(self) -> float:
        """The node's own clock."""
        return time.time() + self.settings.clock_offset

    @property
    def live_calls(self) -> int:
        """Answered calls."""
        return self.uas.live_calls

    # --- the view from outside ---------------------------------------------------------------------

    def change(self, values: dict[str, Any]) -> None:
        """Set settings live; raises SettingsError and changes nothing when one is wrong."""
        update(self.settings, values, fixed=FIXED)
        settings, ledger = self.settings, self._ledger
        self.ledger_now()
        for name in (spelling.replace("-", "_") for spelling in values):
            if name == "max_sessions":
                ledger.set_limit(settings.max_sessions)
            elif name == "sessions_per_second":
                ledger.set_rate(settings.sessions_per_second)
            elif name == "max_requests_per_second":
                self._meter.limit = settings.max_requests_per_second
            elif name == "background_sessions" and self._status.phase is Phase.RUNNING:
                ledger.set_background(settings.background_sessions)
            elif name in {"zombie_seconds", "idle_cpu"}:
                setattr(ledger, name, getattr(settings, name))

    def change_faults(self, values: dict[str, Any]) -> None:
        """Set fault switches; raises SettingsError and changes nothing when one is wrong."""
        update(self.faults, values)
        self.esl.resume()

    def describe(self) -> dict[str, Any]:
        """Everything a test wants to know, as JSON-able values."""
        self.ledger_now()
        ledger, status = self._ledger, self._status
        return {
            "name": self.name,
            "phase": status.phase,
            "ready": status.ready,
            "paused_inbound": status.paused_inbound,
            "paused_outbound": status.paused_outbound,
            "standby": status.standby,
            "shutdown_requested": status.shutdown_requested,
            "core_uuid": self.core_uuid,
            "lives": self.lives,
            "uptime": round(self.uptime, 3),
            "sip": self.sip_host_port,
            "esl": self.esl_host_port,
            "esl_connections": len(self.esl.connections),
            "esl_accepted": self.esl.accepted,
            "sessions": ledger.count,
            "background_sessions": ledger.background,
            "zombies": ledger.zombies,
            "max_sessions": ledger.max_sessions,
            "peak": ledger.peak,
            "since_startup": ledger.since_startup,
            "last_second": ledger.last_second,
            "live_calls": self.uas.live_calls,
            "ringing_calls": self.uas.ringing_calls,
            "unsent_datagrams": self._socket.unsent if self._socket is not None else 0,
            "counters": self.counters.as_dict(),
            "faults": dataclasses.asdict(self.faults),
            "settings": dataclasses.asdict(self.settings),
        }
