"""The worked example of docs/autoscaling.md, computed by the planning itself; and its tables of reasons."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from scale_worlds import NOW, node, world

from switchtender_api import status
from switchtender_api.constants import CONDITION_AUTOSCALE_ACTIVE
from switchtender_api.v1alpha1 import BalancerGroupSpec
from switchtender_operator.domain.autoscale import LOWEST_COST, ScaleDecision, ScaleHistory, ScaleNode, decide
from switchtender_operator.domain.autoscale.fleet import FAILED_AFTER, SETTLED, START_LEAST, fleet_of
from switchtender_operator.domain.autoscale.history import GAP, TREND_LEAST, TREND_SPAN
from switchtender_operator.domain.autoscale.need import need_of, per_node
from switchtender_operator.domain.marks import DRAINED_COST, RELEASED_COST, STEPS, WRITE_EVERY

PAGE = (Path(__file__).parents[3] / "docs" / "autoscaling.md").read_text()
EXAMPLE = PAGE[PAGE.index("<!-- example -->") : PAGE.index("<!-- /example -->")]


def rows(text: str) -> list[list[str]]:
    """The rows of the first table, its head left out; each cell without what marks it as code."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def spec_of_the_example() -> BalancerGroupSpec:
    found = re.search(r"```yaml\n(.*?)```", EXAMPLE, re.DOTALL)
    assert found is not None
    return BalancerGroupSpec.model_validate(
        {"members": {"selector": {"matchLabels": {"app": "fs"}}}, **yaml.safe_load(found.group(1))}
    )


def node_of(row: list[str], minus: int) -> ScaleNode:
    name, state, sessions, capacity = row
    drains: dict[str, Any] = {"draining": True, "drained_by_us": True, "since": NOW - timedelta(minutes=5)}
    if state == "starting":
        young = {"state": "unknown", "age": None, "capacity": None, "created": NOW - timedelta(minutes=1)}
        return node(name, None, ready=False, **young)
    more = drains if state == "draining" else {}
    return node(name, int(sessions) - minus, state=state, capacity=float(capacity), **more)


def the_example() -> tuple[list[str], ScaleDecision]:
    """The numbers of the example, as the planning has them, and the decision."""
    group = spec_of_the_example()
    assert group.autoscale is not None
    history, said = ScaleHistory(), {}
    for ago in range(120, -1, -5):
        nodes = [node_of(row, 2 * ago if row[0] == "fs-a" else 0) for row in rows(EXAMPLE)]
        seen = replace(
            world(nodes, spec=group.autoscale.model_dump(by_alias=True, mode="json")),
            now=NOW - timedelta(seconds=ago),
            legs_per_call=group.capacity.legs_per_call,
        )
        # What it asked for on the way there is not done.
        before = replace(history.looked(seen.now), revived=(), added=())
        decision, history = decide(seen, before)
        if ago == 0:
            fleet = fleet_of(seen, before)
            per = per_node(fleet, None)
            assert per is not None
            need = need_of(seen, fleet, history, per)
            rise = history.rise(NOW, 623)
            said = {"per": per, "rise": rise, "now": need.now, "settled": need.settled, "kept": fleet.kept}
    return [f"{name} {value:.4g}" for name, value in said.items()], decision


def test_the_worked_example_is_what_the_planning_computes() -> None:
    said, decision = the_example()
    told = [f"{name} {float(value):.4g}" for name, value in re.findall(r"^(\w+) +=.*?([\d.]+)$", EXAMPLE, re.MULTILINE)]
    assert told == said
    assert (decision.revive, decision.replicas, decision.drain) == (("uid-fs-d",), None, ())
    assert "so `fs-d` is taken back, and no pod is added" in EXAMPLE


def test_the_steps_of_the_example_add_up() -> None:
    sums = re.findall(r"\(([\d.+× ]+)\) × ([\d.]+) = ([\d.]+)", EXAMPLE)
    assert len(sums) == 3
    for terms, factor, total in sums:
        value = sum(math.prod(map(float, term.split("×"))) for term in terms.split("+"))
        assert abs(value * float(factor) - float(total)) < 0.1, terms


def test_every_reason_stands_in_the_table() -> None:
    section = PAGE[PAGE.index("### AutoscaleActive") :]
    told = {row[0]: row[1] for row in rows(section.split("\n## ")[0])}
    assert set(told) == set(status.REASONS[CONDITION_AUTOSCALE_ACTIVE])


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"of the last {TREND_SPAN.seconds // 60} minutes" in text
    assert f"at least {TREND_LEAST.seconds} s" in text
    assert f"for {FAILED_AFTER.seconds} s" in text
    assert f"{START_LEAST.seconds // 60} minutes (or three times `leadTime`" in text
    assert f"{SETTLED.seconds} s after" in text
    assert f"for more than {GAP.seconds // 60} minutes" in text
    assert f"`{LOWEST_COST}`" in text
    assert f"`{DRAINED_COST}`" in text
    assert f"`{RELEASED_COST}`" in text
    assert (STEPS, WRITE_EVERY.seconds) == (10, 60), "a tenth, once a minute"
