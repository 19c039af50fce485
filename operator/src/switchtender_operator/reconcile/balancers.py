"""What balancers say of themselves: asked each second by the leader, gathered by group. Writes nothing anywhere.

Of several reports about a node the youngest wins, for each balancer asks the node itself; nothing is summed over
balancers but the calls that each placed. A balancer that does not answer is remembered for a moment; after that it is
not reachable, and what was last known of the nodes stays.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp

from switchtender_operator.domain.world import BalancerSeen, BalancersSeen, NodeReport, Observation, SetVersion
from switchtender_operator.reconcile.objects import Endpoint

log = logging.getLogger(__name__)

LONGEST_ANSWER = 16 << 20
STATE_PATH = "/api/v1/state"
_YOUNG = 3.0
"""Age in seconds of a report that any health.staleAfter takes: of an empty node such a one is news."""

_END_OF_TIME = datetime(2999, 1, 1, tzinfo=UTC).timestamp()
"""Later times cannot be written to a status and read back."""


class UnauthorizedError(Exception):
    """The balancer does not take the token."""


class UnusableError(Exception):
    """No answer, or none that can be used; the text says which."""


@dataclass(frozen=True, slots=True)
class BalancerState:
    """What one balancer said: groups and nodes by `namespace/name` of the group."""

    instance: str
    groups: Mapping[str, BalancerSeen]
    assigned: Mapping[str, int]
    nodes: Mapping[str, Mapping[str, NodeReport]]


@dataclass(frozen=True, slots=True)
class _Heard:
    state: BalancerState
    at: float


Fetch = Callable[[Endpoint, str], Awaitable[BalancerState]]


class Token(Protocol):
    """Gives the bearer token of a balancer."""

    async def __call__(self, balancer: str, *, refused: str | None) -> str | None:
        """Return the token, None if there is none to be had; `refused` is one that the balancer did not take."""


@dataclass(slots=True)
class Observations:
    """What is known of each group from its balancers, and which groups a round of answers concerns.

    `memory` is for how many seconds a balancer's last answer counts; `step` the fraction by which a number moves before
    it is news.
    """

    memory: float = 3.5
    step: float = 0.05
    _asked: bool = False
    _heard: dict[str, dict[str, _Heard]] = field(default_factory=dict)
    _total: dict[str, int] = field(default_factory=dict)
    _known: dict[str, Observation] = field(default_factory=dict)
    _told: dict[str, _Digest] = field(default_factory=dict)

    def heard(
        self, balancer: str, endpoints: Iterable[Endpoint], states: Mapping[str, BalancerState], now: float
    ) -> None:
        """Take up a round of answers by the endpoint's instance; one that is not listed any more is forgotten."""
        listed = {endpoint.instance for endpoint in endpoints}
        known = {
            instance: heard
            for instance, heard in self._heard.get(balancer, {}).items()
            if instance in listed and now - heard.at <= self.memory
        }
        known.update({instance: _Heard(state, now) for instance, state in states.items()})
        self._heard[balancer] = known
        self._total[balancer] = len(listed)

    def round_done(self) -> None:
        """Note that every balancer there is was asked."""
        self._asked = True

    @property
    def asked(self) -> bool:
        """Whether there was a round of answers."""
        return self._asked

    def reachable(self) -> dict[str, tuple[int, int]]:
        """Return how many balancers of each name answered, and how many there are."""
        return {name: (len(self._heard.get(name, {})), total) for name, total in self._total.items()}

    def observe(self, key: str, balancer: str | None, now: float, wall: datetime) -> bool:
        """Gather what is known of the group, served by the balancer; whether that is news since it last was."""
        heard = self._heard.get(balancer or "", {}).values()
        seen = BalancersSeen(
            total=self._total.get(balancer or "", 0),
            instances={one.state.instance: one.state.groups.get(key, BalancerSeen()) for one in heard},
            assigned=sum(one.state.assigned.get(key, 0) for one in heard),
        )
        former = self._known.get(key)
        if heard:
            observation = Observation(at=wall, balancers=seen, nodes=_youngest(key, heard, now))
        elif former is not None:
            observation = replace(former, balancers=seen)
        else:
            observation = Observation(at=wall, balancers=seen)
        self._known[key] = observation
        digest, told = _Digest.of(observation), self._told.get(key)
        if told is not None and not digest.differs(told, self.step):
            return False
        self._told[key] = digest
        return True

    def of(self, key: str) -> Observation | None:
        """Return what is known of the group, None while its balancers have not been asked."""
        return self._known.get(key)

    def forget(self, key: str) -> None:
        """Drop what is known of a group that is gone."""
        self._known.pop(key, None)
        self._told.pop(key, None)

    def clear(self) -> None:
        """Forget everything: who does not lead does not ask, and what it knows grows old."""
        for known in (self._heard, self._total, self._known, self._told):
            known.clear()
        self._asked = False


