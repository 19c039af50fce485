"""The operator reads what a balancer tells it (`/api/v1/state`) as tests/contract/state.json shows it."""

import json
from pathlib import Path

from switchtender_operator.domain.world import NodeReport, SetVersion
from switchtender_operator.reconcile.balancers import read_state

FILE = Path(__file__).parents[2] / "tests" / "contract" / "state.json"


def test_every_field_of_the_contract_is_read():
    state = read_state(json.loads(FILE.read_text()))
    assert state.instance == "59a4c170e619c6ee"
    ivr, conf = state.groups["voice/ivr"], state.groups["voice/conf"]
    assert (ivr.generation, ivr.rejected, state.assigned["voice/ivr"]) == (7, None, 123)
    assert conf.rejected is not None
    assert ivr.sets == {
        "ivr": SetVersion("ae410439-1da9-487b-a8dd-aef055340969", 4),
        "ivr.2": SetVersion("ea3842ea-41dd-4373-a14d-7a84a18ccde7", 9),
    }
    nodes = state.nodes["voice/ivr"]
    assert nodes["22222222-0000-4000-8000-000000000001"] == NodeReport(
        name="fs-0", state="ready", reason="Reporting", age=0.412, sessions=12, capacity=97.0, effective=12.5,
        max_sessions=100, verdict="Eligible", paused_by_us=False, pending=0.5, open=True,
    )  # fmt: skip
    silent = nodes["22222222-0000-4000-8000-000000000002"]
    assert (silent.state, silent.age, silent.sessions) == ("unknown", None, None)


def test_a_newer_balancer_may_say_more():
    told = json.loads(FILE.read_text())
    told["tomorrow"] = {"a": 1}
    told["nodes"][0]["tomorrow"] = told["groups"][0]["tomorrow"] = told["sets"][0]["tomorrow"] = [1]
    assert read_state(told) == read_state(json.loads(FILE.read_text()))
