"""One day through one way to scale, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from switchtender_api.v1alpha1.autoscale import Autoscale, Buffer, ScaleIn, ScaleTarget
from switchtender_operator.domain.autoscale import decide
from tests.autoscaling.calls import Day, concurrent_by_minute
from tests.autoscaling.cluster import Cluster, Site
from tests.autoscaling.controllers import Deployment, StatefulSet, Target
from tests.autoscaling.operating import Autoscaler, Decide, Group, Marker, Readings
from tests.autoscaling.policies import Bounds, CpuHpa, SessionsHpa

BOUNDS = Bounds()
SITE = Site()
#: SIGTERM ends FreeSWITCH and all its calls; a `preStop` waits for the last call, but not longer than the grace period.
PLAIN = Site(grace=0.0)
TEN_MINUTES = Site(grace=600.0)
BUFFER_PERCENT = 20
#: Within so long of one another two changes of direction are flapping.
FLAP_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What befalls a run, at parts of the day."""

    new_leader: tuple[float, ...] = ()
    roll_out: float | None = None
    deaf: tuple[float, float] | None = None
    """From when and until when the operator hears of no load."""


_QUIET = Incident()
_GROUP = Group()
Scaler = Callable[[Cluster, Target, Day, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A row of the table: who scales what, with which grace the pods end."""

    name: str
    words: str
    attach: Scaler
    site: Site = SITE
    ordinal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a day came to. Times in seconds."""

    policy: str
    offered: int
    rejected: int
    cut: int
    pod_hours: float
    peak: int
    scales: int
    flaps: int
    drained: int
    revived: int
    longest_drain: float
    pods_by_minute: Sequence[int]
    worst_minute: int
    """Most calls refused within a minute."""

    @property
    def rejected_share(self) -> float:
        """Part of the offered calls that nobody had room for."""
        return self.rejected / self.offered if self.offered else 0.0


@dataclass(frozen=True, slots=True)
class Ideal:
    """Pods by minute for one who knows all calls beforehand, and whose pods start and end in no time."""

    bare: Sequence[int]
    """Just enough for the calls."""
    buffered: Sequence[int]
    """With the buffer on top, within the bounds: what arithmetic asks of everybody."""

    @property
    def bare_hours(self) -> float:
        return sum(self.bare) / 60

    @property
    def buffered_hours(self) -> float:
        return sum(self.buffered) / 60


def ideal(calls: Day, site: Site = SITE, bounds: Bounds = BOUNDS, percent: int = BUFFER_PERCENT) -> Ideal:
    """The least pods that carry every call, minute by minute."""
    bare, buffered = [], []
    for most in concurrent_by_minute(calls):
        sessions = most * site.legs
        bare.append(math.ceil(sessions / site.capacity))
        wanted = math.ceil(sessions * (100 + percent) / 100 / site.capacity)
        buffered.append(max(bounds.least, min(bounds.most, wanted)))
    return Ideal(bare, buffered)


def play(policy: Policy, calls: Day, seed: int) -> Outcome:
    """Let the day pass. The same calls for every policy; the start-up times are drawn from the seed."""
    cluster = Cluster(policy.site, seed)
    target: Target = (StatefulSet if policy.ordinal else Deployment)(cluster, BOUNDS.least)
    policy.attach(cluster, target, calls, seed)
    cluster.play(calls)
    tally = cluster.tally
    return Outcome(
        policy=policy.name,
        offered=tally.offered,
        rejected=tally.rejected,
        cut=tally.cut,
        pod_hours=tally.pod_seconds / 3600,
        peak=max(tally.pods_by_minute),
        scales=len(tally.scales),
        flaps=flaps(tally.scales),
        drained=len(tally.drains),
        revived=tally.revived,
        longest_drain=max(tally.drains, default=0.0),
        pods_by_minute=tuple(tally.pods_by_minute),
        worst_minute=max(tally.rejected_by_minute.values(), default=0),
    )


def flaps(scales: Sequence[tuple[float, int, int]], within: float = FLAP_SECONDS) -> int:
    """How often the replicas went the other way within so many seconds."""
    return sum(
        later[0] - sooner[0] <= within and (sooner[2] > sooner[1]) != (later[2] > later[1])
        for sooner, later in pairwise(scales)
    )


def cpu_hpa(cluster: Cluster, target: Target, calls: Day, seed: int) -> None:
    """HPA on CPU."""
    CpuHpa(cluster, target, BOUNDS, seed, hurry=calls.shape.hurry)


def sessions_hpa(cluster: Cluster, target: Target, calls: Day, seed: int) -> None:
    """HPA on sessions, beside an operator that writes the deletion costs."""
    Marker(cluster, Readings(cluster, _GROUP), _GROUP)
    SessionsHpa(cluster, target, BOUNDS, buffer_percent=BUFFER_PERCENT, hurry=calls.shape.hurry)


def autoscale(incident: Incident = _QUIET, *, group: Group = _GROUP, plan: Decide = decide) -> Scaler:
    """spec.autoscale, and what befalls it."""

    def attach(cluster: Cluster, target: Target, calls: Day, seed: int) -> None:
        readings = Readings(cluster, group)
        Marker(cluster, readings, group)
        spec = autoscale_spec(ordinal=target.ordinal, hurry=calls.shape.hurry)
        scaler = Autoscaler(cluster, target, spec, readings, group, plan)
        seconds = calls.shape.seconds
        for part in incident.new_leader:
            cluster.at(part * seconds, scaler.lose_history)
        if incident.roll_out is not None:
            cluster.at(incident.roll_out * seconds, target.roll)
        if incident.deaf is not None:
            for part, deaf in zip(incident.deaf, (True, False), strict=True):
                cluster.at(part * seconds, partial(readings.hear, deaf=deaf))

    return attach


def autoscale_spec(*, ordinal: bool, hurry: float) -> Autoscale:
    """spec.autoscale with nothing but what must be given, and the buffer of the others."""
    usual = ScaleIn()
    return Autoscale(
        target=ScaleTarget(kind="StatefulSet" if ordinal else "Deployment", name="fs"),
        min=BOUNDS.least,
        max=BOUNDS.most,
        buffer=Buffer(percent=BUFFER_PERCENT),
        scale_in=usual.model_copy(update={"stabilization_window": usual.stabilization_window / hurry}),
    )


POLICIES = (
    Policy(
        name="HPA on CPU, SIGTERM",
        words="`autoscaling/v2` on 75 % CPU with its default behavior; a pod that goes is ended by a plain SIGTERM",
        attach=cpu_hpa,
        site=PLAIN,
    ),
    Policy(
        name="HPA on CPU, 10 min",
        words="the same with a `preStop` that waits for the last call, for ten minutes as cluster autoscalers allow",
        attach=cpu_hpa,
        site=TEN_MINUTES,
    ),
    Policy(
        name="HPA on CPU, 2 h",
        words="the same with a grace period that is longer than any call",
        attach=cpu_hpa,
    ),
    Policy(
        name="HPA on sessions",
        words="[the recipe](#hpa), the operator's deletion costs, `preStop`, a grace period longer than any call",
        attach=sessions_hpa,
    ),
    Policy(
        name="spec.autoscale",
        words="of a Deployment, at its defaults; SIGTERM ends the pods at once, as those that go are empty",
        attach=autoscale(),
        site=PLAIN,
    ),
    Policy(
        name="… StatefulSet",
        words="the same of a StatefulSet, whose highest ordinal has to go first",
        attach=autoscale(),
        site=PLAIN,
        ordinal=True,
    ),
    Policy(
        name="… new leader",
        words="another replica of the operator takes over at noon and at 17:30, and remembers nothing",
        attach=autoscale(Incident(new_leader=(0.5, 17.5 / 24))),
        site=PLAIN,
    ),
    Policy(
        name="… stale loads",
        words="the operator hears of no load for ten minutes of the morning's rise, from 8:15 on",
        attach=autoscale(Incident(deaf=(8.25 / 24, (8.25 + 1 / 6) / 24))),
        site=PLAIN,
    ),
    Policy(
        name="… roll-out",
        words="the pod template changes at noon; old pods keep their calls by `preStop` and a long grace period",
        attach=autoscale(Incident(roll_out=0.5)),
    ),
)


def by_name(name: str) -> Policy:
    """The policy of this name."""
    return next(policy for policy in POLICIES if policy.name == name)