@dataclass(frozen=True, slots=True)
class _Digest:
    """What of an observation is news when it differs at all, and the numbers that are news when they move."""

    exact: object
    numbers: tuple[float, ...]

    @staticmethod
    def of(observation: Observation) -> _Digest:
        nodes = observation.nodes
        exact = (
            observation.balancers.total,
            observation.balancers.instances,
            {
                uid: (node.state, node.reason, node.paused_by_us, node.max_sessions, node.drain_since)
                for uid, node in nodes.items()
            },
            {uid: node.age is not None and node.age <= _YOUNG for uid, node in nodes.items() if node.empty},
        )
        sessions = sum(node.sessions or 0 for node in nodes.values())
        capacity = sum(node.capacity or 0.0 for node in nodes.values())
        remaining = sum(node.sessions or 0 for node in nodes.values() if node.state == "draining")
        return _Digest(exact, (float(sessions), capacity, float(remaining)))

    def differs(self, other: _Digest, step: float) -> bool:
        if self.exact != other.exact:
            return True
        return any(
            abs(new - old) > step * max(abs(old), 1.0) for new, old in zip(self.numbers, other.numbers, strict=True)
        )


class Poller:
    """Asks every balancer in rounds, `interval` seconds apart, and calls `dirty` for each group with news."""

    def __init__(
        self,
        observations: Observations,
        *,
        endpoints: Callable[[], Mapping[str, list[Endpoint]]],
        groups: Callable[[], Iterable[tuple[str, str | None]]],
        dirty: Callable[[str], None],
        token: Token,
        fetch: Fetch,
        counted: Callable[[str], None],
        clock: Callable[[], float],
        interval: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._observations = observations
        self._endpoints = endpoints
        self._groups = groups
        self._dirty = dirty
        self._token = token
        self._fetch = fetch
        self._counted = counted
        self._clock = clock
        self._interval = interval
        self._sleep = sleep
        self._wall = wall
        self._silent: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                await self.round()
            except Exception:  # a balancer of another version may say anything; no word of it ends the operator
                log.exception("the balancers' answers could not be taken up")
            await self._sleep(self._interval * random.uniform(0.9, 1.1))  # noqa: S311 - spreads replicas

    async def round(self) -> None:
        """Ask every balancer once and tell which groups that concerns."""
        listed = self._endpoints()
        asked = [(balancer, endpoint) for balancer, found in listed.items() for endpoint in found]
        answers = await asyncio.gather(*(self._ask(balancer, endpoint) for balancer, endpoint in asked))
        now, wall = self._clock(), self._wall()
        gone = [name for name in self._observations.reachable() if name not in listed]
        for balancer, found in (*listed.items(), *((name, []) for name in gone)):
            states = {
                endpoint.instance: state
                for (name, endpoint), state in zip(asked, answers, strict=True)
                if name == balancer and state is not None
            }
            self._observations.heard(balancer, found, states, now)
        self._observations.round_done()
        for key, balancer_name in self._groups():
            if self._observations.observe(key, balancer_name, now, wall):
                self._dirty(key)

    async def _ask(self, balancer: str, endpoint: Endpoint) -> BalancerState | None:
        who = (balancer, endpoint.instance)
        try:
            state = await self._fetched(balancer, endpoint)
        except (UnusableError, UnauthorizedError) as error:
            self._counted("refused" if isinstance(error, UnauthorizedError) else "failed")
            if who not in self._silent:
                self._silent.add(who)
                log.warning(
                    "a balancer does not say what it acts on",
                    extra={"balancer": balancer, "address": endpoint.address, "error": str(error) or "401"},
                )
            return None
        self._counted("ok")
        if who in self._silent:
            self._silent.discard(who)
            log.info("a balancer answers again", extra={"balancer": balancer, "address": endpoint.address})
        return state

    async def _fetched(self, balancer: str, endpoint: Endpoint) -> BalancerState:
        """Ask with the token that is known, and once more with another if there is one by now."""
        token = await self._token(balancer, refused=None)
        if token is None:
            raise UnusableError("the Secret with its token cannot be read")
        try:
            return await self._fetch(endpoint, token)
        except UnauthorizedError:
            token = await self._token(balancer, refused=token)
            if token is None:
                raise
        return await self._fetch(endpoint, token)


async def fetch(session: aiohttp.ClientSession, endpoint: Endpoint, token: str) -> BalancerState:
    """Ask one balancer. The session has the timeout. Raises UnauthorizedError, UnusableError."""
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    try:
        async with session.get(
            f"http://{host}:{endpoint.port}{STATE_PATH}",
            headers={"Authorization": f"Bearer {token}"},
            allow_redirects=False,
        ) as answer:
            if answer.status == 401:
                raise UnauthorizedError
            if answer.status != 200:
                raise UnusableError(f"status {answer.status}")
            raw = bytearray()
            async for chunk in answer.content.iter_any():
                raw += chunk
                if len(raw) > LONGEST_ANSWER:
                    raise UnusableError(f"an answer of more than {LONGEST_ANSWER >> 20} MiB")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnusableError(str(error) or type(error).__name__) from None
    try:
        return read_state(json.loads(raw))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UnusableError("an answer that cannot be read") from None


def read_state(raw: Mapping[str, Any]) -> BalancerState:
    """Return the state of format 1. Raises ValueError, TypeError, KeyError or AttributeError for anything else.

    Fields that are not known are left alone, so that a newer balancer can say more.
    """
    if raw["format"] != 1:
        raise ValueError("another format")
    versions: dict[str, dict[str, SetVersion]] = {}
    for entry in raw["sets"]:
        group, _, _ = entry["name"].partition(".")  # slices are named <group>.<n>, and no group's name has a dot
        sliced = versions.setdefault(f"{entry['namespace']}/{group}", {})
        sliced[entry["name"]] = SetVersion(entry["uid"], int(entry["generation"]))
    groups, assigned = {}, {}
    for entry in raw["groups"]:
        key = f"{entry['namespace']}/{entry['name']}"
        generation = entry.get("generation")
        groups[key] = BalancerSeen(
            group_uid=entry.get("uid"),
            generation=None if generation is None else int(generation),
            rejected=None if entry.get("rejected") is None else str(entry["rejected"]),
            sets=versions.get(key, {}),
        )
        assigned[key] = int(entry.get("assigned") or 0)
    nodes: dict[str, dict[str, NodeReport]] = {}
    for entry in raw["nodes"]:
        reports = nodes.setdefault(f"{entry['namespace']}/{entry['group']}", {})
        reports[entry["uid"]] = NodeReport(
            name=str(entry["name"]),
            state=str(entry["state"]),
            reason=str(entry.get("reason") or ""),
            age=_real(entry.get("reportAge")),
            sessions=_whole(entry.get("sessions")),
            capacity=_real(entry.get("capacity")),
            effective=_real(entry.get("effective")),
            max_sessions=_whole(entry.get("maxSessions")),
            verdict=entry.get("verdict") or "",
            paused_by_us=bool(entry.get("pausedByUs")),
            drain_since=_drain_since(entry.get("drain")),
            pending=max(0.0, (_real(entry.get("effective")) or 0.0) - (_real(entry.get("sessions")) or 0.0)),
            open=entry["state"] != "draining",
        )
    return BalancerState(str(raw["instance"]), groups, assigned, nodes)


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


def _drain_since(raw: Any) -> datetime | None:
    """Return since when a node drains, to the second; None where that is not told or no time of our age."""
    since = raw.get("since") if isinstance(raw, Mapping) else None
    if not isinstance(since, (int, float)) or not 0 <= since < _END_OF_TIME:
        return None
    return datetime.fromtimestamp(int(since), UTC)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _youngest(key: str, heard: Iterable[_Heard], now: float) -> dict[str, NodeReport]:
    """Return each node's report with the smallest age as of now.

    That a balancer paused the node counts from any, and so do the earliest start of a drain, the most pending calls and
    that new ones still come.
    """
    found: dict[str, NodeReport] = {}
    for one in heard:
        elapsed = now - one.at
        for uid, report in one.state.nodes.get(key, {}).items():
            aged = report if elapsed <= 0 or report.age is None else replace(report, age=report.age + elapsed)
            known = found.get(uid)
            if known is None:
                found[uid] = aged
                continue
            winner = min(known, aged, key=lambda candidate: float("inf") if candidate.age is None else candidate.age)
            starts = [one.drain_since for one in (known, aged) if one.drain_since is not None]
            found[uid] = replace(
                winner,
                paused_by_us=known.paused_by_us or aged.paused_by_us,
                drain_since=min(starts, default=None),
                pending=max(known.pending, aged.pending),
                open=known.open or aged.open,
            )
    return found


def session(timeout: float) -> aiohttp.ClientSession:
    """Return a session to ask balancers with, each question within `timeout` seconds. No proxy stands in between."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        trust_env=False,
    )
