"""The simulated cluster: pods that start, take calls, drain and end, and the balancer in front of them.

A discrete-event simulation over one clock. What scales (a policy) and what makes pods (a controller) stand outside and
act through `Cluster`; this module knows neither. Times are seconds since midnight.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from operator import attrgetter

from tests.autoscaling.calls import Day


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the pods and the balancers are like, whoever scales."""

    capacity: int = 50
    """Sessions that a pod takes."""
    legs: int = 1
    """Sessions of a call."""
    soonest: float = 28.0
    latest: float = 88.0
    """From the creation of a pod to its readiness; for the first third it is Pending (image, volumes)."""
    first_report: float = 2.0
    """From readiness to the first report that a balancer has heard."""
    report_interval: float = 1.0
    told: float = 1.0
    """From an annotation to the balancers: for so long a draining pod still gets calls."""
    grace: float = 7260.0
    """terminationGracePeriodSeconds, with a preStop hook that waits for the last call; 0: SIGTERM ends all calls."""
    hosts: int = 12


@dataclass(slots=True, eq=False)
class Pod:
    """One pod and the FreeSWITCH in it."""

    uid: str
    name: str
    ordinal: int
    revision: int
    host: int
    created: float
    running_at: float = inf
    ready_at: float | None = None
    reported_at: float | None = None
    deleted_at: float | None = None
    gone_at: float | None = None
    calls: int = 0
    drain_since: float | None = None
    """By annotation."""
    cost: int | None = None
    routed: bool = False
    _report: int = 0
    _report_at: float = -inf

    @property
    def active(self) -> bool:
        """Whether a controller still counts it: it is there and not terminating."""
        return self.deleted_at is None

    @property
    def ready(self) -> bool:
        """The pod's Ready condition; a draining one stays ready, a terminating one does, too, until it is gone."""
        return self.ready_at is not None

    def change(self, now: float, by: int, interval: float) -> None:
        """A call begins or ends. The last report still says what was true when it was made."""
        tick = now - now % interval
        if tick > self._report_at:
            self._report, self._report_at = self.calls, tick
        self.calls += by

    def report(self, now: float, interval: float) -> int:
        """Calls as the pod's last report has them, at most an interval old."""
        return self.calls if now - now % interval > self._report_at else self._report


_CALLS = attrgetter("calls")


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    offered: int = 0
    rejected: int = 0
    cut: int = 0
    revived: int = 0
    drains: list[float] = field(default_factory=list)
    """How long each drain took that came to an end with the pod's removal, in seconds."""
    pod_seconds: float = 0.0
    scales: list[tuple[float, int, int]] = field(default_factory=list)
    """When, from how many replicas, to how many."""
    pods_by_minute: list[int] = field(default_factory=list)
    """Pods that are there, those that start and those that end with them."""
    rejected_by_minute: dict[int, int] = field(default_factory=dict)


