"""Every metric, label and value in an expression or text of a rule is one that the product exports."""

import re

import pytest
from tools.monitoring.expressions import mentions
from tools.monitoring.model import THRESHOLD, Recording
from tools.monitoring.rules import ALERTS, GROUPS

from tests.views.declared import EXPORTED, RECORDED, TARGET_IN_RULES, VALUES, complaints
from tests.views.rules.test_recording_rules import CASES

RULES = [rule for group in GROUPS for rule in group.rules]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_expression(rule):
    assert complaints(rule.expr, TARGET_IN_RULES) == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_texts_name_labels_that_the_alert_has(alert):
    """Of one that it has not Prometheus would write nothing."""
    spoken = mentions(alert.expr)
    named = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
    own = [label for one in spoken.selectors for label in {**EXPORTED, **RECORDED}.get(one.metric, ())]
    kept = spoken.labels or TARGET_IN_RULES.union(own)
    assert named <= kept


def test_thresholds_stand_once():
    for alert in ALERTS:
        assert alert.expr.count(THRESHOLD) == (alert.threshold is not None), alert.name


def test_recorded_series_have_the_labels_that_are_declared():
    for case in CASES:
        for recorded in case.recorded:
            for labels, _ in recorded.samples:
                assert set(labels) == RECORDED[recorded.name]


def test_values_come_from_tables_that_were_found():
    assert all(VALUES.values())
    assert {"full", "none_ready"} < VALUES["switchtender_calls_rejected_total", "cause"]
    assert {"ok", "error"} <= VALUES["switchtender_operator_reconciles_total", "result"]


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("sum(switchtender_node_session)", "no metric switchtender_node_session"),
        ("max by (nod) (switchtender_node_sessions)", "nothing has the label nod"),
        ('switchtender_node_sessions{state="ready"}', "switchtender_node_sessions has no label state"),
        ('switchtender_node_state{state=~"ready|ful"} == 1', "switchtender_node_state: state is never ful"),
        ("switchtender_calls_offered", "no metric switchtender_calls_offered"),
        ("a and on (pod) up", "no metric a"),
    ],
)
def test_a_wrong_name_is_found(expression, complaint):
    assert complaint in complaints(expression, TARGET_IN_RULES)


def test_an_expression_is_read_whole():
    spoken = mentions(
        "histogram_quantile(0.9, sum by (le, group) ("
        'rate(switchtender_first_response_seconds_bucket{group=~"$group"}[5m] offset 2h)))'
        " / on (group) group_left (job) up > bool 1e3"
    )
    assert [selector.metric for selector in spoken.selectors] == ["switchtender_first_response_seconds_bucket", "up"]
    assert spoken.selectors[0].matchers[0].values == ()
    assert spoken.labels == {"le", "group", "job"}


def test_every_recording_rule_says_what_it_is_for():
    assert all(rule.why for rule in RULES if isinstance(rule, Recording))
