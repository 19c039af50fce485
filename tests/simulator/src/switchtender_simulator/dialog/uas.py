"""The user agent server of a node: server transactions, dialogs and the course of calls (RFC 3261 §8.2, §12, §17.2).

Sans-IO: datagrams come in by `receive`, go out through the `send` it was made with, time is an argument, deadlines
stand in the `Timers` it was given. Admission is the ledger's, texts are `answers`', node state is the status'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from switchtender_simulator.accounting import Refusal, RequestMeter, SessionLedger
from switchtender_simulator.counters import Counters
from switchtender_simulator.dialog import answers
from switchtender_simulator.dialog.digest import Challenger
from switchtender_simulator.dialog.requests import T2, Requester
from switchtender_simulator.dialog.script import Course, Script, script_of
from switchtender_simulator.lifecycle import Phase, Status, Verdict
from switchtender_simulator.settings import Faults, NodeSettings
from switchtender_simulator.sip_message import Address, Request, Response, parse
from switchtender_simulator.timers import Timer, Timers

_ALPHABET = "0123456789ABCDEFGHJKLMNQrStUXyZabcdepgmjQBDFHKNXSvK"
_CHECKED = frozenset({"REGISTER", "NOTIFY", "INFO"})  # meet the early check outside of a dialog, as INVITE does
_OUTSIDE = {  # what a method gets outside of a dialog, as measured where it was; 501 for every other
    "NOTIFY": 481,
    "INFO": 481,
    "UPDATE": 481,
    "PRACK": 481,
    "BYE": 481,
    "MESSAGE": 407,
    "SUBSCRIBE": 405,
    "PUBLISH": 405,
    "REFER": 202,
}


@dataclass(slots=True, eq=False)
class Transaction:
    """A server transaction: what a retransmitted request gets again."""

    response: bytes = b""
    timer: Timer | None = None  # repeats a final response to INVITE until its ACK
    call: Call | None = None


@dataclass(slots=True, eq=False)
class Call:
    """One call from its admission to its end. `legs` is how many sessions it holds in the ledger."""

    invite: Request
    tag: str
    transaction: Transaction
    cseq: int
    legs: int = 1
    answered: bool = False
    acknowledged: bool = False
    ended: bool = False
    timer: Timer | None = None  # the next thing to happen by itself

    @property
    def key(self) -> tuple[str, str]:
        """The dialog: Call-ID and our tag."""
        return self.invite.call_id, self.tag


class Uas:
    """One node's SIP side."""

    def __init__(
        self,
        *,
        settings: NodeSettings,
        faults: Faults,
        identity: answers.Identity,
        status: Status,
        ledger: SessionLedger,
        meter: RequestMeter,
        timers: Timers,
        counters: Counters,
        send: Callable[[bytes, Address], None],
        random: Random,
    ) -> None:
        self._settings = settings
        self._faults = faults
        self._identity = identity
        self._status = status
        self._ledger = ledger
        self._meter = meter
        self._timers = timers
        self._counters = counters
        self._send = send
        self._random = random
        self._transactions: dict[str, Transaction] = {}
        self._expiring: deque[tuple[float, str]] = deque()
        self._dialogs: dict[tuple[str, str], Call] = {}
        self._setup: set[Call] = set()  # admitted, not yet answered
        self._challenged: dict[str, Timer] = {}  # Call-ID -> end of the session that waits for credentials
        self._unacknowledged = 0
        self._requester = Requester(identity=identity, timers=timers, send=send, t1=settings.t1, token=self._token)
        self._challenger: Challenger | None = None
        self._challenger_for = ""

    @property
    def live_calls(self) -> int:
        """Answered calls that have not ended."""
        return len(self._dialogs)

    @property
    def ringing_calls(self) -> int:
        """Calls in set-up."""
        return len(self._setup)

    @property
    def unfinished(self) -> int:
        """Our BYEs without an answer and refusals without an ACK: what profile teardown waits for."""
        return len(self._requester) + self._unacknowledged

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """One datagram arrived."""
        self._timers.run(now)
        self._ledger.advance(now)
        while self._expiring and self._expiring[0][0] <= now:
            self._transactions.pop(self._expiring.popleft()[1], None)
        message = parse(data, source)
        if message is None:
            if data.strip():
                self._counters.malformed += 1
            return
        if isinstance(message, Response):
            self._counters.responses += 1
            if not self._requester.receive(message, now):
                self._counters.unexpected_responses += 1
            return
        self._counters.requests += 1
        if self._meter.drops(now):
            self._counters.dropped += 1
            return
        self._request(message, now)

    def _request(self, request: Request, now: float) -> None:
        method = request.method
        if method == "ACK":
            self._ack(request)
        elif method == "CANCEL":
            self._cancel(request, now)
        elif method == "INVITE":
            if (known := self._transactions.get(request.branch)) is not None:
                self._repeat_response(known, request)
            elif request.to_tag:
                self._reinvite(request, now)
            else:
                self._counters.invites += 1
                self._invite(request, now)
        elif (known := self._transactions.get(f"{request.branch}|{method}")) is not None:
            self._repeat_response(known, request)
        elif request.to_tag:
            self._within(request, now)
        else:
            self._without(request, now)

    def _repeat_response(self, known: Transaction, request: Request) -> None:
        self._counters.retransmitted += 1
        if known.response:
            self._send(known.response, request.reply_to)

    def _token(self) -> str:
        return "".join(self._random.choices(_ALPHABET, k=13))

    # --- calls -------------------------------------------------------------------------------------

    def _invite(self, request: Request, now: float) -> None:
        transaction = self._transactions[request.branch] = Transaction()
        verdict = self._status.verdict("INVITE")
        script = script_of(request.user)
        if script.course is Course.SILENT:
            self._forget(request.branch, now)
            return
        if verdict is not Verdict.SERVE:
            self._refuse_by_state(transaction, request, verdict, now)
            return
        call = Call(request, self._token(), transaction, cseq=self._random.randrange(100_000_000, 130_000_000))
        waiting = self._challenged.pop(request.call_id, None)
        if waiting is not None:
            waiting.cancel()  # the session of the challenged INVITE goes on with this one
        elif (refusal := self._ledger.open_inbound()) is not None:
            self._refuse(transaction, request, refusal, now)
            return
        transaction.call = call
        self._setup.add(call)
        if waiting is not None:
            self._confirmed(call, script, now)
        elif self._settings.admission_lag > 0:
            self._timers.at(now + self._settings.admission_lag, partial(self._confirm, call, script))
        else:
            self._confirm(call, script, now)

    def _refuse_by_state(self, transaction: Transaction, request: Request, verdict: Verdict, now: float) -> None:
        tag = self._token()
        if verdict is Verdict.GONE:
            self._counters.refused["gone"] += 1
            self._final(transaction, request, answers.gone(request, self._identity, tag), now)
        elif verdict is Verdict.STANDBY:
            self._counters.refused["standby"] += 1
            self._final(transaction, request, answers.standby(request, self._identity, tag), now)
        elif self._status.phase is Phase.RUNNING:
            self._refuse(transaction, request, Refusal.PAUSED, now)
        else:
            booting = self._status.phase is Phase.BOOTING
            self._refuse(transaction, request, Refusal.BOOTING if booting else Refusal.SHUTDOWN, now)

    def _refuse(self, transaction: Transaction, request: Request, refusal: Refusal, now: float) -> None:
        self._counters.refused[refusal] += 1
        self._final(transaction, request, answers.busy(request, self._identity, self._token()), now)

    def _confirm(self, call: Call, script: Script, now: float) -> None:
        """The second look at the limit, when the call's own thread has started."""
        if call.ended:
            return
        refusal = self._ledger.confirm(now)
        if refusal is None:
            self._confirmed(call, script, now)
            return
        call.ended = True  # its session lives on as a zombie
        self._setup.discard(call)
        self._refuse(call.transaction, call.invite, refusal, now)

    def _confirmed(self, call: Call, script: Script, now: float) -> None:
        if self._settings.auth and not self._authorized(call, now):
            return
        self._reply(call, answers.trying(call.invite, self._identity))
        if self._faults.frozen or script.course is Course.TRYING_ONLY:
            return
        if not self._open_legs(call):
            self._counters.refused["outbound"] += 1
            self._fail(call, 502, answers.OUT_OF_ORDER, now)
            return
        if script.course is Course.REFUSE:
            self._counters.failed[str(script.status)] += 1
            self._fail(call, script.status, script.reason or answers.cause_of(script.status), now)
            return
        if script.course is Course.EARLY_MEDIA:
            media = self._session_description()
            self._reply(call, answers.progress("183 Session Progress", call.invite, self._identity, call.tag, media))
        else:
            self._reply(call, answers.progress("180 Ringing", call.invite, self._identity, call.tag))
        if script.course is Course.RING:
            return
        if self._settings.answer_delay > 0:
            call.timer = self._timers.at(now + self._settings.answer_delay, partial(self._answer, call))
        else:
            self._answer(call, now)

    def _open_legs(self, call: Call) -> bool:
        for _ in range(self._settings.legs_per_call - 1):
            if self._status.paused_outbound or self._ledger.open_outbound() is not None:
                return False
            call.legs += 1
        return True

    def _session_description(self) -> str:
        number = self._random.randrange(1_700_000_000, 1_800_000_000)
        return answers.session_description(self._identity, number, self._random.randrange(8192, 16384) * 2)

    def _reply(self, call: Call, data: bytes) -> None:
        call.transaction.response = data
        self._send(data, call.invite.reply_to)

    def _answer(self, call: Call, now: float) -> None:
        call.answered = True
        self._setup.discard(call)
        self._dialogs[call.key] = call
        self._counters.answered += 1
        media = self._session_description()
        self._reply(call, answers.progress("200 OK", call.invite, self._identity, call.tag, media))
        self._forget(call.invite.branch, now)
        settings = self._settings
        interval = settings.t1
        call.timer = self._timers.at(now + interval, partial(self._repeat_ok, call, interval, now + 64 * interval))
        if settings.call_duration > 0 and settings.bye_from == "node":
            self._timers.at(now + settings.call_duration, partial(self._duration_over, call))

    def _repeat_ok(self, call: Call, interval: float, give_up: float, now: float) -> None:
        """200 goes out again until its ACK (RFC 3261 §13.3.1.4)."""
        if call.acknowledged or call.ended:
            return
        if now >= give_up:
            self._counters.never_acknowledged += 1
            self._hang_up(call, answers.NORMAL_CLEARING, now)
            return
        self._send(call.transaction.response, call.invite.reply_to)
        interval = min(2 * interval, T2)
        call.timer = self._timers.at(min(now + interval, give_up), partial(self._repeat_ok, call, interval, give_up))

    def _duration_over(self, call: Call, now: float) -> None:
        if not call.ended:
            self._hang_up(call, answers.NORMAL_CLEARING, now)

    def _end(self, call: Call) -> None:
        """The call is over: its sessions leave the ledger."""
        if call.ended:
            return
        call.ended = True
        if call.timer is not None:
            call.timer.cancel()
        self._setup.discard(call)
        self._dialogs.pop(call.key, None)
        call.transaction.call = None  # the transaction stays 64*T1 longer and need not keep the call alive
        self._ledger.release(call.legs)

    def _fail(self, call: Call, status: int, reason: str, now: float) -> None:
        self._end(call)
        data = answers.failed(status, call.invite, self._identity, call.tag, reason=reason)
        self._final(call.transaction, call.invite, data, now)

    def _hang_up(self, call: Call, reason: str, now: float) -> None:
        self._end(call)
        self._counters.byes_sent += 1
        call.cseq += 1
        extra = f"Reason: {reason}\r\n"
        self._requester.send(call.invite, call.tag, "BYE", call.cseq, now, done=self._bye_done, extra=extra)

    def _bye_done(self, response: Response | None, now: float) -> None:
        del now
        if response is None:
            self._counters.byes_unanswered += 1

    def hang_up_all(self, now: float, *, reason: str = answers.SYSTEM_SHUTDOWN) -> int:
        """BYE for every established call, 480 for every call in set-up; returns how many there were."""
        calls = [*self._dialogs.values(), *self._setup]
        for call in calls:
            if call.answered:
                self._hang_up(call, reason, now)
            else:
                self._fail(call, 480, reason, now)
        return len(calls)

    def reinvite_all(self, now: float) -> int:
        """A re-INVITE to every caller, with the X- headers of its INVITE as FreeSWITCH copies them."""
        for call in self._dialogs.values():
            call.cseq += 1
            copied = "".join(f"{line}\r\n" for line in call.invite.lines[1:] if line[:2] in {"X-", "x-"})
            media = self._session_description()
            extra = f"Content-Type: application/sdp\r\nContent-Disposition: session\r\n{copied}"
            done = partial(self._reinvite_done, call, call.cseq)
            self._requester.send(call.invite, call.tag, "INVITE", call.cseq, now, done=done, extra=extra, body=media)
        return len(self._dialogs)

    def _reinvite_done(self, call: Call, cseq: int, response: Response | None, now: float) -> None:
        del now
        if response is not None and response.status < 300:
            self._requester.acknowledge(call.invite, call.tag, cseq)

    # --- credentials -------------------------------------------------------------------------------

    def _authorized(self, call: Call, now: float) -> bool:
        """Challenge a call without good credentials; its session waits for them as long as a zombie lives."""
        request = call.invite
        if self._good_credentials(request, "proxy-authorization"):
            return True
        self._setup.discard(call)
        call.ended = True
        timer = self._timers.at(now + self._settings.zombie_seconds, partial(self._never_authorized, request.call_id))
        self._challenged[request.call_id] = timer
        extra = f"Proxy-Authenticate: {self._the_challenger().challenge(now)}\r\n"
        status = "407 Proxy Authentication Required"
        data = answers.simple(status, request, self._identity, call.tag, features=answers.FULL, extra=extra)
        self._counters.challenged += 1
        self._final(call.transaction, request, data, now)
        return False

    def _never_authorized(self, call_id: str, now: float) -> None:
        del now
        if self._challenged.pop(call_id, None) is not None:
            self._ledger.release()

    def _good_credentials(self, request: Request, header: str) -> bool:
        challenger = self._the_challenger()
        credentials = request.headers.get(header, [])
        if credentials and not any(challenger.knows(value) for value in credentials):
            self._counters.foreign_credentials += 1
        return any(challenger.accepts(value, request.method) for value in credentials)

    def _the_challenger(self) -> Challenger:
        if self._challenger is None or self._challenger_for != self._settings.auth:
            self._challenger_for = self._settings.auth
            user, _, password = self._settings.auth.partition(":")
            self._challenger = Challenger(
                user=user,
                password=password,
                realm=self._identity.host,
                make_nonce=lambda: f"{self._random.getrandbits(128):032x}",
            )
        return self._challenger

    # --- transactions ------------------------------------------------------------------------------

    def _forget(self, key: str, now: float) -> None:
        """Drop a transaction when no retransmission can come any more (Timers H, J, L: 64*T1)."""
        self._expiring.append((now + 64 * self._settings.t1, key))

    def _final(self, transaction: Transaction, request: Request, data: bytes, now: float) -> None:
        """A final response other than 2xx to an INVITE: repeated until its ACK (Timers G and H)."""
        transaction.response = data
        self._send(data, request.reply_to)
        self._forget(request.branch, now)
        self._unacknowledged += 1
        interval = self._settings.t1
        repeat = partial(self._repeat_final, transaction, request.reply_to, interval, now + 64 * interval)
        transaction.timer = self._timers.at(now + interval, repeat)

    def _repeat_final(
        self, transaction: Transaction, reply_to: Address, interval: float, give_up: float, now: float
    ) -> None:
        if now >= give_up:
            self._unacknowledged -= 1
            transaction.timer = None
            return
        self._send(transaction.response, reply_to)
        interval = min(2 * interval, T2)
        repeat = partial(self._repeat_final, transaction, reply_to, interval, give_up)
        transaction.timer = self._timers.at(min(now + interval, give_up), repeat)

    def _ack(self, request: Request) -> None:
        self._counters.acks += 1
        transaction = self._transactions.get(request.branch)
        if transaction is not None and transaction.timer is not None:
            transaction.timer.cancel()
            transaction.timer = None
            self._unacknowledged -= 1
            return
        call = self._dialogs.get((request.call_id, request.to_tag))
        if call is not None:
            call.acknowledged = True
            if call.timer is not None:
                call.timer.cancel()

    def _cancel(self, request: Request, now: float) -> None:
        self._counters.cancels += 1
        transaction = self._transactions.get(request.branch)
        if transaction is None:
            self._answer_once(
                request, answers.simple("481 Call Does Not Exist", request, self._identity, self._token()), now
            )
            return
        call = transaction.call
        self._send(answers.cancelled(request, call.tag if call is not None else self._token()), request.reply_to)
        if call is not None and not call.ended and not call.answered:
            self._end(call)
            invite = call.invite
            data = answers.simple("487 Request Terminated", invite, self._identity, call.tag, features=answers.PLAIN)
            self._final(transaction, invite, data, now)

    def _answer_once(self, request: Request, data: bytes, now: float) -> None:
        key = f"{request.branch}|{request.method}"
        self._transactions[key] = Transaction(data)
        self._forget(key, now)
        self._send(data, request.reply_to)

    # --- requests other than a new INVITE ----------------------------------------------------------

    def _reinvite(self, request: Request, now: float) -> None:
        self._counters.reinvites += 1
        call = self._dialogs.get((request.call_id, request.to_tag))
        transaction = self._transactions[request.branch] = Transaction()
        if call is None:
            self._counters.unknown_dialog += 1
            data = answers.simple(
                "481 Call Does Not Exist", request, self._identity, request.to_tag, features=answers.PLAIN
            )
            self._final(transaction, request, data, now)
            return
        self._send(answers.trying(request, self._identity), request.reply_to)
        data = answers.progress("200 OK", request, self._identity, call.tag, self._session_description())
        transaction.response = data
        self._send(data, request.reply_to)
        self._forget(request.branch, now)
        if contact := request.headers.get("contact"):
            call.invite.headers["contact"] = contact  # target refresh, RFC 3261 §12.2.2

    def _within(self, request: Request, now: float) -> None:
        call = self._dialogs.get((request.call_id, request.to_tag))
        if call is None:
            self._counters.unknown_dialog += 1
            data = answers.simple("481 Call Does Not Exist", request, self._identity, request.to_tag)
        elif request.method == "BYE":
            self._counters.byes_received += 1
            self._end(call)
            data = answers.simple("200 OK", request, self._identity, call.tag)
        else:
            self._counters.others += 1
            status = "202 Accepted" if request.method == "REFER" else "200 OK"
            data = answers.simple(status, request, self._identity, call.tag)
        self._answer_once(request, data, now)

    def _without(self, request: Request, now: float) -> None:
        method, identity, tag = request.method, self._identity, self._token()
        counters, status = self._counters, self._status
        verdict = status.verdict(method)
        checked = method in _CHECKED or (method == "OPTIONS" and status.options_respond_503)
        if verdict is Verdict.GONE:
            data = answers.gone(request, identity, tag)
        elif verdict is Verdict.STANDBY:
            data = answers.standby(request, identity, tag)
        elif verdict is Verdict.BUSY or (checked and self._ledger.is_full):
            data = answers.busy(request, identity, tag)
        elif method == "OPTIONS":
            data = answers.options_ok(request, identity, tag)
        elif method == "REGISTER":
            data = self._register(request, tag, now)
        else:
            code = _OUTSIDE.get(method, 501)
            extra = ""
            if code == 407:
                extra = f"Proxy-Authenticate: {self._the_challenger().challenge(now)}\r\n"
            phrase = "Accepted" if code == 202 else answers.phrase_of(code)
            data = answers.simple(f"{code} {phrase}", request, identity, tag, extra=extra)
        if method == "OPTIONS":
            counters.options += 1
        elif method == "REGISTER":
            counters.registers += 1
        else:
            counters.others += 1
        self._answer_once(request, data, now)

    def _register(self, request: Request, tag: str, now: float) -> bytes:
        if not self._settings.auth or self._good_credentials(request, "authorization"):
            return answers.registered(request, self._identity, tag)
        self._counters.challenged += 1
        extra = f"WWW-Authenticate: {self._the_challenger().challenge(now)}\r\n"
        return answers.simple("401 Unauthorized", request, self._identity, tag, extra=extra)