class Cluster:
    """Pods, balancer and clock."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.now = 0.0
        self.tally = Tally()
        self.pods: list[Pod] = []
        self.changed: Callable[[], None] = lambda: None
        """Called when a pod became ready, is terminating or went; a controller sets it."""
        self._chance = random.Random(f"pods {seed}")
        self._order = count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._ends: list[tuple[float, int, Pod]] = []
        self._eligible: list[Pod] = []

    # --- clock ------------------------------------------------------------------------------------------------

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do it then."""
        heappush(self._timers, (moment, next(self._order), action))

    def every(self, seconds: float, action: Callable[[], None], *, first: float = 0.0) -> None:
        """Do it again and again."""

        def tick() -> None:
            action()
            self.at(self.now + seconds, tick)

        self.at(self.now + first, tick)

    def play(self, calls: Day) -> None:
        """Let the day pass. What still drains at its end is counted until then."""
        self.every(60.0, self._note)
        timers, ends = self._timers, self._ends
        begins, lengths = iter(calls.begins), iter(calls.lengths)
        begin = next(begins, inf)
        while True:
            end, timer = ends[0][0] if ends else inf, timers[0][0]
            moment = min(begin, end, timer)
            if moment >= calls.shape.seconds:
                break
            self.now = moment
            if end == moment:
                self._hang_up(heappop(ends)[2])
            elif timer == moment:
                heappop(timers)[2]()
            else:
                self._call(next(lengths))
                begin = next(begins, inf)
        self.now = calls.shape.seconds
        self.tally.pod_seconds += sum(self.now - pod.created for pod in self.pods)
        self.tally.drains += [self.now - since for pod in self.pods if (since := self._drained_since(pod)) is not None]

    # --- calls ------------------------------------------------------------------------------------------------

    def _call(self, length: float) -> None:
        """The least loaded of the nodes that take calls, if it has room."""
        self.tally.offered += 1
        site = self.site
        pod = min(self._eligible, key=_CALLS, default=None)
        if pod is None or (pod.calls + 1) * site.legs > site.capacity:
            self.tally.rejected += 1
            minute = int(self.now // 60)
            self.tally.rejected_by_minute[minute] = self.tally.rejected_by_minute.get(minute, 0) + 1
            return
        pod.change(self.now, 1, site.report_interval)
        heappush(self._ends, (self.now + length, next(self._order), pod))

    def _hang_up(self, pod: Pod) -> None:
        if pod.gone_at is not None:
            return  # it was cut
        pod.change(self.now, -1, self.site.report_interval)
        if pod.calls == 0 and not pod.active:
            self._end(pod)

    # --- pods -------------------------------------------------------------------------------------------------

    def start(self, *, name: str = "", ordinal: int = 0, revision: int = 0, running: bool = False) -> Pod:
        """Make a pod; `running` has it ready and heard of at once, as those that stand at midnight are."""
        serial = next(self._order)
        pod = Pod(
            uid=f"{self._chance.getrandbits(32):08x}-{serial}", name=name or f"fs-{serial}", ordinal=ordinal,
            revision=revision, host=self._host(), created=self.now,
        )  # fmt: skip
        self.pods.append(pod)
        delay = self._chance.uniform(self.site.soonest, self.site.latest)
        if running:
            pod.running_at = self.now
            self._ready(pod)
            self._heard(pod)
        else:
            pod.running_at = self.now + delay / 3
            self.at(self.now + delay, lambda: self._ready(pod))
        return pod

    def terminate(self, pod: Pod) -> None:
        """Delete it. With a grace period its hook pauses it and waits for its calls; without, they are cut."""
        if not pod.active:
            return
        pod.deleted_at = self.now
        self._route(pod)
        # A controller hears of it by a watch event, not within the call that deletes the pod.
        self.at(self.now, self._changed)
        if not self.site.grace or not pod.calls:
            self._end(pod)
        else:
            self.at(self.now + self.site.grace, lambda: self._end(pod))

    def drain(self, pod: Pod, since: float) -> None:
        """Annotate it; the balancers hear of it a little later."""
        pod.drain_since = since
        self.at(self.now + self.site.told, lambda: self._route(pod))

    def revive(self, pod: Pod) -> None:
        """Take the annotation back."""
        if pod.drain_since is not None:
            pod.drain_since = None
            self.tally.revived += 1
            self.at(self.now + self.site.told, lambda: self._route(pod))

    def note_scale(self, before: int, after: int) -> None:
        """Somebody set the number of replicas."""
        if before != after:
            self.tally.scales.append((self.now, before, after))

    @property
    def active(self) -> list[Pod]:
        """The pods that a controller counts."""
        return [pod for pod in self.pods if pod.deleted_at is None]

    @property
    def eligible(self) -> Sequence[Pod]:
        """The pods that the balancers give calls to."""
        return self._eligible

    def _ready(self, pod: Pod) -> None:
        if pod.active:
            pod.ready_at = self.now
            self.at(self.now + self.site.first_report, lambda: self._heard(pod))
            self._changed()

    def _heard(self, pod: Pod) -> None:
        if pod.reported_at is None and pod.active:
            pod.reported_at = self.now
            self._route(pod)

    def _route(self, pod: Pod) -> None:
        """Whether the balancers give it calls, from what they know now."""
        routed = pod.reported_at is not None and pod.active and pod.drain_since is None
        if routed and not pod.routed:
            self._eligible.append(pod)
        elif pod.routed and not routed:
            self._eligible.remove(pod)
        pod.routed = routed

    def _end(self, pod: Pod) -> None:
        if pod.gone_at is not None:
            return
        since = self._drained_since(pod)
        pod.gone_at = self.now
        self.pods.remove(pod)
        self.tally.cut += pod.calls
        self.tally.pod_seconds += self.now - pod.created
        if since is not None:
            self.tally.drains.append(self.now - since)
        self.at(self.now, self._changed)

    def _changed(self) -> None:
        self.changed()

    def _drained_since(self, pod: Pod) -> float | None:
        return min((since for since in (pod.drain_since, pod.deleted_at) if since is not None), default=None)

    def _host(self) -> int:
        """The host with the fewest pods, as the scheduler's default spreading has it."""
        used = [0] * self.site.hosts
        for pod in self.pods:
            used[pod.host] += 1
        fewest = min(used)
        return self._chance.choice([host for host, pods in enumerate(used) if pods == fewest])

    def _note(self) -> None:
        self.tally.pods_by_minute.append(len(self.pods))
