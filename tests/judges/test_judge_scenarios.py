"""Calls in every shape, SIPp on both sides: each scenario is a pair of files, the caller's side and the node's.

All pairs run at once, each with a group and a node of its own, before the first test looks at what became of them.
"""

import subprocess
from dataclasses import dataclass

import pytest

from tests.stand import sipp
from tests.stand.balancer import Layout
from tests.stand.scripted import group, scripted

pytestmark = pytest.mark.usefixtures("sipp_installed")

LAYOUT = Layout(address="127.0.0.120", http=18220, workers=2)
TARGET = f"{LAYOUT.address}:{LAYOUT.sip}"
NODE = "127.0.0.121"
CALLS = 4
BOTH = {"address": LAYOUT.address, "port": LAYOUT.sip, "transports": ["UDP", "TCP"], "name": "public"}


@dataclass(frozen=True)
class Pair:
    """A scenario between a caller and its node, each over a transport ("u1" or "t1", as SIPp names them)."""

    name: str
    caller: str = "u1"
    node: str = "u1"
    match: str = "requestUri"
    nodes: int = 1

    @property
    def id(self):
        return f"{self.name}-{self.caller}-{self.node}"


SCENARIOS = [
    Pair("forked"),
    Pair("forked", "t1", "t1"),
    Pair("prack"),
    Pair("prack", "t1", "u1"),
    Pair("session-changes"),
    Pair("session-changes", "t1", "u1"),
    Pair("session-changes", "u1", "t1"),
    Pair("refer"),
    Pair("refer", "t1", "t1"),
    Pair("subscription"),
    Pair("subscription", "t1", "u1"),
    Pair("replaces", nodes=2),
    Pair("replaces", "t1", "u1", nodes=2),
    Pair("register-and-be-called", match="to"),
    Pair("register-and-be-called", "t1", "u1", match="to"),
    Pair("lost-answer"),
    Pair("lost-ack"),
    Pair("cancel-too-late"),
    Pair("cancel-too-late", "t1", "u1"),
    Pair("re-invite-meets-bye"),
    Pair("preloaded-route"),
    Pair("strict-router"),
    Pair("strict-router", "t1", "u1"),
]
PORTS = {pair.id: 5100 + 2 * number for number, pair in enumerate(SCENARIOS)}
"""SIPp takes ports from 6000 on for media, whether or not a scenario has any."""
HOMES = [(NODE, 5090 + number) for number in range(3)]


def places(pair):
    """Where the nodes of a pair stand."""
    return [(NODE, PORTS[pair.id] + number) for number in range(pair.nodes)]


def document(pair):
    match = {"rules": [{pair.match: {"userPattern": f"^{pair.id}-"}}]}
    made = group(pair.id, places(pair), match=match)
    if pair.node == "t1":
        for member in made.spec["members"]["static"]:
            member["sip"] += ";transport=tcp"
    return made


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """A balancer with a group for every pair, and one for registrations."""
    folder = tmp_path_factory.mktemp("scenarios")
    homes = group("homes", HOMES, match={"rules": [{"to": {"userPattern": "^home-"}}]})
    with scripted(folder, LAYOUT, {}, [*map(document, SCENARIOS), homes], listeners=[BOTH]):
        yield folder
        sipp.end_all()


@pytest.fixture(scope="module")
def played(serve):
    """What SIPp counted on each side, by scenario. Calls go around the nodes of a pair, so each has as many."""
    nodes = {
        pair: [
            sipp.answer(f"{pair.name}-node", *place, serve, calls=CALLS // pair.nodes, transport=pair.node)
            for place in places(pair)
        ]
        for pair in SCENARIOS
    }
    callers = {
        pair: sipp.start(
            f"{pair.name}-caller", TARGET, serve, calls=CALLS, rate=20, service=f"{pair.id}-1", transport=pair.caller
        )
        for pair in SCENARIOS
    }
    return {pair: [outcome(run) for run in (callers[pair], *nodes[pair])] for pair in SCENARIOS}


def outcome(run):
    try:
        return run.result(6)
    except subprocess.TimeoutExpired as error:
        return error


@pytest.mark.parametrize("pair", SCENARIOS, ids=lambda pair: pair.id)
def test_both_sides_saw_what_they_should(played, pair):
    sides = played[pair]
    for side in sides:
        assert isinstance(side, sipp.Result), side
        assert (side.failed, side.unexpected) == (0, 0), side.output
    assert [side.successful for side in sides] == [CALLS] + [CALLS // pair.nodes] * pair.nodes


def test_an_address_of_record_has_one_home_whatever_port_it_registers_from(serve):
    """Phones of one user, each registration from a port of its own: the node that knows one knows all."""
    users = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"]
    homes = [sipp.answer("register-node", *place, serve, calls=1000) for place in HOMES]
    for run in [
        sipp.start("register-caller", TARGET, serve, calls=3, rate=20, service=f"home-{user}", transport=transport)
        for user in users
        for transport in ("un", "tn")
    ]:
        result = run.result(6)
        assert (result.successful, result.failed) == (3, 0), result.output
    counts = [home.stop().created for home in homes]
    assert sum(counts) == 6 * len(users)
    assert all(count % 6 == 0 for count in counts), "no user has two homes"
    assert sum(count > 0 for count in counts) > 1, "not everybody has the same"
