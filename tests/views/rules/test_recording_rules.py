"""Recording rules: a group's numbers are right whatever its balancers make of its nodes."""

import subprocess

import pytest
from tools.monitoring.model import Recording as Rule
from tools.monitoring.recording import BUFFER, RULES, STATES_BY_WEIGHT
from tools.monitoring.rules import DEPLOY

from switchtender.load.states import STATES
from tests.views.rules.promtool import Recorded, Recording, Series, balancer, judge, node, of_group, states

pytestmark = pytest.mark.usefixtures("promtool")

ON = "1x20"
"""All the time."""


def load(which, of, sessions, effective, capacity):
    """What a balancer that hears the node exports of it."""
    return [
        balancer(which, "node_sessions", sessions, **of),
        balancer(which, "node_effective_sessions", effective, **of),
        balancer(which, "node_capacity_sessions", capacity, **of),
    ]


def in_state(of, state):
    """The recorded states of a node: 1 for one, 0 for the others."""
    return [({**of, "state": one}, float(one == state)) for one in STATES]


def counts(of, **nodes):
    return [({**of, "state": state}, float(nodes.get(state, 0))) for state in STATES]


def scaling(of, *, free, per, buffer, wanted):
    """What an autoscaler goes by."""
    return [
        Recorded("namespace_group:switchtender_free_sessions:sum", [(of, free)]),
        Recorded("namespace_group:switchtender_capacity_sessions:median", [(of, per)]),
        Recorded("namespace_group:switchtender_buffer_sessions:max", [(of, buffer)]),
        Recorded("namespace_group:switchtender_wanted_nodes:ceil", [(of, wanted)]),
    ]


NOTHING_TO_SCALE_BY = [
    Recorded(f"namespace_group:switchtender_{name}", [])
    for name in ("free_sessions:sum", "capacity_sessions:median", "buffer_sessions:max", "wanted_nodes:ceil")
]


def group_sums(of, *, sessions, effective, capacity, draining):
    found = (("sessions", sessions), ("effective_sessions", effective), ("capacity_sessions", capacity))
    return [
        *(Recorded(f"namespace_group:switchtender_{name}:sum", [(of, value)]) for name, value in found),
        Recorded("namespace_group:switchtender_draining_sessions:sum", [(of, draining)]),
        Recorded("namespace_group:switchtender_utilization:ratio", [(of, effective / capacity)]),
    ]


IVR = of_group("ivr")
FS0, FS1, FS2 = node("fs-0"), node("fs-1"), node("fs-2")

