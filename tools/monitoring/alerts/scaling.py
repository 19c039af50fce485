"""What is wrong with the number of nodes: nobody scales, there may be no more of them, drained ones stay."""

from __future__ import annotations

from tools.monitoring.model import Alert, Group

_GROUP = "{{ $labels.namespace }}/{{ $labels.group }}"
_ACTIVE = 'group_condition{type="AutoscaleActive"}'


def _of_group(family: str) -> str:
    return f"max by (namespace, group) (switchtender_operator_{family})"


SCALING = Group(
    "switchtender.scaling",
    (
        Alert(
            name="SwitchtenderAutoscaleInactive",
            severity="warning",
            hold="15m",
            expr=f"{_of_group(_ACTIVE)} == 0",
            summary=f"{_GROUP}: spec.autoscale is not in effect",
            description="The condition AutoscaleActive says why. No node is taken away, and mostly none is added; "
            "those that there are take calls as ever.",
        ),
        Alert(
            name="SwitchtenderAutoscaleLimited",
            severity="warning",
            hold="15m",
            expr=f"{_of_group('autoscale_desired')}\n>= {_of_group('autoscale_max')}\n> {_of_group('autoscale_min')}",
            summary=f"{_GROUP}: there may be no more than {{{{ $value }}}} nodes",
            description="The calls need as many nodes as spec.autoscale.max allows, or more. Calls beyond what these "
            "can take will be rejected.",
        ),
        Alert(
            name="SwitchtenderDrainedNotRemoved",
            severity="info",
            hold="1h",
            expr="max by (namespace, group, node) (switchtender_node_drain_sessions) == 0",
            summary=f"{_GROUP} {{{{ $labels.node }}}} is drained and still there",
            description="The node has carried no call for an hour, takes none and costs what a node costs.",
        ),
        Alert(
            name="SwitchtenderDrainingMost",
            severity="info",
            hold="15m",
            expr='sum by (namespace, group) (namespace_group:switchtender_nodes:count{state="draining"})\n'
            "/ (sum by (namespace, group) (namespace_group:switchtender_nodes:count) > 0)\n"
            "> $threshold",
            threshold=0.5,
            summary=f"{_GROUP}: {{{{ $value | humanizePercentage }}}} of the nodes drain",
            description="They take no new calls; the others take them all.",
        ),
    ),
)
