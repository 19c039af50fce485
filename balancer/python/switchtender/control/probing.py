"""How a node is probed: what its groups say of OPTIONS, together, as the prober and the load model take it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from switchtender.config.names import Resolved, member_target
from switchtender.config.snapshot import GroupMembers
from switchtender.drivers.options.agenda import Target
from switchtender.load.probing import Thresholds
from switchtender_api.v1alpha1 import SetMember
from switchtender_api.v1alpha1.health import OptionsProbe


class Prober(Protocol):
    """Sends OPTIONS to nodes and tells somebody of each outcome."""

    def set_targets(self, targets: Mapping[str, Target]) -> None:
        """Probe these nodes, by uid, from now on, and no others."""

    async def close(self) -> None:
        """Probe nobody any more."""


def thresholds(groups: Iterable[GroupMembers]) -> Thresholds | None:
    """When probes count: the fewest failures and the most successes of all groups; None where none asks for probes."""
    asked = _asked(groups)
    if not asked:
        return None
    return Thresholds(min(each.failures for each in asked), max(each.successes for each in asked))


def target_of(groups: Iterable[GroupMembers], members: Iterable[SetMember], resolved: Resolved) -> Target | None:
    """Whom to probe and how; None where no group asks for it, and where no address is known.

    The groups of one node need not agree: the shortest interval and time hold, an answer must count in each of them,
    and the first From that is given stands.
    """
    asked = _asked(groups)
    place = next((found for member in members if (found := member_target(member, resolved)) is not None), None)
    if not asked or place is None:
        return None
    return Target(
        address=(place.address, place.port),
        transport=place.transport,
        interval=min(each.interval.total_seconds() for each in asked),
        timeout=min(each.timeout.total_seconds() for each in asked),
        codes=tuple(each.codes for each in asked if each.codes),
        sender=next((each.from_ for each in asked if each.from_ is not None), None),
    )


def _asked(groups: Iterable[GroupMembers]) -> list[OptionsProbe]:
    return [probe for entry in groups if (probe := entry.group.spec.health.probe) is not None]
