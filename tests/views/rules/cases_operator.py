"""Cases of the alerts on the operator."""

from tests.views.rules.promtool import OPERATORS, Case, Firing, operator

WHO = {"namespace": "switchtender", "job": OPERATORS}
QUEUE = operator("a", "queue_oldest_seconds", "0+15x40")
SILENT = operator("b", "watch_last_activity_seconds", "0+15x60", resource="pods")
DRIFT = operator("a", "cache_drift_total", "0x8 1x40", resource="pods")
NOBODY_LEADS = Firing(
    WHO,
    f"{OPERATORS}: no operator leads",
    "Nothing is published: new, gone and drained pods and changed groups do not reach balancers. These go on with what "
    "they know.",
)

CASES = [
    Case(
        "SwitchtenderOperatorNotLeading",
        "two stand by",
        [operator("a", "is_leader", "1x4 0x40"), operator("b", "is_leader", "0x44")],
        "6m",
        [NOBODY_LEADS],
    ),
    Case(
        "SwitchtenderOperatorNotLeading",
        "both are gone",
        [operator("a", "is_leader", "1x4 stale"), operator("b", "is_leader", "0x4 stale")],
        "6m",
        [NOBODY_LEADS],
    ),
    Case(
        "SwitchtenderOperatorNotLeading",
        "the other one took over",
        [operator("a", "is_leader", "1x4 stale"), operator("b", "is_leader", "0x5 1x40")],
        "6m",
    ),
    Case(
        "SwitchtenderOperatorReconcileErrors",
        "each half minute one fails",
        [
            operator("a", "reconciles_total", "0+0.5x80", result="error"),
            operator("a", "reconciles_total", "0+4x80", result="ok"),
            operator("b", "reconciles_total", "0x80", result="error"),
        ],
        "17m",
        [
            Firing(
                WHO,
                f"{OPERATORS}: groups cannot be reconciled",
                "20 reconciliations failed within ten minutes; they are tried again.",
            )
        ],
    ),
    Case(
        "SwitchtenderOperatorReconcileErrors",
        "one failed and was tried again; the standby's turns are no errors",
        [
            operator("a", "reconciles_total", "0x20 2x60", result="error"),
            operator("b", "reconciles_total", "0+4x80", result="not_leader"),
        ],
        "17m",
    ),
    Case(
        "SwitchtenderOperatorQueueStuck",
        "for minutes",
        [QUEUE],
        "8m",
        [
            Firing(
                dict(QUEUE.labels),
                f"{OPERATORS}: a changed group waits for 8m 0s",
                "Groups change faster than the operator can publish them, or writes do not get through.",
            )
        ],
    ),
    Case(
        "SwitchtenderOperatorQueueStuck",
        "a storm that it worked off",
        [operator("a", "queue_oldest_seconds", "0+15x8 0x40")],
        "8m",
    ),
    Case(
        "SwitchtenderOperatorWatchSilent",
        "the standby hears nothing of pods",
        [SILENT, operator("a", "watch_last_activity_seconds", "30x60", resource="pods")],
        "10m",
        [
            Firing(
                dict(SILENT.labels),
                f"{OPERATORS}: nothing is heard of pods",
                "The API server has said nothing on the watch for 10m 0s, though it does each minute.",
            )
        ],
    ),
    Case(
        "SwitchtenderOperatorWatchSilent",
        "heard of within the minute",
        [operator("a", "watch_last_activity_seconds", "10 25 40 55 62x60", resource="pods")],
        "10m",
    ),
    Case(
        "SwitchtenderOperatorBalancerUnreached",
        "one of two does not answer",
        [
            operator("a", "balancers", "2x40", balancer="default", state="found"),
            operator("a", "balancers", "1x40", balancer="default", state="reached"),
        ],
        "6m",
        [
            Firing(
                {"balancer": "default"},
                "balancer default: the operator does not reach 1 of its replicas",
                "The operator finds them in the EndpointSlices and gets no answer from /api/v1/state, so the status of "
                "groups does not tell what they see.",
            )
        ],
    ),
    Case(
        "SwitchtenderOperatorBalancerUnreached",
        "a new replica starts within a minute",
        [
            operator("a", "balancers", "2x8 3x40", balancer="default", state="found"),
            operator("a", "balancers", "2x12 3x40", balancer="default", state="reached"),
        ],
        "6m",
    ),
    Case(
        "SwitchtenderOperatorCacheDrift",
        "an object was found different",
        [DRIFT],
        "4m",
        [
            Firing(
                dict(DRIFT.labels),
                f"{OPERATORS}: a watch on pods had lost a change",
                "A full list found objects that the watch had not told of. They are right again now.",
            )
        ],
    ),
    Case("SwitchtenderOperatorCacheDrift", "none", [operator("a", "cache_drift_total", "0x40", resource="pods")], "4m"),
]
