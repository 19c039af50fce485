"""A core that records what it is told, drivers that say what the test wants, and plans in a line."""

import asyncio
import json
import os
import time
from typing import ClassVar

from switchtender._core import ConfigError
from switchtender.config.plan import make_plan
from switchtender.drivers.reports import Link, PauseAnswer, Readiness, Report
from switchtender_api.loader import load

CONFIG = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
metadata: {name: default}
spec: {listeners: [{name: public, address: 127.0.0.1}]}
"""
GROUP = """\
---
apiVersion: switchtender.dev/v1alpha1
kind: BalancerGroup
metadata: {name: %s, namespace: voice}
spec:
  members:
    static:
"""
FS1 = "voice/ivr/fs1@127.0.0.11:5060"
FS2 = "voice/ivr/fs2@127.0.0.12:5060"
SHARED = "voice/conf/a@127.0.0.11:5060"


def group(name, *members, spec=""):
    return GROUP % name + "".join(f"    - {member}\n" for member in members) + "".join(f"  {line}\n" for line in [spec])


def member(name, host, *, esl=True, password="ClueCon", port=8021, rest=""):
    load_url = f', load: "fs://:{password}@127.0.0.{host}:{port}"' if esl else ""
    return f'{{name: {name}, sip: "sip:127.0.0.{host}"{load_url}{rest}}}'


IVR = group("ivr", member("fs1", 11), member("fs2", 12))


def plan_of(*groups):
    return make_plan(load(CONFIG + "".join(groups), "test.yaml"), environ={})


class FakeBaseline:
    assigned = 0
    assigned_now = 0
    ended = 0
    exact = True


class FakeCore:
    """Keeps what it was told, in order; holds no more than the balancer may count on."""

    def __init__(self):
        self.calls = []
        self.refuses = None
        self.uids = set()
        self.waiting = []
        self.event_fd, self._signal = os.pipe()
        self.draws = {}
        self.more = {}
        self.effective = 1.0
        self.counters = []

    def apply(self, document):
        if self.refuses:
            raise ConfigError(*self.refuses)
        self.calls.append(("apply", json.loads(document)))
        self.uids = {node["uid"] for node in json.loads(document)["nodes"]}
        return sum(call[0] == "apply" for call in self.calls)

    def report(self, uid, **report):
        if uid not in self.uids:
            raise KeyError(uid)
        self.calls.append(("report", uid, report))

    def baseline(self, uid, age):
        if uid not in self.uids:
            raise KeyError(uid)
        if age > 0:  # at 0 it is looked at for its totals alone
            self.calls.append(("baseline", uid, age))
        return FakeBaseline()

    def stats(self):
        return json.dumps({"counters": self.counters, "gauges": [], "histograms": [], "workers": []}).encode()

    def restarted(self, uid):
        self.calls.append(("restarted", uid))

    def tell(self, *event):
        self.waiting.append(event)
        os.write(self._signal, b"x")

    def events(self, limit):
        os.read(self.event_fd, 1000)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def nodes(self):
        document = (self.applied() or [{"nodes": [], "groups": []}])[-1]
        entries = []
        for index, node in enumerate(document["nodes"]):
            places = [
                {
                    "namespace": one["namespace"],
                    "name": one["name"],
                    "verdict": self.draws.get(node["uid"], "Eligible"),
                    "eligible": True,
                    **dict.fromkeys(("capacity", "free", "utilization"), 1.0),
                    "effective": self.effective,
                    **{key: entry[key] for key in ("weight", "priority", "draining")},
                }
                for one in document["groups"]
                for entry in one["members"]
                if entry["node"] == index
            ]
            numbers = ("headroom", "share", "assigned", "ended", "in_flight", "legs_per_second", "requests_per_second")
            more = {"ejected_for_ms": 0, "answered_ago": None, "failures": 0, "resources": {}, "removed": False}
            more |= {"groups": places, "cooling": 0.0, **dict.fromkeys(numbers, 0), **self.more.get(node["uid"], {})}
            entries.append(node | more)
        gone = {"uid": "voice/ivr/gone@127.0.0.99:5060", "name": "gone", "sip": "x", "removed": True, "groups": []}
        return json.dumps({"generation": 1, "nodes": [*entries, gone]}).encode()

    def explain(self, question):
        asked = json.loads(question)
        if asked["request_uri"] == "bad":
            raise ConfigError("/request_uri", "not a URI")
        if "call_id" in asked and not isinstance(asked["call_id"], str):
            raise ConfigError("/call_id", "expected a string, found a number")
        document = json.loads(self.nodes())
        conf = {"namespace": "voice", "name": "conf"}
        found = [
            {**place, "uid": node["uid"], "name": node["name"], "sip": node["sip"]}
            for node in document["nodes"]
            for place in node["groups"]
            if place["name"] == "conf"
        ]
        choice = {key: found[0][key] for key in ("uid", "name", "sip")} if found else None
        return json.dumps({"group": conf if found else None, "candidates": found, "choice": choice}).encode()

    def close(self):
        os.close(self.event_fd)
        os.close(self._signal)

    def applied(self):
        return [call[1] for call in self.calls if call[0] == "apply"]

    def reports(self, uid):
        return [call[2] for call in self.calls if call[0] == "report" and call[1] == uid]


class FakeDriver:
    """Says what the test makes it say; knows when it was let go."""

    made: ClassVar[list] = []

    def __init__(self, host, port, credentials, listener, *, node, timing):
        self.host, self.port, self.credentials, self.node = host, port, credentials, node
        self.poll = timing.pace.poll
        self.say = listener
        self.left = False
        self.asked = []
        self.failure = asyncio.get_running_loop().create_future()
        FakeDriver.made.append(self)

    async def run(self):
        try:
            await self.failure
        finally:
            self.left = True

    def set_paused(self, *, paused):
        self.asked.append(paused)
        return True

    def checks(self, *, paused, ready=True, shutdown=False):
        """The node's answers to the checks."""
        now = time.monotonic()
        self.say(Readiness(ready=ready, paused_inbound=paused, shutdown_requested=shutdown, received=now))

    def answers(self, accepted=True, detail="+OK"):
        """The node's answer to what it was asked for."""
        self.say(PauseAnswer(accepted=accepted, detail=detail, received=time.monotonic()))

    def login(self):
        self.say(Link(state="connecting", detail="connecting", since=time.monotonic()))
        self.say(Link(state="authenticated", detail="logged in", since=time.monotonic()))

    def reports(self, sessions=3, max_sessions=100, **rest):
        now = time.monotonic()
        self.say(Report(source="poll", sessions=sessions, max_sessions=max_sessions, sent=now, received=now, **rest))


def driver(drivers, name):
    """The one that works for this node now."""
    [found] = [one for one in drivers if one.node == name and not one.left]
    return found


async def up(balancer, drivers, *groups):
    await balancer.apply(plan_of(*(groups or (IVR,))))
    await asyncio.sleep(0)
    for one in [one for one in drivers if not one.left]:
        one.login()
        one.reports()


def states(balancer):
    return {uid: (watch.state.name, watch.state.reason) for uid, watch in balancer.watches.items()}
