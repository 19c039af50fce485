"""What somebody wants and a balancer does not do: files, groups, versions, certificates."""

from __future__ import annotations

from tools.monitoring.model import Alert, Group

_GROUP = "{{ $labels.namespace }}/{{ $labels.group }}"
_NOT_ACCEPTED = 'max by (namespace, group) (switchtender_operator_group_condition{type="Accepted"}) == 0'

CONFIGURATION = Group(
    "switchtender.configuration",
    (
        Alert(
            name="SwitchtenderReloadRefused",
            severity="warning",
            hold="1m",
            expr="switchtender_config_last_reload_successful == 0",
            summary="{{ $labels.instance }}: the last configuration was refused",
            description="The balancer goes on with the configuration before; the log says what is wrong with the new "
            "one. A restart would not come up with it.",
        ),
        Alert(
            name="SwitchtenderGroupRejected",
            severity="warning",
            hold="2m",
            expr="count by (namespace, group) (switchtender_group_rejected == 1)",
            summary=f"{_GROUP}: the newest version is not served",
            description="{{ $value }} balancer(s) keep the policy before, as they cannot act on the newest one. "
            "Nodes are followed all the same.",
        ),
        Alert(
            name="SwitchtenderGroupNotAccepted",
            severity="warning",
            hold="2m",
            expr=_NOT_ACCEPTED,
            summary=f"{_GROUP}: the spec as it stands is refused",
            description="The condition Accepted says why. What was accepted before stays in force; a group of which "
            "nothing ever was takes no calls.",
        ),
        Alert(
            name="SwitchtenderEditNotInForce",
            severity="warning",
            hold="5m",
            expr="(\n"
            "  max by (namespace, group) (switchtender_operator_group_generation)\n"
            "  - (\n"
            "    max by (namespace, group) (switchtender_operator_group_generation_in_force)\n"
            "    or\n"
            "    0 * max by (namespace, group) (switchtender_operator_group_generation)\n"
            "  )\n"
            ") > 0\n"
            "unless\n"
            f"{_NOT_ACCEPTED}",
            summary=f"{_GROUP}: an edit is not in force",
            description="What is published for balancers is {{ $value }} generation(s) older than the group, though "
            "nothing refuses it: the operator does not get to it, or cannot write the DestinationSet.",
        ),
        Alert(
            name="SwitchtenderNodeSideUnreachable",
            severity="warning",
            hold="5m",
            expr="max by (namespace, group) (\n"
            '  switchtender_operator_group_condition{type="NodeSideUnreachable"}\n'
            ") == 1",
            summary=f"{_GROUP}: some nodes cannot reach the balancer",
            description="No address in nodeSide.advertise is for their network, so their answers and BYEs do not come "
            "back. The condition NodeSideUnreachable names them.",
        ),
        Alert(
            name="SwitchtenderGenerationLag",
            severity="warning",
            hold="5m",
            expr="(\n"
            "  max by (namespace, group) (switchtender_operator_published_generation)\n"
            "  - min by (namespace, group) (switchtender_operator_acked_generation)\n"
            ") > 0\n"
            "or\n"
            "(\n"
            "  max by (namespace, group) (switchtender_group_generation)\n"
            "  - min by (namespace, group) (switchtender_group_generation)\n"
            ") > 0",
            summary=f"{_GROUP}: a balancer is {{{{ $value }}}} version(s) behind",
            description="What is published for the group is not acted on by every balancer, or balancers act on "
            "different versions of it.",
        ),
        Alert(
            name="SwitchtenderSnapshotNotActedOn",
            severity="critical",
            hold="1m",
            expr="switchtender_config_generation - switchtender_snapshot_generation > 0",
            summary="{{ $labels.instance }}: a packet worker does not take up what it is given",
            description="The packet core was given a newer configuration {{ $value }} time(s) than every worker of it "
            "goes by: a worker is stuck.",
        ),
        Alert(
            name="SwitchtenderSnapshotOld",
            severity="warning",
            hold="5m",
            expr="switchtender_snapshot_age_seconds > $threshold",
            threshold=300,
            summary="{{ $labels.instance }}: what the API server says is not known",
            description="The DestinationSets in force were last known to be the newest ones "
            "{{ $value | humanizeDuration }} ago. Calls are routed; new, gone and drained pods are not noticed.",
        ),
        Alert(
            name="SwitchtenderWatchUnhealthy",
            severity="warning",
            hold="5m",
            expr="switchtender_watch_healthy == 0",
            summary="{{ $labels.instance }}: the API server does not serve the watch {{ $labels.watch }}",
            description="The API server is away or refuses the watch. What was known stays in force.",
        ),
        Alert(
            name="SwitchtenderCertificateExpiring",
            severity="warning",
            hold="1h",
            expr="(switchtender_certificate_expiry_timestamp_seconds - time()) / 86400 < $threshold",
            threshold=7,
            summary="{{ $labels.instance }}: the certificate {{ $labels.certificate }} expires in "
            '{{ $value | printf "%.1f" }} days',
            description="After that clients refuse the connection. A renewed file is taken up without a restart.",
        ),
    ),
)
