"""One dialogue with a node's Event Socket, from the first byte to the last.

Sans-IO: bytes, the end of the stream and the time go in; bytes, events and the ending come out. Knows the order of
things (greeting, login, subscription, polls) and what each failure is called; knows no sockets, and nothing of
reconnecting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from switchtender.drivers.esl import parse, wire
from switchtender.drivers.esl.wire import Credentials, Frame, FramingError
from switchtender.drivers.reports import Event, Link, LinkState, PauseAnswer, PollTimeout, Readiness, Shutdown

# Four small events and no more: a client that does not keep up can freeze the whole node, and channel events are
# tens of kilobytes a call. Names that an older node does not know are skipped by it.
SUBSCRIBE: Final = "event json HEARTBEAT SHUTDOWN SHUTDOWN_REQUESTED STARTUP"
STATUS: Final = "api status"
READY_CHECK: Final = "api fsctl ready_check"
PAUSE_CHECK: Final = "api fsctl pause_check inbound"
SHUTDOWN_CHECK: Final = "api fsctl shutdown_check"
CHECKS: Final = (READY_CHECK, PAUSE_CHECK, SHUTDOWN_CHECK)
PAUSE: Final = "api fsctl pause inbound"
RESUME: Final = "api fsctl resume inbound"
EXIT: Final = "exit"
_LOGIN: Final = "login"  # stands for the login command, which holds the password

_QUOTE: Final = 200  # characters of a node's own words that we pass on


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to wait and how often to ask; seconds."""

    greeting: float = 5.0
    login: float = 5.0
    poll: float = 1.0
    checks: float = 2.0

    @property
    def reply(self) -> float:
        """Until an unanswered command means silence: two polls in a row."""
        return 2 * self.poll


