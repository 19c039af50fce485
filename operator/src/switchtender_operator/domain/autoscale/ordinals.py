"""Pods that are numbered, as a StatefulSet's are: `name-N` (spec.ordinals.start may be above 0)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from switchtender_operator.domain.autoscale.world import ScaleNode

_NUMBERED = re.compile(r".*-(0|[1-9][0-9]{0,9})\Z", re.DOTALL | re.ASCII)


def ordinal_of(name: str) -> int | None:
    """Return the ordinal of the pod of this name, None where it has none."""
    found = _NUMBERED.match(name)
    return None if found is None else int(found.group(1))


def from_the_top(nodes: Sequence[ScaleNode]) -> tuple[ScaleNode, ...] | None:
    """Return the nodes from the highest ordinal down; None unless they are numbered without a gap."""
    numbered = sorted(
        ((ordinal_of(node.name), node) for node in nodes),
        key=lambda pair: -1 if pair[0] is None else pair[0],
        reverse=True,
    )
    ordinals = [ordinal for ordinal, _ in numbered]
    if not ordinals or ordinals[-1] is None or ordinals[0] is None:
        return None
    if ordinals != list(range(ordinals[0], ordinals[0] - len(ordinals), -1)):
        return None
    return tuple(node for _, node in numbered)
