"""What the balancer tells the operator (`/api/v1/state`) has the form that tests/contract/state.json shows.

Numbers and names differ from run to run; the fields and their types do not. The operator reads the same file.
"""

import json
from pathlib import Path

import pytest
from kubernetes_stand import KubeApi, head, member, served, slice_of

FILE = Path(__file__).parents[2] / "tests" / "contract" / "state.json"


def fits(told, shown):
    """Whether a value has the fields and types of the one shown; null stands for any type."""
    if isinstance(shown, dict):
        return (
            isinstance(told, dict) and told.keys() == shown.keys() and all(fits(told[key], shown[key]) for key in shown)
        )
    if isinstance(shown, list):
        return isinstance(told, list) and all(any(fits(entry, like) for like in shown) for entry in told)
    return told is None or shown is None or _kind(told) == _kind(shown)


def _kind(value):
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


@pytest.fixture
async def api():
    async with KubeApi() as server:
        yield server


async def test_the_state_has_the_form_of_the_contract(api, tmp_path):
    measured = {"esl": {"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "password"}}}}
    api.put(head("ivr", member("fs-0", "192.0.2.1"), policy={}))
    api.put(slice_of("ivr", 2, member("fs-1", "192.0.2.2", esl=True)))
    api.put(head("conf", member("fs-2", "192.0.2.3"), policy={"routing": {"algorithm": "Tomorrow"}}, group_uid="conf"))
    api.put(head("late", member("fs-3", "192.0.2.4", esl=True), policy=measured, group_uid="late"))
    async with served(api, tmp_path) as pod:
        await pod.until({"ivr": "LeastLoad", "late": "LeastLoad"}, of="algorithms")
        told = await pod.state()
    shown = json.loads(FILE.read_text())
    assert fits(told, shown), told
    assert {kind: len(told[kind]) for kind in ("sets", "groups", "nodes")} == {"sets": 3, "groups": 3, "nodes": 3}
    assert (told["format"], told["balancer"]) == (shown["format"], shown["balancer"])
