"""Cases of the alerts on the number of nodes."""

from tests.views.rules.promtool import Case, Firing, balancer, node, of_group, operator, states

IVR, SALES = of_group(), of_group("sales")
FS0, FS1, FS2 = node("fs-0"), node("fs-1"), node("fs-2")


def _active(which, values, of=IVR):
    return operator(which, "group_condition", values, **of, type="AutoscaleActive")


def _bounds(least, desired, most, of=IVR):
    return [
        operator("a", "autoscale_min", least, **of),
        operator("a", "autoscale_desired", desired, **of),
        operator("a", "autoscale_max", most, **of),
    ]


CASES = [
    Case(
        "SwitchtenderAutoscaleInactive",
        "a node's load is not known; both operators read it from the status",
        [_active("a", "1x4 0x100"), _active("b", "1x4 0x100"), _active("a", "1x104", SALES)],
        "20m",
        [
            Firing(
                IVR,
                "voice/ivr: spec.autoscale is not in effect",
                "The condition AutoscaleActive says why. No node is taken away, and mostly none is added; those that "
                "there are take calls as ever.",
            )
        ],
    ),
    Case(
        "SwitchtenderAutoscaleInactive",
        "a node was restarted; another group is refused and scales nothing",
        [
            _active("a", "1x20 0x20 1x60"),
            _active("a", "-1x100", SALES),
            operator("a", "group_condition", "0x100", **SALES, type="Accepted"),
        ],
        "20m",
    ),
    Case(
        "SwitchtenderAutoscaleLimited",
        "the rush hour needs all that there may be",
        [*_bounds("2x100", "4x8 20x92", "20x100"), *_bounds("2x100", "19x100", "20x100", SALES)],
        "20m",
        [
            Firing(
                IVR,
                "voice/ivr: there may be no more than 20 nodes",
                "The calls need as many nodes as spec.autoscale.max allows, or more. Calls beyond what these can take "
                "will be rejected.",
            )
        ],
    ),
    Case(
        "SwitchtenderAutoscaleLimited",
        "for minutes; and a group that is to have three nodes has three",
        [*_bounds("2x100", "20x30 8x70", "20x100"), *_bounds("3x100", "3x100", "3x100", SALES)],
        "20m",
    ),
    Case(
        "SwitchtenderDrainedNotRemoved",
        "empty for more than an hour, as both balancers hear",
        [
            balancer("a", "node_drain_sessions", "3x10 0x80", **FS0),
            balancer("b", "node_drain_sessions", "3x10 0x80", **FS0),
        ],
        "75m",
        [
            Firing(
                FS0,
                "voice/ivr fs-0 is drained and still there",
                "The node has carried no call for an hour, takes none and costs what a node costs.",
            )
        ],
        interval="1m",
    ),
    Case(
        "SwitchtenderDrainedNotRemoved",
        "one has a call left, one is gone soon after, one is not heard, and one balancer lags",
        [
            balancer("a", "node_drain_sessions", "1x90", **FS0),
            balancer("a", "node_drain_sessions", "0x20 stale", **FS1),
            balancer("a", "node_drain_since_timestamp_seconds", "0x90", **FS2),
            balancer("a", "node_drain_sessions", "0x90", **node("fs-3")),
            balancer("b", "node_drain_sessions", "1x30 0x60", **node("fs-3")),
        ],
        "75m",
        interval="1m",
    ),
    Case(
        "SwitchtenderDrainingMost",
        "two of three nodes",
        [
            *states("a", FS0, ("draining", "1x100")),
            *states("b", FS0, ("ready", "1x100")),
            *states("a", FS1, ("draining", "1x100")),
            *states("a", FS2, ("ready", "1x100")),
        ],
        "20m",
        [Firing(IVR, "voice/ivr: 66.67% of the nodes drain", "They take no new calls; the others take them all.")],
    ),
    Case(
        "SwitchtenderDrainingMost",
        "half of them in a roll-out, which is not most",
        [*states("a", FS0, ("draining", "1x100")), *states("a", FS1, ("ready", "1x100"))],
        "20m",
    ),
]
