"""Cases of the alerts on configuration."""

from tests.views.rules.promtool import Case, Firing, balancer, of_group, operator

IVR = of_group()


def _target(series):
    return dict(series.labels)


RELOAD = balancer("a", "config_last_reload_successful", "1x4 0x20")
STUCK = balancer("a", "config_generation", "7x4 8x20")
OLD = balancer("a", "snapshot_age_seconds", "0+15x80")
WATCH = balancer("a", "watch_healthy", "1x4 0x40", watch="destinationsets")
EXPIRING = balancer("a", "certificate_expiry_timestamp_seconds", "435600x600", certificate="http")

CASES = [
    Case(
        "SwitchtenderReloadRefused",
        "one of two balancers refuses its file",
        [RELOAD, balancer("b", "config_last_reload_successful", "1x24")],
        "4m",
        [
            Firing(
                _target(RELOAD),
                "10.0.0.1:8080: the last configuration was refused",
                "The balancer goes on with the configuration before; the log says what is wrong with the new one. A "
                "restart would not come up with it.",
            )
        ],
    ),
    Case(
        "SwitchtenderReloadRefused",
        "refused, and put right at once",
        [balancer("a", "config_last_reload_successful", "1x4 0x3 1x20")],
        "4m",
    ),
    Case(
        "SwitchtenderGroupRejected",
        "both balancers keep the policy before",
        [balancer("a", "group_rejected", "1x24", **IVR), balancer("b", "group_rejected", "1x24", **IVR)],
        "4m",
        [
            Firing(
                IVR,
                "voice/ivr: the newest version is not served",
                "2 balancer(s) keep the policy before, as they cannot act on the newest one. Nodes are followed all "
                "the same.",
            )
        ],
    ),
    Case(
        "SwitchtenderGroupRejected",
        "served again: the series is gone",
        [balancer("a", "group_rejected", "1x12 stale", **IVR)],
        "4m",
    ),
    Case(
        "SwitchtenderGroupNotAccepted",
        "an edit is refused; both replicas know it",
        [
            operator("a", "group_condition", "1x4 0x40", **IVR, type="Accepted"),
            operator("b", "group_condition", "1x4 0x40", **IVR, type="Accepted"),
            operator("a", "group_condition", "1x44", **of_group("conf"), type="Accepted"),
            operator("a", "group_condition", "0x44", **of_group("conf"), type="Ready"),
        ],
        "5m",
        [
            Firing(
                IVR,
                "voice/ivr: the spec as it stands is refused",
                "The condition Accepted says why. What was accepted before stays in force; a group of which nothing "
                "ever was takes no calls.",
            )
        ],
    ),
    Case(
        "SwitchtenderGroupNotAccepted",
        "put right within a minute; of another nothing is known",
        [
            operator("a", "group_condition", "1x4 0x4 1x40", **IVR, type="Accepted"),
            operator("a", "group_condition", "-1x44", **of_group("conf"), type="Accepted"),
        ],
        "5m",
    ),
    Case(
        "SwitchtenderEditNotInForce",
        "of one group the edits stay out, of another everything",
        [
            operator("a", "group_generation", "3x4 5x60", **IVR),
            operator("b", "group_generation", "3x4 5x60", **IVR),
            operator("a", "group_generation_in_force", "3x64", **IVR),
            operator("b", "group_generation_in_force", "3x64", **IVR),
            operator("a", "group_condition", "1x64", **IVR, type="Accepted"),
            operator("a", "group_generation", "1x64", **of_group("conf")),
        ],
        "8m",
        [
            Firing(
                of_group(which),
                f"voice/{which}: an edit is not in force",
                f"What is published for balancers is {behind} generation(s) older than the group, though nothing "
                "refuses it: the operator does not get to it, or cannot write the DestinationSet.",
            )
            for which, behind in (("ivr", 2), ("conf", 1))
        ],
    ),
    Case(
        "SwitchtenderEditNotInForce",
        "in force at once; and one that is refused has its own alert",
        [
            operator("a", "group_generation", "3x4 5x60", **IVR),
            operator("a", "group_generation_in_force", "3x5 5x60", **IVR),
            operator("a", "group_condition", "1x64", **IVR, type="Accepted"),
            operator("a", "group_generation", "2x64", **of_group("conf")),
            operator("a", "group_generation_in_force", "1x64", **of_group("conf")),
            operator("a", "group_condition", "0x64", **of_group("conf"), type="Accepted"),
        ],
        "8m",
    ),
    Case(
        "SwitchtenderNodeSideUnreachable",
        "static nodes of one group",
        [operator("a", "group_condition", "1x60", **IVR, type="NodeSideUnreachable")],
        "8m",
        [
            Firing(
                IVR,
                "voice/ivr: some nodes cannot reach the balancer",
                "No address in nodeSide.advertise is for their network, so their answers and BYEs do not come back. "
                "The condition NodeSideUnreachable names them.",
            )
        ],
    ),
    Case(
        "SwitchtenderNodeSideUnreachable",
        "an entry was added: the series is gone",
        [
            operator("a", "group_condition", "1x10 stale", **IVR, type="NodeSideUnreachable"),
            operator("a", "group_condition", "1x60", **IVR, type="Accepted"),
        ],
        "8m",
    ),
    Case(
        "SwitchtenderGenerationLag",
        "the operator published 12, a balancer acts on 11; of another group two balancers act on two versions",
        [
            operator("a", "published_generation", "11x4 12x40", **IVR),
            operator("b", "published_generation", "11x4 12x40", **IVR),
            operator("a", "acked_generation", "11x44", **IVR),
            balancer("a", "group_generation", "3x44", **of_group("night")),
            balancer("b", "group_generation", "3x4 5x40", **of_group("night")),
        ],
        "8m",
        [
            Firing(
                of,
                f"voice/{of['group']}: a balancer is {behind} version(s) behind",
                "What is published for the group is not acted on by every balancer, or balancers act on different "
                "versions of it.",
            )
            for of, behind in ((IVR, 1), (of_group("night"), 2))
        ],
    ),
    Case(
        "SwitchtenderGenerationLag",
        "acted on within a minute; the standby tells of no balancer",
        [
            operator("a", "published_generation", "11x4 12x40", **IVR),
            operator("b", "published_generation", "11x4 12x40", **IVR),
            operator("a", "acked_generation", "11x8 12x40", **IVR),
            balancer("a", "group_generation", "3x4 4x40", **IVR),
            balancer("b", "group_generation", "3x5 4x40", **IVR),
        ],
        "8m",
    ),
    Case(
        "SwitchtenderSnapshotNotActedOn",
        "a worker stays behind",
        [STUCK, balancer("a", "snapshot_generation", "7x24")],
        "4m",
        [
            Firing(
                _target(STUCK),
                "10.0.0.1:8080: a packet worker does not take up what it is given",
                "The packet core was given a newer configuration 1 time(s) than every worker of it goes by: a worker "
                "is stuck.",
            )
        ],
    ),
    Case(
        "SwitchtenderSnapshotNotActedOn",
        "taken up; another balancer has another number",
        [
            STUCK,
            balancer("a", "snapshot_generation", "7x5 8x20"),
            balancer("b", "config_generation", "90x24"),
            balancer("b", "snapshot_generation", "90x24"),
        ],
        "4m",
    ),
    Case(
        "SwitchtenderSnapshotOld",
        "nothing is heard for twenty minutes",
        [OLD],
        "20m",
        [
            Firing(
                _target(OLD),
                "10.0.0.1:8080: what the API server says is not known",
                "The DestinationSets in force were last known to be the newest ones 20m 0s ago. Calls are routed; new, "
                "gone and drained pods are not noticed.",
            )
        ],
    ),
    Case(
        "SwitchtenderSnapshotOld",
        "the API server is heard of each minute",
        [balancer("a", "snapshot_age_seconds", "0 15 30 45 0 15 30 45 0 15 30 45 0 60x40")],
        "10m",
    ),
    Case(
        "SwitchtenderWatchUnhealthy",
        "one watch is refused",
        [WATCH, balancer("b", "watch_healthy", "1x44", watch="destinationsets")],
        "8m",
        [
            Firing(
                _target(WATCH),
                "10.0.0.1:8080: the API server does not serve the watch destinationsets",
                "The API server is away or refuses the watch. What was known stays in force.",
            )
        ],
    ),
    Case(
        "SwitchtenderWatchUnhealthy",
        "interrupted for three minutes",
        [balancer("a", "watch_healthy", "1x4 0x12 1x30", watch="destinationsets")],
        "8m",
    ),
    Case(
        "SwitchtenderCertificateExpiring",
        "five days are left",
        [EXPIRING],
        "1h",
        [
            Firing(
                _target(EXPIRING),
                "10.0.0.1:8080: the certificate http expires in 5.0 days",
                "After that clients refuse the connection. A renewed file is taken up without a restart.",
            )
        ],
        interval="5m",
    ),
    Case(
        "SwitchtenderCertificateExpiring",
        "thirty days are left; another was renewed",
        [
            balancer("a", "certificate_expiry_timestamp_seconds", "2592000x600", certificate="http"),
            balancer("b", "certificate_expiry_timestamp_seconds", "435600x9 7776000x10", certificate="http"),
        ],
        "70m",
        interval="5m",
    ),
]
