"""When which node is probed, and what each probe came to. Sans-IO: time, chance and bytes are given, what is to be sent
and what is to be told are taken.

One heap holds everything that waits for a time, for thousands of nodes at once; an entry that is no longer meant is
skipped when its time comes. Probes are spread over the interval, so that a start does not ask all nodes in one moment.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from switchtender.drivers.options.message import MAGIC, Answer, Question, accepts, request
from switchtender.drivers.reports import Probe, Transport
from switchtender_api.v1alpha1.endpoints import format_endpoint

T1: Final = 0.5
"""Seconds until an unanswered request over UDP is sent again (RFC 3261 §17.1.2.2, Timer E)."""
T2: Final = 4.0
"""Most seconds between two of them."""
_JITTER: Final = 0.1
"""Part of the interval by which a probe may be early or late, so that balancers do not ask in step."""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A node to be probed, and how: times in seconds; an answer counts that each of ``codes`` accepts.

    ``sender`` is the From URI; None: ours, at the address it is sent from.
    """

    address: Address
    transport: Transport = "UDP"
    interval: float = 10.0
    timeout: float = 2.0
    codes: tuple[tuple[str, ...], ...] = ()
    sender: str | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """One request to be sent now; over TCP it is sent once, on a connection of its own."""

    target: Target
    question: Question
    data: bytes


@dataclass(slots=True)
class _Asked:
    uid: str
    target: Target
    sending: Sending
    sent: float
    gap: float = T1


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    at: float
    order: int
    act: Callable[[float], None] = field(compare=False)


class Agenda:
    """The probes of all nodes. ``sent_by`` tells the endpoint (as text) that a request to a target is sent from; None
    where there is no way to it. ``tell`` gets each outcome with the node's uid, ``send`` each request.
    """

    def __init__(
        self,
        sent_by: Callable[[Target], str | None],
        send: Callable[[Sending], None],
        tell: Callable[[str, Probe], None],
        rng: random.Random,
    ) -> None:
        self._sent_by = sent_by
        self._send = send
        self._tell = tell
        self._rng = rng
        self._targets: dict[str, Target] = {}
        self._asked: dict[str, _Asked] = {}
        self._heap: list[_Entry] = []
        self._order = itertools.count()

    def set_targets(self, targets: Mapping[str, Target], now: float, *, at_once: bool = False) -> None:
        """Probe these from now on, by uid. A node that stays as it was keeps its turn; the others get one, within their
        interval or at once.
        """
        before, self._targets = self._targets, {}
        for uid, target in targets.items():
            if before.get(uid) == target:
                self._targets[uid] = before[uid]
                continue
            self._targets[uid] = target
            self._at(now + (0.0 if at_once else self._rng.uniform(0.0, target.interval)), self._turn(uid, target))

    @property
    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None: never."""
        return self._heap[0].at if self._heap else None

    @property
    def open(self) -> int:
        """Probes that wait for their answer."""
        return len(self._asked)

    def tick(self, now: float) -> None:
        """Do what is due."""
        while self._heap and self._heap[0].at <= now:
            heapq.heappop(self._heap).act(now)

    def receive(self, answer: Answer, source: Address, now: float) -> None:
        """A response came. One that answers no open probe of that node is nothing: late, twice, or forged."""
        asked = self._asked.get(answer.branch)
        if asked is None or answer.call_id != asked.sending.question.call_id or source != asked.target.address:
            return
        if answer.status < 200:
            return
        counts = all(accepts(codes, answer.status) for codes in asked.target.codes)
        detail = f"{answer.status} {answer.phrase}".strip()
        self._close(answer.branch, now, answered=counts, status=answer.status, detail=detail)

    def fail(self, branch: str, detail: str, now: float) -> None:
        """The probe cannot be answered any more: no connection, or it was lost."""
        if branch in self._asked:
            self._close(branch, now, answered=False, status=None, detail=detail)

    def _at(self, at: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._heap, _Entry(at, next(self._order), act))

    def _turn(self, uid: str, target: Target) -> Callable[[float], None]:
        def act(now: float) -> None:
            if self._targets.get(uid) is not target:
                return  # it left, or is to be probed in another way
            wait = target.interval * self._rng.uniform(1 - _JITTER, 1 + _JITTER)
            self._at(now + wait, self._turn(uid, target))
            self._probe(uid, target, now)

        return act

    def _probe(self, uid: str, target: Target, now: float) -> None:
        sent_by = self._sent_by(target)
        if sent_by is None:
            self._tell(uid, Probe(answered=False, sent=now, received=now, detail="no way to its address from here"))
            return
        branch = f"{MAGIC}{self._token()}"
        question = Question(
            branch=branch,
            call_id=self._token(),
            tag=self._token()[:16],
            sent_by=sent_by,
            target=format_endpoint(*target.address),
            transport=target.transport,
            sender=target.sender or f"sip:switchtender@{sent_by}",
        )
        asked = _Asked(uid, target, Sending(target, question, request(question)), now)
        self._asked[branch] = asked
        self._at(now + target.timeout, lambda at: self.fail(branch, f"no answer within {target.timeout:g} s", at))
        if target.transport == "UDP":
            self._at(now + asked.gap, self._again(branch))
        self._send(asked.sending)

    def _again(self, branch: str) -> Callable[[float], None]:
        def act(now: float) -> None:
            asked = self._asked.get(branch)
            if asked is None:
                return
            asked.gap = min(2 * asked.gap, T2)
            self._at(now + asked.gap, self._again(branch))
            self._send(asked.sending)

        return act

    def _close(self, branch: str, now: float, *, answered: bool, status: int | None, detail: str) -> None:
        asked = self._asked.pop(branch)
        if self._targets.get(asked.uid) is asked.target:
            self._tell(asked.uid, Probe(answered=answered, sent=asked.sent, received=now, status=status, detail=detail))

    def _token(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"
