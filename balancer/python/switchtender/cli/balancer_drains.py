"""Drains that a running standalone balancer is ordered to begin and end. Knows its answers, not how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from switchtender.cli.countdown import Ordered, Phase, Progress, progress_of, together
from switchtender.cli.exits import Failure
from switchtender.cli.orders import told

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi


class BalancerDrains:
    """Implements ``countdown.Drains`` on a balancer. ``group`` ("namespace/name") narrows which nodes are meant."""

    def __init__(
        self, api: BalancerApi, verb: str, nodes: Sequence[str], group: str | None, *, wide: bool = False
    ) -> None:
        self._api = api
        self._verb = verb
        self._nodes = nodes
        self._given = {} if group is None else {"group": group}
        self._wide = wide

    def order(self) -> Ordered:
        """One order a node. Its document is the balancer's answer; of several nodes, their answers."""
        answers: list[dict[str, Any]] = []
        lines: list[str] = []
        failures: list[str] = []
        for node in self._nodes:
            try:
                answer = self._api.order(node, self._verb, self._given)
            except Failure as failure:
                failures.append(failure.message)
                continue
            answers.append(answer)
            lines += told(answer, node, self._verb, wide=self._wide)
        several = {"verb": self._verb, "orders": answers}
        return Ordered(tuple(lines), answers[0] if len(self._nodes) == len(answers) == 1 else several, tuple(failures))

    def look(self) -> list[Progress]:
        """Each node, in all of the groups that it was ordered in. One that the balancer has no more is gone."""
        rows = [row for row in self._api.nodes() if self._given.get("group") in {None, _group(row)}]
        return [self._seen(node, [row for row in rows if row["node"] == node]) for node in self._nodes]

    def _seen(self, node: str, rows: Sequence[dict[str, Any]]) -> Progress:
        if not rows:
            return Progress(node, Phase.GONE)
        return together(node, [_progress(node, row) for row in rows])


def _progress(node: str, row: dict[str, Any]) -> Progress:
    drain = row.get("drain")
    known = drain if isinstance(drain, dict) else {}
    left = known.get("sessions")
    return progress_of(node, drain, left, drained=left == 0, releases=known.get("onTimeout") == "Release")


def _group(row: dict[str, Any]) -> str:
    return f"{row['namespace']}/{row['group']}"
