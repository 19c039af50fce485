"""How a node is probed: what its groups say of OPTIONS, together, as the prober and the load model take it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from switchtender.config.snapshot import GroupMembers
from switchtender.drivers.options.agenda import Target
from switchtender.load.probing import Thresholds
from switchtender_api.v1alpha1 import SetMember
from switchtender_api.v1alpha1.endpoints import host_address


class Prober(Protocol):
    """Sends OPTIONS to nodes and tells somebody of each outcome."""

    def set_targets(self, targets: Mapping[str, Target]) -> None:
        """Probe these nodes, by uid, from now on, and no others."""

    async def close(self) -> None:
        """Probe nobody any more."""


def probing(groups: Iterable[GroupMembers], members: Iterable[SetMember]) -> tuple[Thresholds | None, Target | None]:
    """When probes count, and whom to send them to; None where no group asks for any, and where no address is known.

    The groups of one node need not agree: the shortest interval and time, the fewest failures and the most successes
    hold, an answer must count in each of them, and the first From that is given stands.
    """
    asked = list(filter(None, (entry.group.spec.health.probe for entry in groups)))
    if not asked:
        return None, None
    thresholds = Thresholds(min(each.failures for each in asked), max(each.successes for each in asked))
    for member in members:
        if host_address(member.addresses[0]) is not None:
            target = Target(
                address=(member.addresses[0], member.sip.port),
                transport=member.sip.transport,
                interval=min(each.interval.total_seconds() for each in asked),
                timeout=min(each.timeout.total_seconds() for each in asked),
                codes=tuple(each.codes for each in asked if each.codes),
                sender=next((each.from_ for each in asked if each.from_ is not None), None),
            )
            return thresholds, target
    return thresholds, None
