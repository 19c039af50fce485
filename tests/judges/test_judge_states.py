"""The states that a node is seen in, against nodes that behave as real ones were measured to.

Every case happens to a node of its own, all at the same time, under one balancer: first what goes wrong, for a few
seconds, then its end. What the balancer logged of a node is the whole truth, in order, however short it was.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.nodes import Node, Nodes, simulated
from tests.stand.process import StandError, until

pytestmark = pytest.mark.slow

LAYOUT = Layout(address="127.0.0.98", http=18120)
OPTIONS = ("--heartbeat-interval", "1", "--boot-time", "0.3")

READY = "ready Reporting"
PAUSED = "draining Paused"
REQUESTED = "draining ShutdownRequested"
ENDING = "draining ShuttingDown"
CLOSED = "stale ConnectionClosed"
RESET = "down ConnectionReset"
SILENT = "stale PollsUnanswered"
REFUSED = "down ConnectionRefused"

Step = Callable[[Nodes, str], object]


def action(*names: str) -> Step:
    return lambda nodes, node: [nodes.do(node, name) for name in names]


def fault(**switches: Any) -> Step:
    return lambda nodes, node: nodes.fault(node, **switches)


def setting(then: str = "", **settings: Any) -> Step:
    def change(nodes: Nodes, node: str) -> None:
        nodes.change(node, **settings)
        if then:
            nodes.do(node, then)

    return change


def nothing(nodes: Nodes, node: str) -> None:
    """It comes back by itself, or not at all."""


@dataclass(frozen=True)
class Case:
    """What happens to a node, the states it then goes through, its end, and the states after that.

    ``taken``: whether new calls may go there in between. ``aside``: a state that comes or not, as the questions happen
    to fall. ``passing``: states that may come on the way back, since a login is no report yet.
    """

    begin: Step
    states: Sequence[str]
    end: Step = nothing
    after: Sequence[str] = (READY,)
    taken: bool = False
    aside: str = ""
    passing: Sequence[str] = ()


CASES = {
    "paused": Case(action("pause?direction=inbound"), [PAUSED], action("resume?direction=inbound")),
    "paused-both": Case(action("pause"), [PAUSED], action("resume"), aside="draining NotReady"),
    "paused-outbound": Case(action("pause?direction=outbound"), [], taken=True, after=()),
    "elegant": Case(
        setting("shutdown?mode=elegant", background_sessions=1), [REQUESTED], action("shutdown?mode=cancel")
    ),
    "term": Case(action("term"), [ENDING, REFUSED], action("start?wait=1"), passing=[ENDING]),
    "crash": Case(action("crash"), [CLOSED, REFUSED], action("start?wait=1"), passing=[CLOSED]),
    "silent": Case(fault(esl_silent=True), [SILENT], fault(esl_silent=False)),
    "drip": Case(fault(esl_drip=0.2), [SILENT], fault(esl_drip=0)),
    "half-open": Case(fault(esl_half_open=True), [SILENT], fault(esl_half_open=False)),
    "frozen": Case(fault(frozen=True), [SILENT], fault(frozen=False)),
    "garbage": Case(action("garbage?size=256"), ["stale ProtocolError", READY], after=(), taken=True),
    "notice": Case(action("notice-mid-frame"), [CLOSED, READY], after=(), taken=True),
    "closed": Case(action("esl-close"), [CLOSED, READY], after=(), taken=True),
    "reset": Case(action("esl-close?reset=1"), [RESET, "stale ConnectionReset", READY], after=(), taken=True),
    "excluded": Case(setting("esl-close", acl="10.0.0.0/8"), [CLOSED, "down AccessDenied"], after=()),
    "locked-out": Case(setting("esl-close", password="another"), [CLOSED, "down AuthenticationFailed"], after=()),
    "full": Case(setting(background_sessions=49), ["full NoRoom"], setting(background_sessions=0)),
    "no-heartbeat": Case(fault(no_heartbeat=True), [], fault(no_heartbeat=False), after=(), taken=True),
}
NODES = [Node(name, 80 + number, {"max-sessions": 50}) for number, name in enumerate(CASES)]
STATE = re.compile(r"node is (unknown|ready|full|draining|stale|down): (\w+) .*?node=(\S+)")
REST = 2.5
"""Seconds in which nothing more may happen: more than two polls."""


@dataclass
class Seen:
    """What the balancer made of each node: its states after the first ready, and its entry in the API."""

    during: dict[str, list[str]] = field(default_factory=dict)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: dict[str, list[str]] = field(default_factory=dict)
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    finally_shown: dict[str, dict[str, Any]] = field(default_factory=dict)


def histories(balancer):
    found: dict[str, list[str]] = {name: [] for name in CASES}
    for state, reason, name in STATE.findall(balancer.log.read_text()):
        if f"{state} {reason}" != CASES[name].aside:
            found[name].append(f"{state} {reason}")
    return {name: states[1:] for name, states in found.items()}


def wait_for(condition, patience):
    """Tests judge what came about; this only gives it the time."""
    try:
        until(condition, "all of it", patience)
    except StandError:
        return


def ended(nodes, name, case):
    """A process on its way out cannot be started yet."""
    until(lambda: case.end(nodes, name) or True, f"the end of {name}")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    config = folder / "balancer.yaml"
    # Most of these nodes are away at some moment; what whenStale and the panic threshold do then is judged elsewhere.
    group = Group("judged", NODES, {"health": {"whenStale": "Exclude", "panicThreshold": 0}})
    write_config(config, LAYOUT, [group], folder / "state")
    found = Seen()
    with simulated(NODES, folder, *OPTIONS) as nodes, serving(config, LAYOUT) as balancer:
        until(lambda: set(balancer.states().values()) == {"ready"}, "all nodes ready")
        until(lambda: all(node["coreUUID"] for node in balancer.nodes().values()), "a heartbeat of each node")
        found.before = balancer.nodes()
        for name, case in CASES.items():
            case.begin(nodes, name)
        wait_for(lambda: all(histories(balancer)[name] == list(case.states) for name, case in CASES.items()), 60)
        time.sleep(REST)
        found.during, found.shown = histories(balancer), balancer.nodes()
        for name, case in CASES.items():
            ended(nodes, name, case)
        back = {name for name, case in CASES.items() if case.after}
        wait_for(lambda: all(histories(balancer)[name][-1] == READY for name in back), 60)
        time.sleep(REST)
        found.finally_shown = balancer.nodes()
        found.after = {name: states[len(found.during[name]) :] for name, states in histories(balancer).items()}
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_node_goes_through_the_states_that_it_must(seen, name):
    case = CASES[name]
    assert seen.during[name] == list(case.states)
    entry = seen.shown[name]
    assert f"{entry['state']} {entry['reason']}" == (case.states or [READY])[-1]
    assert entry["eligible"] is case.taken


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.end is not nothing])
def test_and_comes_back_when_it_is_over(seen, name):
    case = CASES[name]
    assert [state for state in seen.after[name] if state not in case.passing] == list(case.after)
    assert seen.finally_shown[name]["eligible"]


def test_a_new_process_is_known_by_its_core_uuid(seen):
    for name in ("term", "crash"):
        assert seen.finally_shown[name]["coreUUID"] != seen.before[name]["coreUUID"]
    assert seen.finally_shown["closed"]["coreUUID"] == seen.before["closed"]["coreUUID"]


def test_what_only_people_can_mend_is_said_in_words(seen):
    assert "apply-inbound-acl" in seen.shown["excluded"]["linkDetail"]
    assert "refused the login" in seen.shown["locked-out"]["linkDetail"]


def test_errors_are_counted_by_reason(seen):
    reasons = {"silent": "silent", "garbage": "protocol_error", "closed": "closed", "reset": "reset"}
    reasons |= {"excluded": "acl_rejected", "locked-out": "auth_failed", "crash": "unreachable"}
    for name, reason in reasons.items():
        assert seen.shown[name]["eslErrors"][reason] >= 1
    assert set(seen.shown["paused"]["eslErrors"].values()) == {0}