@dataclass(frozen=True, slots=True)
class Remark:
    """Something an operator should read once: the same `key` is the same remark."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class _Asked:
    command: str
    sent: float


class Session:
    """The state of one connection. After each input, take what it left in `take_output` and `take_events`.

    `ending` is how the session ended; None while it goes on. Inputs after the ending change nothing.
    """

    def __init__(self, credentials: Credentials, pace: Pace, now: float) -> None:
        self.ending: Link | None = None
        self._credentials = credentials
        self._pace = pace
        self._framer = wire.Framer()
        self._phase: Literal["greeting", "login", "open", "leaving"] = "greeting"
        self._began = now
        self._asked: deque[_Asked] = deque()
        self._next_poll = now
        self._next_checks = now
        self._checks: dict[str, bool | None] = {}
        self._told_ready: bool | None = None
        self._denied: set[str] = set()
        self._output = bytearray()
        self._events: list[Event | Remark] = []

    # Inputs

    def receive(self, data: bytes, now: float) -> None:
        """Bytes came from the node."""
        try:
            for frame in self._framer.feed(data):
                if self.ending is not None:
                    return
                self._handle(frame, now)
        except FramingError as error:
            self.end("protocol_error", str(error), now)

    def receive_eof(self, now: float) -> None:
        """The node ended the stream."""
        if self._phase == "greeting":
            where = " before its greeting"
        else:
            where = " in the middle of a frame" if self._framer.inside_frame else ""
        self.end("closed", f"the node closed the connection{where}", now)

    def tick(self, now: float) -> None:
        """Time has passed: give up on what took too long, ask what is due."""
        if self.ending is not None or self._phase == "leaving":
            return
        patience = self._patience()
        if patience is not None and now >= patience:
            self._give_up(now)
        elif self._phase == "open" and now >= self._next_poll:
            self._poll(now)

    def leave(self) -> None:
        """Say goodbye. The node answers by closing the connection; nothing else it says matters any more."""
        if self.ending is None and self._phase != "leaving":
            self._phase = "leaving"
            self._output += wire.command(EXIT)

    def set_paused(self, now: float, *, paused: bool) -> bool:
        """Pause inbound calls on the node, or resume them; False where there is no login. A `PauseAnswer` follows, then
        a `Readiness` of after it.
        """
        if self.ending is not None or self._phase != "open":
            return False
        self._ask(PAUSE if paused else RESUME, now)
        self._ask(PAUSE_CHECK, now)
        return True

    def end(self, state: LinkState, detail: str, now: float) -> None:
        """The session is over, for a reason of its own or one from outside; the first one given stands."""
        if self.ending is None:
            self.ending = Link(state=state, detail=detail, since=now)
            self._events.append(self.ending)
            self._output.clear()

    # Outputs

    @property
    def deadline(self) -> float | None:
        """When `tick` is next needed; None for never."""
        if self.ending is not None or self._phase == "leaving":
            return None
        moments = (self._patience(), self._next_poll if self._phase == "open" else None)
        return min(moment for moment in moments if moment is not None)

    def take_output(self) -> bytes:
        """The bytes to send now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def take_events(self) -> list[Event | Remark]:
        """What happened since the last call, in order. The ending comes last, and once."""
        events, self._events = self._events, []
        return events

    # Time

    def _patience(self) -> float | None:
        if self._phase == "greeting":
            return self._began + self._pace.greeting
        if not self._asked:
            return None
        return self._asked[0].sent + (self._pace.login if self._phase == "login" else self._pace.reply)

    def _give_up(self, now: float) -> None:
        # Replies carry no name: after one that did not come, the later ones cannot be told apart. No way but out.
        if self._phase == "greeting":
            self.end("silent", f"no greeting within {self._pace.greeting:g} s", now)
        elif self._phase == "open":
            self._events.append(PollTimeout(received=now))
            self.end("silent", f"no answer to '{self._asked[0].command}' within {self._pace.reply:g} s", now)
        elif self._framer.pending.startswith(b"Content-Type: command/reply\nReply-Text: +OK"):
            # userauth answers out of a buffer of 512 bytes and drops the end of a longer reply.
            self.end("protocol_error", "the login reply is cut off: shorten the user's esl-allowed-* lists", now)
        else:
            self.end("silent", f"no answer to the login within {self._pace.login:g} s", now)

    def _poll(self, now: float) -> None:
        # Readiness before load: nobody is to see the figures of a paused node and not that it is paused.
        if now >= self._next_checks:
            self._next_checks = _next(self._next_checks, self._pace.checks, now)
            for check in CHECKS:
                if check not in self._denied:
                    self._ask(check, now)
        self._next_poll = _next(self._next_poll, self._pace.poll, now)
        self._ask(STATUS, now)

    def _ask(self, command: str, now: float) -> None:
        self._output += wire.command(command)
        self._asked.append(_Asked(command, now))

    # Frames

    def _handle(self, frame: Frame, now: float) -> None:
        if frame.content_type == wire.DISCONNECT_NOTICE:
            # With "linger" the node goes on talking after its notice.
            if frame.headers.get("content-disposition", "").lower() != "linger":
                self.end("closed", f"the node said: {self._quote(frame.text)}", now)
        elif self._phase == "leaving":
            return
        elif frame.content_type == wire.AUTH_REQUEST:
            self._greeted(now)
        elif frame.content_type == wire.RUDE_REJECTION:
            self.end("acl_rejected", "the node's access list (apply-inbound-acl) excludes our address", now)
        elif frame.content_type in {wire.COMMAND_REPLY, wire.API_RESPONSE}:
            self._answered(frame, now)
        elif frame.content_type in {wire.EVENT_JSON, wire.EVENT_PLAIN}:
            self._on_event(frame, now)
        # Any other kind is one that we did not ask for, of a version that we do not know.

    def _greeted(self, now: float) -> None:
        if self._phase != "greeting":
            self.end("protocol_error", "a second greeting", now)
            return
        self._phase = "login"
        self._output += wire.login_command(self._credentials)
        self._asked.append(_Asked(_LOGIN, now))

    def _answered(self, frame: Frame, now: float) -> None:
        if not self._asked:
            self.end("protocol_error", "an answer to nothing", now)
            return
        asked = self._asked.popleft()
        is_api = asked.command.startswith("api ")
        if frame.content_type == wire.API_RESPONSE and not is_api:
            self.end("protocol_error", f"an api response as the answer to '{asked.command}'", now)
            return
        if frame.content_type == wire.COMMAND_REPLY and is_api and asked.command not in {PAUSE, RESUME}:
            self._on_denied(asked.command, frame.reply_text, now)
        handlers: dict[str, Callable[[Frame, _Asked, float], None]] = {
            _LOGIN: self._on_login,
            SUBSCRIBE: self._on_subscribe,
            STATUS: self._on_status,
            PAUSE: self._on_paused,
            RESUME: self._on_paused,
        }
        handlers.get(asked.command, self._on_check)(frame, asked, now)

    def _on_login(self, frame: Frame, _: _Asked, now: float) -> None:
        if not frame.reply_text.startswith("+OK"):
            self.end("auth_failed", f"the node refused the login: {self._quote(frame.reply_text)}", now)
            return
        self._phase = "open"
        self._next_poll = self._next_checks = now
        self._events.append(Link(state="authenticated", detail="logged in", since=now))
        self._ask(SUBSCRIBE, now)
        self._poll(now)

    def _on_subscribe(self, frame: Frame, asked: _Asked, now: float) -> None:
        if not frame.reply_text.startswith("+OK"):
            self._on_denied(asked.command, frame.reply_text, now)

    def _on_denied(self, command: str, reply: str, now: float) -> None:
        """The node refuses a command to this user; it goes on with the others as long as one gives load figures."""
        self._denied.add(command)
        if {SUBSCRIBE, STATUS} <= self._denied:
            self.end("auth_failed", "the user may neither receive HEARTBEAT events nor run 'status'", now)
            return
        lost = {
            SUBSCRIBE: "no heartbeats, load comes from polls only",
            STATUS: "no polls, load comes from heartbeats only",
        }.get(command, "whether it is paused or draining is unknown")
        key = "checks" if command in CHECKS else command
        self._events.append(Remark(key, f"the node refuses '{command}' ({self._quote(reply)}): {lost}"))

    def _on_status(self, frame: Frame, asked: _Asked, now: float) -> None:
        if frame.content_type == wire.COMMAND_REPLY:
            return
        status = parse.status(frame.text, sent=asked.sent, received=now)
        # `status` tells one thing of the three that the checks do, but oftener, and to users who may not ask those.
        if status.ready is not None and status.ready != self._told_ready:
            self._tell_readiness(now, ready=status.ready)
        if status.report is not None:
            self._events.append(status.report)
        else:
            self._events.append(Remark("status text", f"unreadable output of 'status': {self._quote(frame.text)}"))

    def _on_paused(self, frame: Frame, _: _Asked, now: float) -> None:
        """Refused to this user, by a command reply, or by the command itself."""
        said = frame.text if frame.content_type == wire.API_RESPONSE else frame.reply_text
        accepted = frame.content_type == wire.API_RESPONSE and said.startswith("+OK")
        self._events.append(PauseAnswer(accepted=accepted, detail=self._quote(said), received=now))

    def _on_check(self, frame: Frame, asked: _Asked, now: float) -> None:
        self._checks[asked.command] = parse.check(frame.text)
        ready = self._checks.get(READY_CHECK)
        round_is_complete = not any(other.command in CHECKS for other in self._asked)
        if round_is_complete and ready is not None:
            self._tell_readiness(now, ready=ready)

    def _tell_readiness(self, now: float, *, ready: bool) -> None:
        self._told_ready = ready
        paused, shutdown = self._checks.get(PAUSE_CHECK), self._checks.get(SHUTDOWN_CHECK)
        self._events.append(Readiness(ready=ready, paused_inbound=paused, shutdown_requested=shutdown, received=now))

    def _on_event(self, frame: Frame, now: float) -> None:
        event = wire.decode_event(frame)
        name = event.name if event else ""
        if event and name == "HEARTBEAT" and (report := parse.heartbeat_report(event, now)):
            self._events.append(report)
        elif name in {"SHUTDOWN", "SHUTDOWN_REQUESTED"}:
            self._events.append(Shutdown(requested=name == "SHUTDOWN_REQUESTED", received=now))
        elif name in {"", "HEARTBEAT"}:
            self._events.append(Remark("event", f"an unreadable event: {self._quote(frame.text)}"))
        # STARTUP brings nothing that the next report's Core-UUID does not.

    def _quote(self, text: str) -> str:
        """The node's own words, fit for one line of a log, whatever it echoes."""
        if self._credentials.password:
            text = text.replace(self._credentials.password, "***")
        line = text.strip().partition("\n")[0][:_QUOTE]
        return "".join(character if character.isprintable() else "?" for character in line)


def _next(moment: float, interval: float, now: float) -> float:
    """The next moment of a rhythm; a late one is left out, not made up for."""
    following = moment + interval
    return following if following > now else now + interval
