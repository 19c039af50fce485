"""Cases of the alerts on calls."""

from tests.views.rules.promtool import Case, Firing, balancer, node, of_group, states

IVR = of_group()


def _load(which, effective):
    of = node()
    return [
        balancer(which, "node_effective_sessions", effective, **of),
        balancer(which, "node_capacity_sessions", "100x480", **of),
        *states(which, of, ("ready", "1x480")),
    ]


CASES = [
    Case(
        "SwitchtenderNoEligibleNode",
        "one of two balancers sees nobody: its callers are refused",
        [
            balancer("a", "group_eligible_nodes", "2x8 0x20", **IVR),
            balancer("b", "group_eligible_nodes", "2x28", **IVR),
            balancer("a", "group_eligible_nodes", "1x28", **of_group("conference")),
        ],
        "5m",
        [
            Firing(
                IVR,
                "voice/ivr: no node can take a call",
                "For 1 balancer(s) no node of the group would take a call now: all are full, draining, stale or down. "
                "Their callers are refused, or spill where the group says so.",
            )
        ],
    ),
    Case(
        "SwitchtenderNoEligibleNode",
        "a balancer that starts has heard nobody for a few seconds",
        [
            balancer("a", "group_eligible_nodes", "_x4 0x2 2x20", **IVR),
            balancer("b", "group_eligible_nodes", "2x28", **IVR),
        ],
        "90s",
    ),
    Case(
        "SwitchtenderAllNodesFull",
        "two balancers refuse a call every two seconds",
        [
            balancer("a", "calls_rejected_total", "0x8 0+5x20", **IVR, cause="full"),
            balancer("b", "calls_rejected_total", "0x8 0+2.5x20", **IVR, cause="full"),
        ],
        "7m",
        [
            Firing(
                IVR,
                "voice/ivr: calls are refused, every node is full",
                "500m calls a second get 503 because no node has room for one more.",
            )
        ],
    ),
    Case(
        "SwitchtenderAllNodesFull",
        "a single call was refused, others for another cause",
        [
            balancer("a", "calls_rejected_total", "0x8 1x20", **IVR, cause="full"),
            balancer("a", "calls_rejected_total", "0+5x28", **IVR, cause="none_ready"),
        ],
        "4m15s",
    ),
    Case(
        "SwitchtenderCallsRefused",
        "no node takes calls",
        [
            balancer("a", "calls_rejected_total", "0+15x28", **IVR, cause="none_ready"),
            balancer("b", "calls_rejected_total", "0+15x28", **IVR, cause="none_ready"),
            balancer("a", "calls_rejected_total", "0x28", **IVR, cause="refused"),
        ],
        "6m",
        [
            Firing(
                {**IVR, "cause": "none_ready"},
                "voice/ivr: calls are refused (none_ready)",
                "2 calls a second are refused: none_ready says that no node takes calls, refused that every node tried "
                "said no by itself.",
            )
        ],
    ),
    Case(
        "SwitchtenderCallsRefused",
        "calls are refused because all is full, which another alert tells",
        [
            balancer("a", "calls_rejected_total", "0+15x28", **IVR, cause="full"),
            balancer("a", "calls_rejected_total", "0x28", **IVR, cause="none_ready"),
        ],
        "6m",
    ),
    Case(
        "SwitchtenderGroupNearCapacity",
        "two balancers show the same 90 sessions of 100, which are not 180",
        [*_load("a", "90x480"), *_load("b", "88x480")],
        "7m",
        [
            Firing(
                IVR,
                "voice/ivr: 90% of the capacity is in use",
                "Effective sessions of the nodes that take calls are 90% of what these may carry. At 100% callers are "
                "refused.",
            )
        ],
    ),
    Case(
        "SwitchtenderGroupNearCapacity",
        "two balancers show 50 sessions of 100, and a full node drains",
        [
            *_load("a", "50x480"),
            *_load("b", "50x480"),
            balancer("a", "node_effective_sessions", "100x480", **node("fs-1")),
            balancer("a", "node_capacity_sessions", "100x480", **node("fs-1")),
            *states("a", node("fs-1"), ("draining", "1x480")),
        ],
        "7m",
    ),
    Case(
        "SwitchtenderFailoverRate",
        "every tenth call, over both balancers",
        [
            balancer("a", "calls_offered_total", "0+30x60", **IVR),
            balancer("b", "calls_offered_total", "0+30x60", **IVR),
            balancer("a", "failovers_total", "0+3x60", **IVR, cause="silence"),
            balancer("b", "failovers_total", "0+3x60", **IVR, cause="refusal"),
        ],
        "12m",
        [
            Firing(
                IVR,
                "voice/ivr: calls go on to a second node",
                "10% of the new calls had to be tried on another node, as the first one refused, did not answer or "
                "could not be reached.",
            )
        ],
    ),
    Case(
        "SwitchtenderFailoverRate",
        "one call in twenty-five, and three of the four calls of a quiet night",
        [
            balancer("a", "calls_offered_total", "0+50x60", **IVR),
            balancer("a", "failovers_total", "0+2x60", **IVR, cause="silence"),
            balancer("a", "calls_offered_total", "0x40 4x20", **of_group("night")),
            balancer("a", "failovers_total", "0x40 3x20", **of_group("night"), cause="silence"),
        ],
        "12m",
    ),
]
