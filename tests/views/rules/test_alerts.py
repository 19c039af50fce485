"""Every alert fires where it should and is silent where it should, in what promtool makes of the generated file."""

import dataclasses

import pytest
from tools.monitoring.rules import ALERTS

from tests.views.rules import (
    cases_balancer,
    cases_calls,
    cases_configuration,
    cases_nodes,
    cases_operator,
    cases_scaling,
)
from tests.views.rules.promtool import judge

CASES = [
    *cases_calls.CASES,
    *cases_nodes.CASES,
    *cases_scaling.CASES,
    *cases_configuration.CASES,
    *cases_balancer.CASES,
    *cases_operator.CASES,
]
NAMES = [alert.name for alert in ALERTS]


@pytest.mark.usefixtures("promtool")
@pytest.mark.parametrize("alert", NAMES)
def test_alert(alert, tmp_path):
    assert judge([case for case in CASES if case.alert == alert], tmp_path) == ""


@pytest.mark.usefixtures("promtool")
def test_a_case_that_expects_too_little_or_too_much_is_found(tmp_path):
    """promtool is one that can fail."""
    fires = next(case for case in CASES if case.firing)
    assert "FAILED" in judge([dataclasses.replace(fires, firing=())], tmp_path)
    silent = next(case for case in CASES if case.alert == fires.alert and not case.firing)
    assert "FAILED" in judge([dataclasses.replace(silent, firing=fires.firing)], tmp_path)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    assert {case.alert for case in CASES if case.firing} == set(NAMES)
    assert {case.alert for case in CASES if not case.firing} == set(NAMES)


def test_silence_is_proven_with_data():
    """A case without the series that the alert is about would be silent whatever the expression says."""
    for case in CASES:
        assert any(series.name.startswith("switchtender_") for series in case.series), case.name


def test_names_are_unique_and_ours():
    assert len(NAMES) == len(set(NAMES))
    assert all(name.startswith("Switchtender") for name in NAMES)