CASES = [
    Recording(
        "two balancers export the same nodes, each is taken once, at its larger numbers",
        [
            *load("a", FS0, "40x20", "44x20", "99x20"),
            *load("b", FS0, "41x20", "42x20", "98x20"),
            *load("a", FS1, "10x20", "10x20", "49x20"),
            *load("b", FS1, "10x20", "13x20", "49x20"),
            *(series for which in "ab" for of in (FS0, FS1) for series in states(which, of, ("ready", ON))),
        ],
        "2m",
        [
            Recorded("namespace_group_node:switchtender_node_sessions:max", [(FS0, 41), (FS1, 10)]),
            Recorded("namespace_group_node:switchtender_node_effective_sessions:max", [(FS0, 44), (FS1, 13)]),
            Recorded("namespace_group_node:switchtender_node_capacity_sessions:max", [(FS0, 99), (FS1, 49)]),
            Recorded("namespace_group:switchtender_nodes:count", counts(IVR, ready=2)),
            *group_sums(IVR, sessions=51, effective=57, capacity=148, draining=0),
            *scaling(IVR, free=55 + 36, per=74, buffer=11.4, wanted=1),
        ],
    ),
    Recording(
        "draining nodes stand apart: their sessions are no load of the group, their room no capacity",
        [
            *load("a", FS0, "40x20", "40x20", "99x20"),
            *load("a", FS1, "70x20", "70x20", "99x20"),
            *states("a", FS0, ("ready", ON)),
            *states("a", FS1, ("draining", ON)),
        ],
        "2m",
        [
            Recorded("namespace_group:switchtender_nodes:count", counts(IVR, ready=1, draining=1)),
            *group_sums(IVR, sessions=40, effective=40, capacity=99, draining=70),
            *scaling(IVR, free=59, per=99, buffer=8, wanted=1),
        ],
    ),
    Recording(
        "one balancer sees a node stale and drops its load: the others know it",
        [
            *load("a", FS0, "40x4 stale", "40x4 stale", "99x4 stale"),
            *load("b", FS0, "41x20", "43x20", "99x20"),
            *states("a", FS0, ("ready", "1x4 0x20"), ("stale", "0x4 1x20")),
            *states("b", FS0, ("ready", ON)),
        ],
        "3m",
        [
            Recorded("namespace_group_node:switchtender_node_state:max", in_state(FS0, "ready")),
            *group_sums(IVR, sessions=41, effective=43, capacity=99, draining=0),
        ],
    ),
    Recording(
        "every balancer sees a node stale: it has neither sessions nor capacity any more, and is still counted",
        [
            *(
                series
                for which in "ab"
                for series in (
                    *load(which, FS0, "90x4 stale", "90x4 stale", "99x4 stale"),
                    *load(which, FS1, "10x20", "10x20", "49x20"),
                    *states(which, FS0, ("full", "1x4 0x20"), ("stale", "0x4 1x20")),
                    *states(which, FS1, ("ready", ON)),
                )
            ),
        ],
        "3m",
        [
            Recorded("namespace_group_node:switchtender_node_sessions:max", [(FS1, 10)]),
            Recorded("namespace_group:switchtender_nodes:count", counts(IVR, ready=1, stale=1)),
            *group_sums(IVR, sessions=10, effective=10, capacity=49, draining=0),
            *scaling(IVR, free=39, per=49, buffer=2, wanted=1 + 1),
        ],
    ),
    Recording(
        "no balancer hears any node: no sums, which is something else than zero, and no draining sessions",
        [*states("a", FS0, ("down", ON)), *states("b", FS0, ("unknown", ON))],
        "2m",
        [
            Recorded("namespace_group_node:switchtender_node_state:max", in_state(FS0, "down")),
            Recorded("namespace_group:switchtender_sessions:sum", []),
            Recorded("namespace_group:switchtender_capacity_sessions:sum", []),
            Recorded("namespace_group:switchtender_utilization:ratio", []),
            Recorded("namespace_group:switchtender_draining_sessions:sum", [(IVR, 0)]),
            *NOTHING_TO_SCALE_BY,
        ],
    ),
    Recording(
        "a balancer that has just started knows nothing, and takes nothing away",
        [
            *load("a", FS0, "40x20", "40x20", "99x20"),
            *load("b", FS0, "40x4 stale _x4 41x10", "40x4 stale _x4 41x10", "99x4 stale _x4 99x10"),
            *states("a", FS0, ("ready", ON)),
            *states("b", FS0, ("ready", "1x4 0x5 1x10"), ("unknown", "0x4 1x5 0x10")),
        ],
        "2m",
        [
            Recorded("namespace_group_node:switchtender_node_state:max", in_state(FS0, "ready")),
            *group_sums(IVR, sessions=40, effective=40, capacity=99, draining=0),
        ],
    ),
    Recording(
        "a balancer that was replaced leaves at once: its last numbers are not taken for today's",
        [
            *load("a", FS0, "95x4 stale", "95x4 stale", "99x4 stale"),
            *load("b", FS0, "20x20", "21x20", "99x20"),
            *states("b", FS0, ("ready", ON)),
        ],
        "2m",
        group_sums(IVR, sessions=20, effective=21, capacity=99, draining=0),
    ),
    Recording(
        "a node in two groups counts in each, under each group's name for it",
        [
            *load("a", node("fs-0", "ivr"), "40x20", "40x20", "99x20"),
            *load("a", node("media-0", "conference"), "40x20", "42x20", "79x20"),
            *states("a", node("fs-0", "ivr"), ("ready", ON)),
            *states("a", node("media-0", "conference"), ("ready", ON)),
        ],
        "2m",
        [
            Recorded("namespace_group:switchtender_sessions:sum", [(IVR, 40), (of_group("conference"), 40)]),
            Recorded("namespace_group:switchtender_capacity_sessions:sum", [(IVR, 99), (of_group("conference"), 79)]),
            Recorded(
                "namespace_group:switchtender_utilization:ratio", [(IVR, 40 / 99), (of_group("conference"), 42 / 79)]
            ),
        ],
    ),
    Recording(
        "nodes that take calls and may carry none are all used up",
        [*load("a", FS0, "0x20", "0x20", "0x20"), *states("a", FS0, ("full", ON))],
        "2m",
        [Recorded("namespace_group:switchtender_utilization:ratio", [(IVR, 1)])],
    ),
    Recording(
        "a group that is idle wants no node, which is a number; how few there may be is the autoscaler's to know",
        [*load("a", FS0, "0x20", "0x20", "50x20"), *states("a", FS0, ("ready", ON))],
        "2m",
        scaling(IVR, free=50, per=50, buffer=0, wanted=0),
    ),
    Recording(
        "whole numbers stay whole: 35 sessions and their fifth are one node of 42, not a hair more",
        [*load("a", FS0, "35x20", "35x20", "42x20"), *states("a", FS0, ("ready", ON))],
        "2m",
        scaling(IVR, free=7, per=42, buffer=7, wanted=1),
    ),
    Recording(
        "nodes of several sizes, one of them fuller than full and one with no room at all",
        [
            *load("a", FS0, "60x20", "61x20", "50x20"),
            *load("a", FS1, "5x20", "5x20", "50x20"),
            *load("a", FS2, "0x20", "0x20", "0x20"),
            *load("a", node("fs-3"), "80x20", "80x20", "200x20"),
            *states("a", FS0, ("full", ON)),
            *states("a", FS1, ("ready", ON)),
            *states("a", FS2, ("full", ON)),
            *states("a", node("fs-3"), ("ready", ON)),
        ],
        "2m",
        scaling(IVR, free=0 + 45 + 0 + 120, per=50, buffer=29.2, wanted=4),
    ),
    Recording(
        "a buffer of one's own, said twice under labels of others; groups without one keep theirs",
        [
            *load("a", FS0, "100x20", "100x20", "60x20"),
            *load("a", node("fs-9", "sales"), "100x20", "100x20", "60x20"),
            *states("a", FS0, ("ready", ON)),
            *states("a", node("fs-9", "sales"), ("ready", ON)),
            *(Series(BUFFER, {**IVR, "prometheus": which}, "81x20") for which in "xy"),
            Series(BUFFER, of_group("silent"), "30x20"),
        ],
        "2m",
        [
            Recorded("namespace_group:switchtender_buffer_sessions:max", [(IVR, 81), (of_group("sales"), 20)]),
            Recorded("namespace_group:switchtender_wanted_nodes:ceil", [(IVR, 4), (of_group("sales"), 2)]),
        ],
    ),
    Recording(
        "starting nodes and broken ones ask for no more nodes: that would not end",
        [
            *load("a", FS0, "50x20", "50x20", "60x20"),
            *states("a", FS0, ("ready", ON)),
            *states("a", FS1, ("unknown", ON)),
            *states("a", FS2, ("down", ON)),
        ],
        "2m",
        scaling(IVR, free=10, per=60, buffer=10, wanted=1),
    ),
    Recording(
        "calls are counted by rate first and summed then, so that a restart is no leap",
        [
            balancer("a", "calls_offered_total", "1000+30x20", **IVR),
            balancer("b", "calls_offered_total", "9000+30x2 0+30x20", **IVR),
            balancer("a", "calls_rejected_total", "0+15x20", **IVR, cause="full"),
            balancer("b", "calls_rejected_total", "0x20", **IVR, cause="full"),
            balancer("a", "calls_rejected_total", "0x20", **IVR, cause="none_ready"),
            balancer("a", "failovers_total", "0+3x20", **IVR, cause="silence"),
            balancer("b", "failovers_total", "0+3x20", **IVR, cause="silence"),
        ],
        "3m",
        [
            Recorded("namespace_group:switchtender_calls_offered:rate1m", [(IVR, 4)]),
            Recorded(
                "namespace_group:switchtender_calls_rejected:rate1m",
                [({**IVR, "cause": "full"}, 1), ({**IVR, "cause": "none_ready"}, 0)],
            ),
            Recorded("namespace_group:switchtender_failovers:rate1m", [({**IVR, "cause": "silence"}, 0.4)]),
        ],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recording_rule(case, tmp_path):
    assert judge([case], tmp_path) == ""


@pytest.mark.parametrize("stronger", range(len(STATES_BY_WEIGHT)), ids=STATES_BY_WEIGHT)
def test_a_node_is_in_one_state_whatever_two_balancers_say(stronger, tmp_path):
    cases = [
        Recording(
            f"{STATES_BY_WEIGHT[stronger]} and {other}",
            [*states(first, FS2, (STATES_BY_WEIGHT[stronger], ON)), *states(second, FS2, (other, ON))],
            "1m",
            [
                Recorded("namespace_group_node:switchtender_node_state:max", in_state(FS2, STATES_BY_WEIGHT[stronger])),
                Recorded("namespace_group:switchtender_nodes:count", counts(IVR, **{STATES_BY_WEIGHT[stronger]: 1})),
            ],
        )
        for other in STATES_BY_WEIGHT[stronger:]
        for first, second in ("ab", "ba")
    ]
    assert judge(cases, tmp_path) == ""


def test_a_wrong_expectation_is_found(tmp_path):
    """promtool is one that can fail."""
    wrong = [Recorded("namespace_group_node:switchtender_node_sessions:max", [(FS0, 41)])]
    assert "FAILED" in judge([Recording("wrong", load("a", FS0, "40x20", "40x20", "99x20"), "2m", wrong)], tmp_path)


def test_every_state_has_a_weight():
    assert sorted(STATES_BY_WEIGHT) == sorted(STATES)


def test_every_rule_is_tested():
    tested = {recorded.name for case in CASES for recorded in case.recorded}
    assert tested == {rule.name for rule in RULES.rules if isinstance(rule, Rule)}


def test_promtool_takes_the_file():
    done = subprocess.run(
        ["promtool", "check", "rules", str(DEPLOY / "rules.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
