"""The declared metrics of both components: names by Prometheus' conventions, bounded labels, one reference page."""

import re

import pytest
from tools.generate import metrics as reference

from switchtender.metrics import families as balancer
from switchtender_api.metrics import Family
from switchtender_operator.telemetry import metrics as operator

FAMILIES = (*balancer.FAMILIES, *operator.FAMILIES)


def test_each_family_is_declared_once_and_stands_once_on_the_reference_page():
    page = reference.page()
    assert len({family.exposed for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert page.count(f"| `{family.exposed}` |") == 1, family.name
    sections = [family for _, families in balancer.SECTIONS for family in families]
    assert sorted(sections, key=repr) == sorted(balancer.FAMILIES, key=repr)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_declaration_follows_the_conventions(family):
    assert re.fullmatch(r"switchtender(_operator)?(_[a-z0-9]+)+", family.name)
    assert not re.search(r"(_percent|_ms|_milliseconds|_micros|_bits)(_|$)", family.name), "base units"
    assert not family.name.endswith(("_total", "_info", "_bucket", "_sum", "_count", "_created"))
    assert family.help.endswith("."), "a sentence"
    assert not set("\n|\\") & set(family.help)
    assert family.kind != "histogram" or family.name.endswith("_seconds")
    assert len(set(family.labels)) == len(family.labels)
    assert all(re.fullmatch(r"[a-z]+", label) and label not in ("le", "quantile") for label in family.labels)


def test_labels_name_things_whose_number_is_bounded():
    bounded = {"namespace", "group", "node", "state", "reason", "result", "cause", "outcome", "resource", "version"}
    process = {"worker", "watch", "scorer", "fault", "certificate"}
    assert {label for family in balancer.FAMILIES for label in family.labels} == bounded | process


def test_a_family_is_named_as_it_stands_on_the_page():
    counter, info = Family("x_calls", "counter", "Calls."), Family("x_build", "info", "Build.")
    gauge, histogram = Family("x_age_seconds", "gauge", "Age."), Family("x_delay_seconds", "histogram", "Delay.")
    assert [family.exposed for family in (counter, info, gauge, histogram)] == [
        "x_calls_total",
        "x_build_info",
        "x_age_seconds",
        "x_delay_seconds",
    ]
    assert counter.samples == ("x_calls_total",)
    assert histogram.samples == ("x_delay_seconds_bucket", "x_delay_seconds_sum", "x_delay_seconds_count")
