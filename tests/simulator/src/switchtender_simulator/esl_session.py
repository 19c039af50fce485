"""One Event Socket connection's conversation: login, subscriptions, filters, command replies. No I/O, no clock.

Everything that touches the node goes through the `Switch` protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from switchtender_simulator.api_output import Delay, Output, WhenIdle
from switchtender_simulator.esl_wire import GOODBYE, Command, api_response, command_reply
from switchtender_simulator.events import Event, Format
from switchtender_simulator.settings import EslUser

_EVENT_NAMES = """
    CUSTOM CLONE CHANNEL_CREATE CHANNEL_DESTROY CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_ANSWER CHANNEL_HANGUP
    CHANNEL_HANGUP_COMPLETE CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HOLD CHANNEL_UNHOLD CHANNEL_BRIDGE
    CHANNEL_UNBRIDGE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_UNPARK
    CHANNEL_APPLICATION CHANNEL_ORIGINATE CHANNEL_UUID API LOG INBOUND_CHAN OUTBOUND_CHAN STARTUP SHUTDOWN PUBLISH
    UNPUBLISH TALK NOTALK SESSION_CRASH MODULE_LOAD MODULE_UNLOAD DTMF MESSAGE PRESENCE_IN NOTIFY_IN PRESENCE_OUT
    PRESENCE_PROBE MESSAGE_WAITING MESSAGE_QUERY ROSTER CODEC BACKGROUND_JOB DETECTED_SPEECH DETECTED_TONE
    PRIVATE_COMMAND HEARTBEAT TRAP ADD_SCHEDULE DEL_SCHEDULE EXE_SCHEDULE RE_SCHEDULE RELOADXML NOTIFY
    PHONE_FEATURE PHONE_FEATURE_SUBSCRIBE SEND_MESSAGE RECV_MESSAGE REQUEST_PARAMS CHANNEL_DATA GENERAL COMMAND
    SESSION_HEARTBEAT CLIENT_DISCONNECTED SERVER_DISCONNECTED SEND_INFO RECV_INFO RECV_RTCP_MESSAGE
    SEND_RTCP_MESSAGE CALL_SECURE NAT RECORD_START RECORD_STOP PLAYBACK_START PLAYBACK_STOP CALL_UPDATE FAILURE
    SOCKET_DATA MEDIA_BUG_START MEDIA_BUG_STOP CONFERENCE_DATA_QUERY CONFERENCE_DATA CALL_SETUP_REQ
    CALL_SETUP_RESULT CALL_DETAIL DEVICE_STATE TEXT SHUTDOWN_REQUESTED ALL
"""
EVENT_NAMES = frozenset(_EVENT_NAMES.split())
_PREFIX = "SWITCH_EVENT_"
_NOT_FOUND = "-ERR command not found"
_DENIED = "-ERR permission denied"
# userauth replies are built in 512 bytes, of which one is spent on a marker and one on the end of the string.
_USERAUTH_REPLY_LIMIT = 510


class Switch(Protocol):
    """What a connection needs from its node."""

    def run_api(self, command: str, arguments: str) -> Output:
        """Run an API command; also fires the API event."""

    def run_job(self, command: str, arguments: str, job: str) -> None:
        """Run an API command in the background; BACKGROUND_JOB follows."""

    def send_event(self, name: str, headers: list[tuple[str, str]], body: str) -> str:
        """Fire an event for a client; returns its UUID."""

    def new_uuid(self) -> str:
        """A fresh UUID."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command leads to: bytes now, or an API output that takes time (and blocks the connection), or the end."""

    data: bytes = b""
    wait: Delay | WhenIdle | None = None
    close: bool = False
    job: tuple[str, str, str] | None = None  # command, arguments, job UUID: to be started after `data` went out


