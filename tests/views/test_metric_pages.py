"""The metrics pages of both components, as Prometheus' own linter judges them."""

import shutil
import subprocess

import pytest

from switchtender_operator.telemetry import metrics as operator
from switchtender_operator.telemetry.metrics import Metrics
from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.needed import needed
from tests.stand.nodes import Node, simulated
from tests.stand.process import read_text, until

LAYOUT = Layout(address="127.0.0.134", http=18140)
FAULTY = "# HELP calls Calls.\n# TYPE calls counter\ncalls 3\n"


@pytest.fixture(scope="module")
def promtool() -> None:
    needed(shutil.which("promtool"), "promtool is not installed (Debian: apt-get install prometheus)")


def lint(page: str) -> str:
    """What promtool has against a page; nothing, if it is well."""
    judged = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    return judged.stdout + judged.stderr + (f"exit status {judged.returncode}" if judged.returncode else "")


@pytest.mark.usefixtures("promtool")
def test_the_linter_finds_faults():
    assert 'counter metrics should have "_total" suffix' in lint(FAULTY)


@pytest.mark.usefixtures("promtool")
def test_a_running_balancer_is_clean(tmp_path):
    nodes = [Node("fs1", 1, {}, net=17), Node("fs2", 2, {}, net=17)]
    config = tmp_path / "balancer.yaml"
    write_config(config, LAYOUT, [Group("ivr", nodes)], tmp_path / "state")
    with simulated(nodes, tmp_path), serving(config, LAYOUT):
        page = until(lambda: _with_load(f"{LAYOUT.url}/metrics"), "a page with the nodes' load")
    assert lint(page) == ""


def _with_load(url: str) -> str | None:
    page = read_text(url)
    return page if page.count("switchtender_node_sessions{") == 2 else None


@pytest.mark.usefixtures("promtool")
def test_an_operator_is_clean():
    one = Metrics()
    one.read_from(lambda: [(family, [(["x"] * len(family.labels), 1.0)]) for family in operator.SCRAPED])
    one.request("get", 200, 0.01)
    one.write("set", "applied")
    one.reconciles.labels("ok").inc()
    one.polls.labels("ok").inc()
    one.scaled("in", "applied")
    one.marked("applied")
    page = one.page()[0].decode()
    assert all(f"# TYPE {family.exposed} " in page for family in operator.FAMILIES)
    assert lint(page) == ""
