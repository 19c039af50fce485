"""Callers outside the cluster (provider sim): SIPp and single calls that go through the Service of the balancers."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.installation import Balancer
from tests.e2e.providers.cluster import Cluster, Json
from tests.e2e.voice import Voice
from tests.stand import sipp
from tests.stand.agent import Agent, Dialog, SilenceError, request, uri_of

CALLER = "192.0.2.10"
SERVICE = "10.96.50.60"
"""The SIP Service's address; fixed, because the balancers advertise it to callers."""
VALUES = {
    "balancer": {
        "listenAddress": "$(POD_IP)",
        "advertise": {"host": SERVICE, "port": 5060},
        "nat": True,
        "service": {"type": "ClusterIP", "clusterIP": SERVICE},
    }
}


def create_group(voice: Voice, user: str, **spec: Any) -> Json:
    """A group that claims the calls to ``user`` alone, before any that other scenarios have left behind."""
    rules = [{"requestUri": {"userPattern": f"^{user}$"}}]
    return voice.create_group("ivr", match={"priority": 10, "rules": rules}, **spec)


def until_routable(balancers: Sequence[Balancer], names: Collection[str]) -> None:
    """Wait until every balancer has exactly these nodes ready."""

    def there() -> bool:
        return all(
            {name for name, node in balancer.nodes().items() if node["state"] == "ready"} >= set(names)
            and set(balancer.nodes()) == set(names)
            for balancer in balancers
        )

    balancers[0].cluster.until(there, f"nodes {sorted(names)} ready at every balancer", 40)
    until_served(balancers)


def until_served(balancers: Sequence[Balancer]) -> None:
    """Wait until the Service leads to every balancer; kube-proxy takes a moment to know of a ready pod."""
    cluster = balancers[0].cluster
    options = "switchtender_sip_options_answered_total"
    with cluster.inside():
        before = [balancer.program.metric(options) for balancer in balancers]

        def asked() -> bool:
            # A flow of its own each time: that is what a Service shares out.
            with Agent(CALLER) as agent:
                agent.send(request("OPTIONS", f"sip:{SERVICE}:5060", agent), (SERVICE, 5060))
                with contextlib.suppress(SilenceError):
                    agent.receive(1)
            counted = [balancer.program.metric(options) for balancer in balancers]
            return all(now > then for now, then in zip(counted, before, strict=True))

        cluster.until(asked, "an answer of every balancer through the Service", 60)


def call(cluster: Cluster, folder: Path, user: str, target: str = f"{SERVICE}:5060", **options: Any) -> sipp.Run:
    """Start SIPp inside the cluster's network."""
    with cluster.inside():
        return sipp.start("call", target, folder, local=CALLER, service=user, **options)


def flawless(result: sipp.Result, calls: int) -> None:
    """Every call was set up, stood and ended as it should."""
    assert (result.successful, result.failed, result.unexpected) == (calls, 0, 0), result.output


def offered(*balancers: Balancer) -> list[int]:
    """How many calls each has taken on."""
    with balancers[0].cluster.inside():
        return [int(each.program.metric("switchtender_calls_offered_total")) for each in balancers]


class StandingCall:
    """A call of a flow of its own, set up through the Service, that stands until somebody hangs up."""

    def __init__(self, cluster: Cluster, user: str, through: str = SERVICE) -> None:
        with cluster.inside():
            self._agent = Agent(CALLER)
        invite = request("INVITE", f"sip:{user}@{SERVICE}:5060", self._agent)
        self._agent.send(invite, (through, 5060))
        answer = self._agent.next(200, 10)
        self._dialog = Dialog.of_caller(self._agent, answer)
        self._dialog.first_hop = (through, 5060)
        self._dialog.send("ACK")
        self.node = uri_of(answer["Contact"]).partition("@")[2].partition(":")[0]

    def close(self) -> None:
        """Forget it."""
        self._agent.close()

    def hang_up(self, through: str = SERVICE) -> int | None:
        """BYE, again as a user agent sends it again (RFC 3261 §17.1.2), until there is an answer; its status."""
        self._dialog.first_hop = (through, 5060)
        bye = self._dialog.send("BYE")
        for _ in range(20):
            try:
                return self._agent.receive(1).status
            except SilenceError:
                self._agent.send(bye, self._dialog.hop)
        return None

    def hung_up(self) -> str | None:
        """Where the other side's BYE came from; None when none came."""
        try:
            bye = self._agent.next("BYE", 15)
        except SilenceError:
            return None
        self._agent.reply(bye, 200, "OK")
        return bye.source[0]
