"""Cases of the alerts on nodes."""

from tests.views.rules.promtool import Case, Firing, balancer, node, states

FS0, FS1 = node("fs-0"), node("fs-1")


def _sessions(which, of, values, state="ready"):
    return [balancer(which, "node_sessions", values, **of), *states(which, of, (state, "1x600"))]


CASES = [
    Case(
        "SwitchtenderNodeDown",
        "nobody hears the node: one balancer is refused, the other has never heard it",
        [
            *states("a", FS0, ("ready", "1x8 0x40"), ("down", "0x8 1x40")),
            *states("b", FS0, ("unknown", "1x48")),
            *states("a", FS1, ("ready", "1x48")),
        ],
        "9m",
        [
            Firing(
                {**FS0, "state": "down"},
                "voice/ivr fs-0 is down",
                "No balancer hears the node. It gets no calls; those that it carries go on.",
            )
        ],
    ),
    Case(
        "SwitchtenderNodeDown",
        "one balancer hears it, another node came back within minutes, and a third was disabled",
        [
            *(
                series
                for which in "ab"
                for series in (
                    *states(which, node("fs-2"), ("down", "1x48")),
                    balancer(which, "node_disabled", "1x48", **node("fs-2")),
                )
            ),
            *states("a", FS0, ("down", "1x48")),
            *states("b", FS0, ("full", "1x48")),
            *states("a", FS1, ("down", "1x16 0x32"), ("ready", "0x16 1x32")),
        ],
        "6m",
    ),
    Case(
        "SwitchtenderNodeStale",
        "both balancers see it stale",
        [
            *states("a", FS0, ("ready", "1x4 0x20"), ("stale", "0x4 1x20")),
            *states("b", FS0, ("ready", "1x5 0x20"), ("stale", "0x5 1x20")),
        ],
        "5m",
        [
            Firing(
                {**FS0, "state": "stale"},
                "voice/ivr fs-0 has not reported for too long",
                "The node reported before and no balancer has a fresh report of it. What it carries is not known; "
                "whether it gets calls is a matter of health.whenStale.",
            )
        ],
    ),
    Case(
        "SwitchtenderNodeStale",
        "the other balancer has a fresh report",
        [*states("a", FS0, ("stale", "1x24")), *states("b", FS0, ("ready", "1x24"))],
        "5m",
    ),
    Case(
        "SwitchtenderNodePartlyUnreachable",
        "one of three balancers is refused by the node's access list",
        [
            *states("a", FS0, ("down", "1x48")),
            *states("b", FS0, ("ready", "1x48")),
            *states("c", FS0, ("ready", "1x48")),
        ],
        "8m",
        [
            Firing(
                FS0,
                "voice/ivr fs-0 is heard by some balancers only",
                "1 balancer(s) do not hear the node and send it no calls, while others do.",
            )
        ],
    ),
    Case(
        "SwitchtenderNodePartlyUnreachable",
        "nobody hears it, another drains, a third is full for one and has room for the other",
        [
            *states("a", FS0, ("down", "1x48")),
            *states("b", FS0, ("stale", "1x48")),
            *states("a", FS1, ("draining", "1x48")),
            *states("b", FS1, ("stale", "1x48")),
            *states("a", node("fs-2"), ("full", "1x48")),
            *states("b", node("fs-2"), ("ready", "1x48")),
        ],
        "8m",
    ),
    Case(
        "SwitchtenderEslAuthenticationRefused",
        "refused every half minute",
        [
            balancer("a", "esl_errors_total", "0+0.5x40", **FS0, reason="auth_failed"),
            balancer("b", "esl_errors_total", "0+0.5x40", **FS0, reason="auth_failed"),
            balancer("a", "esl_errors_total", "0x40", **FS1, reason="auth_failed"),
        ],
        "6m",
        [
            Firing(
                FS0,
                "voice/ivr fs-0 refuses the Event Socket login",
                "The node does not take the balancer's password or user, so its load is not known and it gets no "
                "calls.",
            )
        ],
    ),
    Case(
        "SwitchtenderEslAuthenticationRefused",
        "refused once while the password was rotated; the access list of another says no",
        [
            balancer("a", "esl_errors_total", "0x8 1x40", **FS0, reason="auth_failed"),
            balancer("a", "esl_errors_total", "0+1x40", **FS1, reason="acl_rejected"),
        ],
        "5m15s",
    ),
    Case(
        "SwitchtenderEslAccessDenied",
        "one balancer's address is not on the list",
        [
            balancer("a", "esl_errors_total", "0+0.5x40", **FS0, reason="acl_rejected"),
            balancer("b", "esl_errors_total", "0x40", **FS0, reason="acl_rejected"),
        ],
        "6m",
        [
            Firing(
                FS0,
                "voice/ivr fs-0 refuses the balancer's address",
                "The node's apply-inbound-acl does not have the balancer's address, so its load is not known and it "
                "gets no calls.",
            )
        ],
    ),
    Case(
        "SwitchtenderEslAccessDenied",
        "the node is merely unreachable",
        [
            balancer("a", "esl_errors_total", "0+1x40", **FS0, reason="unreachable"),
            balancer("a", "esl_errors_total", "0x40", **FS0, reason="acl_rejected"),
        ],
        "6m",
    ),
    Case(
        "SwitchtenderSessionsLeaked",
        "seven sessions for two hours, and no call sent by either balancer",
        [
            *_sessions("a", FS0, "7x150"),
            *_sessions("b", FS0, "7x150"),
            balancer("a", "node_calls_assigned_total", "500x150", **FS0),
            balancer("b", "node_calls_assigned_total", "900x150", **FS0),
        ],
        "140m",
        [
            Firing(
                FS0,
                "voice/ivr fs-0 reports 7 sessions that do not end",
                "The number of sessions has not moved for two hours in which the node got no call: they are likely "
                "channels that FreeSWITCH never freed, and they take room from calls.",
            )
        ],
        interval="1m",
    ),
    Case(
        "SwitchtenderSessionsLeaked",
        "calls come and go; one balancer alone sends them; a node is idle; another was seen first an hour ago",
        [
            *_sessions("a", FS0, "7x75 8x75"),
            balancer("a", "node_calls_assigned_total", "500x150", **FS0),
            *_sessions("a", FS1, "7x150"),
            balancer("a", "node_calls_assigned_total", "500x150", **FS1),
            balancer("b", "node_calls_assigned_total", "500+1x150", **FS1),
            *_sessions("a", node("fs-2"), "0x150"),
            balancer("a", "node_calls_assigned_total", "500x150", **node("fs-2")),
            *_sessions("a", node("fs-3"), "_x80 7x70"),
            balancer("a", "node_calls_assigned_total", "_x80 500x70", **node("fs-3")),
        ],
        "140m",
        interval="1m",
    ),
    Case(
        "SwitchtenderDrainPastDeadline",
        "five minutes past, and there are calls",
        [
            *_sessions("a", FS0, "3x600", "draining"),
            *_sessions("b", FS0, "3x600", "draining"),
            balancer("a", "node_drain_deadline_timestamp_seconds", "600x600", **FS0),
            balancer("b", "node_drain_deadline_timestamp_seconds", "600x600", **FS0),
        ],
        "15m",
        [
            Firing(
                FS0,
                "voice/ivr fs-0 still carries calls past the deadline of its drain",
                "The node should have been empty 5m 0s ago and reports sessions.",
            )
        ],
    ),
    Case(
        "SwitchtenderDrainPastDeadline",
        "one has time left, another is empty and waits for somebody to take it away",
        [
            *_sessions("a", FS0, "3x600", "draining"),
            balancer("a", "node_drain_deadline_timestamp_seconds", "900x600", **FS0),
            *_sessions("a", FS1, "0x600", "draining"),
            balancer("a", "node_drain_deadline_timestamp_seconds", "300x600", **FS1),
        ],
        "15m",
    ),
]
