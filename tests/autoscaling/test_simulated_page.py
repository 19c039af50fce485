"""The section of docs/autoscaling.md: what it says is what the code makes, and its goals can be missed."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.autoscaling.__main__ import SEED, SHORT
from tests.autoscaling.calls import SHORT_DAY, WHOLE_DAY, day
from tests.autoscaling.play import BOUNDS, POLICIES, Outcome, ideal
from tests.autoscaling.report import BEGIN, END, GOALS, missed, replaced, section, table
from tests.autoscaling.test_simulated_day import outcome

PAGE = Path(__file__).parents[2] / "docs" / "autoscaling.md"
AGAIN = "run make bench-autoscale"


def made() -> str:
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def run(name: str, **changes: object) -> Outcome:
    usual = Outcome(
        policy=name, offered=10_000, rejected=5, cut=0, pod_hours=200.0, peak=20, scales=50, flaps=1, drained=20,
        revived=2, longest_drain=7000.0, pods_by_minute=tuple(range(60)), worst_minute=5,
    )  # fmt: skip
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_the_table_of_the_short_day_is_what_the_code_makes() -> None:
    assert table(ideal(day(SHORT_DAY, SEED)), {name: outcome(name) for name in SHORT}) in made(), AGAIN


def test_the_ideal_of_the_whole_day_is_what_the_code_makes() -> None:
    calls = day(WHOLE_DAY, SEED)
    rows = table(ideal(calls), {}).splitlines()
    assert set(rows) <= set(made().splitlines()), AGAIN
    assert f"{len(calls):,} calls, seed {SEED}:" in made(), AGAIN


def test_the_page_tells_of_every_policy_and_all_goals_are_reached() -> None:
    text = made()
    for policy in POLICIES:
        assert text.count(f"| {policy.name} |") == 1 + (policy.name in SHORT)
        assert f"* **{policy.name}**: {policy.words}." in text
    for goal in GOALS:
        assert re.search(re.escape(f"| {goal.words} |") + r" [^|]+ \| reached \|", text)
    assert f"{BOUNDS.least} to {BOUNDS.most} pods" in text


@pytest.mark.parametrize(
    "changes",
    [{"cut": 1}, {"rejected": 11}, {"pod_hours": 1e6}, {"flaps": 3}, {"peak": 1000}],
    ids=lambda changes: next(iter(changes)),
)
def test_every_goal_can_be_missed(changes: dict[str, object]) -> None:
    best = ideal(day(WHOLE_DAY, 1))
    good, bad = run("spec.autoscale"), run("spec.autoscale", **changes)
    assert [goal for goal in GOALS if missed(goal, {"spec.autoscale": good}, best)] == []
    assert sum(bool(missed(goal, {"spec.autoscale": bad}, best)) for goal in GOALS) == 1


def test_a_missed_goal_is_named_and_the_plot_has_a_line_for_each_of_those_told() -> None:
    calls = day(SHORT_DAY, 1)
    runs = {name: run(name, cut=3) for name in ("HPA on sessions", "spec.autoscale")}
    text = section(calls, ideal(calls), runs, 1, (calls, ideal(calls), {}))
    assert "missed: HPA on sessions; spec.autoscale" in text
    assert text.count("\n    line [") == 3
    assert "line [29, 59]" in text


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert replaced(replaced(page, "new"), "new") == replaced(page, "new")
    for broken in ("none", f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN} only"):
        with pytest.raises(ValueError, match="needs"):
            replaced(broken, "new")