@dataclass(slots=True)
class EslSession:
    """State of one connection; `handle` answers one command at a time, in order."""

    switch: Switch
    password: str
    users: list[EslUser]
    authenticated: bool = False
    greeted: bool = False  # any first command lifts the login time limit
    form: Format = "plain"
    _user: EslUser | None = None
    _names: set[str] = field(default_factory=set)
    _subclasses: set[str] = field(default_factory=set)
    _listening: bool = False
    _filters: list[tuple[str, str]] = field(default_factory=list)
    _logging: bool = False

    def wants(self, event: Event) -> bool:
        """Whether this connection is subscribed to the event and its filters let it pass."""
        if event.name == "CUSTOM":
            if "ALL" not in self._names and event.subclass not in self._subclasses:
                return False
        elif event.name not in self._names and "ALL" not in self._names:
            return False
        return not self._filters or self._passes(event)

    def _passes(self, event: Event) -> bool:
        """At least one positive filter must match, no negative one may: only-negative filters block everything."""
        positive = False
        for header, value in self._filters:
            negative = value.startswith("-")
            if any(name.lower() == header.lower() and _matches(value, content) for name, content in event.headers):
                if negative:
                    return False
                positive = True
        return positive

    def handle(self, command: Command) -> Reply:
        """The reply to one command."""
        self.greeted = True
        line = command.line
        lower = line.lower()
        if lower.startswith(("exit", "...")):
            return Reply(command_reply("+OK bye") + GOODBYE, close=True)
        if not self.authenticated:
            if lower.startswith("auth "):
                return self._auth(line[5:])
            if lower.startswith("userauth "):
                return self._userauth(line[9:])
            return Reply(command_reply(_NOT_FOUND))
        for prefix, handler in _HANDLERS:
            if lower.startswith(prefix):
                return handler(self, command, line[len(prefix) :])
        return Reply(command_reply(_NOT_FOUND))

    # --- login -------------------------------------------------------------------------------------

    def _auth(self, password: str) -> Reply:
        if password != self.password:
            return Reply(command_reply("-ERR invalid") + GOODBYE, close=True)
        self.authenticated = True
        return Reply(command_reply("+OK accepted"))

    def _userauth(self, credentials: str) -> Reply:
        for user in self.users:
            local, _, domain = user.name.partition("@")
            if credentials in {f"{user.name}:{user.password}", f"{local}:{user.password}@{domain}"}:
                self.authenticated = True
                self._user = user
                events = "all" if user.events is None else " ".join(user.events)
                api = "all" if user.api is None else " ".join(user.api)
                reply = f"Reply-Text: +OK accepted\nAllowed-Events: {events}\nAllowed-API: {api}\nAllowed-LOG: true\n\n"
                return Reply(f"Content-Type: command/reply\n{reply[:_USERAUTH_REPLY_LIMIT]}".encode("latin-1"))
        return Reply(command_reply("-ERR invalid") + GOODBYE, close=True)

    # --- events ------------------------------------------------------------------------------------

    def _event(self, command: Command, rest: str) -> Reply:
        del command
        words = rest.partition(" ")[2].split()  # only the first letters of "events" count
        if words and words[0].lower() in {"plain", "json", "xml"}:
            self.form = _form(words.pop(0).lower())
        subscribed = False
        for at, word in enumerate(words):
            name = word.upper().removeprefix(_PREFIX)
            if name not in EVENT_NAMES:
                continue
            if self._user is not None and self._user.events is not None and name not in self._user.events:
                return Reply(command_reply(_DENIED))
            subscribed = True
            if name == "CUSTOM":
                self._subclasses |= set(words[at + 1 :])
                break
            self._names.add(name)
        if not subscribed:
            return Reply(command_reply("-ERR no keywords supplied"))
        self._listening = True
        return Reply(command_reply(f"+OK event listener enabled {self.form}"))

    def _nixevent(self, command: Command, rest: str) -> Reply:
        del command
        words = rest.split()
        for at, word in enumerate(words):
            name = word.upper().removeprefix(_PREFIX)
            if name == "CUSTOM":
                self._subclasses -= set(words[at + 1 :])
                break
            self._names.discard(name)
        self._listening = True
        return Reply(command_reply("+OK events nixed"))

    def _noevents(self, command: Command, rest: str) -> Reply:
        del command, rest
        if not self._listening:
            return Reply(command_reply("-ERR not listening for events"))
        self._listening = False
        self._names.clear()
        self._subclasses.clear()
        return Reply(command_reply("+OK no longer listening for events"))

    def _filter(self, command: Command, rest: str) -> Reply:
        del command
        words = rest.split(" ", 1)
        if words[0].lower() == "delete":
            header, _, value = (words[1] if len(words) > 1 else "").partition(" ")
            if header.lower() == "all":
                self._filters.clear()
            else:
                self._filters = [(h, v) for h, v in self._filters if h != header or (value and v != value)]
            return Reply(command_reply(f"+OK filter deleted. [{header}][{value}]"))
        if words[0].lower() == "add" and len(words) > 1:
            words = words[1].split(" ", 1)
        if len(words) < 2:
            return Reply(command_reply("-ERR invalid syntax"))
        self._filters.append((words[0], words[1]))
        return Reply(command_reply(f"+OK filter added. [{words[0]}]=[{words[1]}]"))

    def _sendevent(self, command: Command, rest: str) -> Reply:
        name = rest.strip().upper() or "CUSTOM"
        headers = [(header, value) for header, value in command.headers if value]
        at = next((at for at, (header, _) in enumerate(headers) if header == "Event-Subclass"), -1)
        headers.insert(at + 1, ("Command", command.line))
        uuid = self.switch.send_event(name, headers, command.body)
        return Reply(command_reply(f"+OK {uuid}"))

    # --- API ---------------------------------------------------------------------------------------

    def _allowed_api(self, name: str) -> bool:
        return self._user is None or self._user.api is None or name in self._user.api

    def _api(self, command: Command, rest: str) -> Reply:
        del command
        name, _, arguments = rest.partition(" ")
        if not self._allowed_api(name):
            return Reply(command_reply(_DENIED))  # not an api/response: a client that waits for one hangs
        output = self.switch.run_api(name, arguments)
        return Reply(api_response(output)) if isinstance(output, str) else Reply(wait=output)

    def _bgapi(self, command: Command, rest: str) -> Reply:
        name, _, arguments = rest.partition(" ")
        if not self._allowed_api(name):
            return Reply(command_reply(_DENIED))
        given = (value for header, value in command.headers if header.lower() == "job-uuid")
        job = next(given, "") or self.switch.new_uuid()
        return Reply(command_reply(f"+OK Job-UUID: {job}", f"Job-UUID: {job}"), job=(name, arguments, job))

    def _log(self, command: Command, rest: str) -> Reply:
        del command
        word = rest.strip()
        self._logging = True
        return Reply(command_reply(f"+OK log level {word} [{word if word.isdigit() else 7}]"))

    def _nolog(self, command: Command, rest: str) -> Reply:
        del command, rest
        was, self._logging = self._logging, False
        return Reply(command_reply("+OK no longer logging" if was else "-ERR not loging"))

    def _linger(self, command: Command, rest: str) -> Reply:
        del command, rest
        return Reply(command_reply("-ERR not controlling a session"))

    def _divert(self, command: Command, rest: str) -> Reply:
        del command, rest
        return Reply(command_reply("-ERR not controlling a session."))


_Handler = Callable[[EslSession, Command, str], Reply]
# In the order in which the real one compares; a prefix is enough.
_HANDLERS: list[tuple[str, _Handler]] = [
    ("filter ", EslSession._filter),
    ("sendevent", EslSession._sendevent),
    ("api ", EslSession._api),
    ("bgapi ", EslSession._bgapi),
    ("linger", EslSession._linger),
    ("nolinger", EslSession._linger),
    ("nolog", EslSession._nolog),
    ("log", EslSession._log),
    ("divert_events", EslSession._divert),
    ("noevents", EslSession._noevents),
    ("nixevent", EslSession._nixevent),
    ("event", EslSession._event),
]


def _form(word: str) -> Format:
    return "json" if word == "json" else "xml" if word == "xml" else "plain"


def _matches(pattern: str, content: str) -> bool:
    value = pattern.removeprefix("-")
    if pattern.startswith("/"):  # only an unsigned pattern is seen as a regular expression
        return re.search(value.strip("/"), content) is not None
    return value.lower() == content.lower()
