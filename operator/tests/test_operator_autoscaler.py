"""Scaling against the scripted API server: what is written, in which order and how often, and what prevents it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from operator_stand import (
    ESL,
    NAMESPACE,
    OWN,
    FakeBalancer,
    balancing,
    conditions,
    config_map,
    endpoint_slice,
    eventually,
    group,
    members,
    operating,
    pod,
    serving,
    settled,
)
from scaling_stand import BY, COST, DRAIN, SAFE, Stand, asked, deployment, hpa, scaling

from switchtender_kube import NotLeader
from switchtender_operator.config.settings import SHORT_TARGETS


async def test_a_shortage_adds_nodes_at_once_and_only_once() -> None:
    async with scaling() as stand:
        stand.target(2)
        stand.sessions = {"fs-0": 95, "fs-1": 95}
        stand.put_group(autoscale=asked(buffer={"calls": 10}))
        leader = stand.leader()
        await leader.autoscaler.round()
        assert stand.replicas == 3
        (told,) = leader.told
        assert told[0] == "ScaledOut"
        assert "from 2 to 3 replicas" in told[1]
        await stand.rounds(leader, 30)
        assert stand.replicas == 3, "the node that is coming counts"
        stand.control()
        stand.sessions["fs-2"] = 20
        await stand.rounds(leader, 30)
        assert (stand.replicas, stand.writes("deployments"), stand.writes("pods")) == (3, 1, 0)
        said = stand.said(leader)
        assert (said.reason, said.figures.replicas if said.figures else None) == ("Active", 3)
        assert said.last_scale is not None
        assert f"{NAMESPACE}/ivr" in stand.changed


async def emptied(stand: Stand) -> Any:
    """Three nodes of which two are wanted: up to the moment at which one drains."""
    stand.target(3)
    stand.sessions = {"fs-0": 50, "fs-1": 20, "fs-2": 60}
    stand.put_group(autoscale=asked())
    leader = stand.leader()
    await stand.rounds(leader, 55)
    assert stand.writes("pods") == 0, "a window is not whole yet"
    await stand.rounds(leader, 15)
    assert stand.annotations("fs-1")[BY] == "autoscale"
    assert stand.annotations("fs-1")[DRAIN].startswith("2026-03-01T12:0")
    assert stand.writes("pods") == 1
    return leader


async def test_a_node_drains_gets_the_lowest_cost_and_then_goes() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        await stand.rounds(leader, 60)
        assert (stand.replicas, stand.writes("pods")) == (3, 1), "it has calls"
        stand.sessions["fs-1"] = 0
        order = len(stand.api.requests)
        await stand.rounds(leader, 15)
        assert stand.annotations("fs-1")[COST] == "-1000"
        assert stand.replicas == 2
        writes = [f"{one.verb} {one.resource}" for one in stand.api.requests[order:] if one.verb in {"patch", "list"}]
        assert writes.index("patch pods") < writes.index("list pods") < writes.index("patch deployments")
        assert stand.control() == ["fs-1"]
        await stand.rounds(leader, 30)
        assert (stand.replicas, stand.writes("pods"), stand.writes("deployments")) == (2, 2, 1)
        assert [reason for reason, _ in leader.told] == ["ScaledIn"]


async def test_without_the_cost_on_the_server_nothing_is_removed() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        await stand.rounds(leader, 20)
        stand.sessions["fs-1"] = 0
        await stand.rounds(leader, 5)
        assert stand.annotations("fs-1")[COST] == "-1000"
        late = stand.pods("")
        stand.api.merge("pods", NAMESPACE, "fs-1", {"metadata": {"annotations": {COST: "40"}}})
        stand.pods = lambda _: late  # type: ignore[method-assign]
        await stand.rounds(leader, 10)
        assert stand.replicas == 3, "what a late watch says of costs is not believed"


async def test_a_rise_revives_before_it_adds() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        stand.sessions |= {"fs-0": 105, "fs-2": 105}
        await stand.rounds(leader, 10)
        assert not {DRAIN, BY, COST} & set(stand.annotations("fs-1"))
        assert (stand.replicas, stand.writes("deployments"), stand.writes("pods")) == (3, 0, 2)


async def test_a_revival_takes_the_lowest_cost_back_and_leaves_a_human_s_drain() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        by_hand = {DRAIN: "2026-03-01T11:00:00Z"}
        stand.api.merge("pods", NAMESPACE, "fs-2", {"metadata": {"annotations": by_hand}})
        stand.api.merge("pods", NAMESPACE, "fs-1", {"metadata": {"annotations": {COST: "-1000"}}})
        stand.sessions |= {"fs-0": 205, "fs-1": 30}
        await stand.rounds(leader, 10)
        assert not {DRAIN, BY, COST} & set(stand.annotations("fs-1"))
        assert stand.annotations("fs-2") == by_hand


async def test_an_hpa_ends_it_and_gives_the_drained_back() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        stand.api.put(hpa("of-another", target="other"))
        await stand.rounds(leader, 5)
        assert stand.said(leader).reason == "Active"
        stand.api.put(hpa())
        await stand.rounds(leader, 30)
        said = stand.said(leader)
        assert said.reason == "HPAPresent"
        assert "by-cpu" in said.message
        assert BY not in stand.annotations("fs-1")
        before = stand.writes("pods"), stand.writes("deployments")
        stand.sessions |= {"fs-0": 105, "fs-1": 105, "fs-2": 105}
        await stand.rounds(leader, 30)
        assert (stand.writes("pods"), stand.writes("deployments")) == before
        stand.api.remove("horizontalpodautoscalers", NAMESPACE, "by-cpu")
        await stand.rounds(leader, 10)
        assert stand.replicas > 3
        assert stand.said(leader).reason == "Active"


async def test_another_leader_goes_on_with_the_drain_that_it_finds() -> None:
    async with scaling() as stand:
        first = await emptied(stand)
        await stand.rounds(first, 20)
        first.leading = False
        stand.sessions["fs-1"] = 0
        with pytest.raises(NotLeader):
            await stand.rounds(first, 5)
        assert (stand.replicas, stand.writes("pods")) == (3, 1)
        second = stand.leader()
        await stand.rounds(second, 15)
        assert (stand.replicas, stand.writes("pods"), stand.writes("deployments")) == (2, 2, 1)
        assert stand.control() == ["fs-1"]


async def test_a_scale_that_changed_meanwhile_is_looked_at_again() -> None:
    async with scaling() as stand:
        stand.target(1)
        stand.sessions = {"fs-0": 95}
        stand.put_group(autoscale=asked(buffer={"calls": 10}))
        leader = stand.leader()
        conflict = stand.api.fail("deployments", "patch", 409, times=1, reason="Conflict")
        await leader.autoscaler.round()
        assert (conflict.hits, stand.replicas) == (1, 1)
        assert stand.said(leader).reason == "Active"
        await stand.rounds(leader, 10)
        assert (stand.replicas, stand.writes("deployments")) == (2, 2)
        assert 'scales_total{direction="out",result="conflict"} 1.0' in leader.metrics.page()[0].decode()
        assert 'scales_total{direction="out",result="applied"} 1.0' in leader.metrics.page()[0].decode()


async def test_a_drain_that_came_too_late_is_tried_again_at_once() -> None:
    async with scaling() as stand:
        stand.target(3)
        stand.sessions = {"fs-0": 50, "fs-1": 20, "fs-2": 60}
        stand.put_group(autoscale=asked())
        leader = stand.leader()
        await stand.rounds(leader, 55)
        conflict = stand.api.fail("pods", "patch", 409, times=1, reason="Conflict")
        await stand.rounds(leader, 15)
        assert conflict.hits == 1
        assert stand.annotations("fs-1")[BY] == "autoscale", "it does not count as one that began"


async def test_a_revival_that_came_too_late_is_tried_again_at_once() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        stand.sessions |= {"fs-0": 105, "fs-2": 105}
        conflict = stand.api.fail("pods", "patch", 409, times=1, reason="Conflict")
        await stand.rounds(leader, 10)
        assert conflict.hits == 1
        assert DRAIN not in stand.annotations("fs-1")
        assert (stand.replicas, stand.writes("deployments")) == (3, 0)


async def test_pods_that_a_stateful_set_makes_for_another_kind_go_by_the_highest_ordinal() -> None:
    async with scaling() as stand:
        stand.target(3)
        for name in stand.names():
            stand.api.merge(
                "pods", NAMESPACE, name, {"metadata": {"labels": {"statefulset.kubernetes.io/pod-name": name}}}
            )
        stand.sessions = {"fs-0": 5, "fs-1": 20, "fs-2": 60}
        stand.put_group(autoscale=asked())
        leader = stand.leader()
        await stand.rounds(leader, 70)
        assert [name for name in stand.names() if BY in stand.annotations(name)] == ["fs-2"], "not the emptiest"


async def test_a_pod_that_went_meanwhile_is_no_fault() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        late = stand.pods("")
        stand.sessions["fs-1"] = 0
        stand.api.remove("pods", NAMESPACE, "fs-1")
        stand.pods = lambda _: late  # type: ignore[method-assign]
        stand.annotations = lambda name: {}  # type: ignore[method-assign]
        await stand.rounds(leader, 20)
        assert stand.replicas == 3
        assert stand.said(leader).reason == "Active"


async def test_stale_load_moves_nothing() -> None:
    async with scaling() as stand:
        stand.target(2)
        stand.sessions = {"fs-0": 5, "fs-1": 5}
        stand.ages = {"fs-0": 60.0, "fs-1": 60.0}
        stand.put_group(autoscale=asked())
        leader = stand.leader()
        await stand.rounds(leader, 120)
        assert stand.said(leader).reason == "StaleLoad"
        assert (stand.replicas, stand.writes("pods"), stand.writes("deployments")) == (2, 0, 0)


async def test_while_balancers_were_not_asked_nothing_is_said() -> None:
    async with scaling() as stand:
        stand.target(2)
        stand.put_group(autoscale=asked())
        stand.balancers = False
        leader = stand.leader()
        await stand.rounds(leader, 20)
        assert leader.autoscaler.scaling(f"{NAMESPACE}/ivr") is None
        assert stand.api.calls("get", "deployments") == []


@pytest.mark.parametrize("kind", ["deployments", "horizontalpodautoscalers", "pods"])
async def test_without_rights_it_says_what_to_set(kind: str) -> None:
    async with scaling() as stand:
        leader = await emptied(stand) if kind == "pods" else stand.leader()
        if kind != "pods":
            stand.target(2)
            stand.put_group(autoscale=asked())
        stand.sessions |= dict.fromkeys(stand.names(), 105)
        stand.api.fail(kind, status=403)
        before = len(stand.api.requests)
        await stand.rounds(leader, 120, step=2)
        said = stand.said(leader)
        assert said.reason == "TargetNotAllowed"
        assert "operator.autoscale.targets" in said.message
        assert len([one for one in stand.api.requests[before:] if one.verb == "patch"]) <= 12, (
            "a refusal is no reason to hurry"
        )


async def test_a_kind_that_is_not_listed_is_never_asked_for() -> None:
    async with scaling() as stand:
        stand.target(2)
        stand.put_group(autoscale=asked())
        leader = stand.leader(targets=(SHORT_TARGETS["StatefulSet"],))
        await stand.rounds(leader, 10)
        said = stand.said(leader)
        assert said.reason == "TargetNotAllowed"
        assert "[StatefulSet, Deployment]" in said.message
        assert stand.api.calls(resource="deployments") == []


async def test_what_is_not_there_or_not_ours_is_said() -> None:
    async with scaling() as stand:
        stand.put_group(autoscale=asked())
        leader = stand.leader()
        await stand.rounds(leader, 5)
        assert stand.said(leader).reason == "TargetNotFound"
        stand.api.put(deployment(1, app="another"))
        await stand.rounds(leader, 5)
        said = stand.said(leader)
        assert (said.reason, "app=fs" in said.message) == ("TargetMismatch", True)
        assert stand.writes("deployments") == 0


async def test_of_two_groups_the_older_scales() -> None:
    async with scaling() as stand:
        stand.target(1)
        stand.sessions = {"fs-0": 95}
        stand.put_group("conf", autoscale=asked(buffer={"calls": 10}))
        stand.put_group("ivr", autoscale=asked(buffer={"calls": 500}))
        leader = stand.leader()
        await stand.rounds(leader, 20)
        assert stand.said(leader, "conf").reason == "Active"
        said = stand.said(leader, "ivr")
        assert (said.reason, "conf" in said.message) == ("TargetTaken", True)
        assert (stand.replicas, stand.writes("deployments")) == (2, 1)


async def test_one_that_fails_stops_no_other_and_is_said_after_a_while() -> None:
    async with scaling() as stand:
        stand.target(1)
        stand.sessions = {"fs-0": 95}
        stand.put_group("a", autoscale=asked(target={"name": "fs", "kind": "StatefulSet"}))
        stand.put_group("b", autoscale=asked(buffer={"calls": 10}))
        stand.api.fail("statefulsets", status=500)
        leader = stand.leader()
        await leader.autoscaler.round()
        assert stand.replicas == 2
        assert leader.autoscaler.scaling(f"{NAMESPACE}/a") is None, "once is chance"
        await stand.rounds(leader, 120)
        assert stand.said(leader, "a").reason == "Failed"
        assert len(stand.api.calls("get", "statefulsets")) < 12


async def test_while_the_api_is_away_what_was_said_stands() -> None:
    async with scaling() as stand:
        stand.target(1)
        stand.put_group(autoscale=asked())
        leader = stand.leader()
        await stand.rounds(leader, 5)
        before = stand.said(leader)
        await stand.api.stop()
        await stand.rounds(leader, 60)
        assert stand.said(leader) == before


async def test_a_roll_out_takes_no_node_away_and_lets_some_come() -> None:
    async with scaling() as stand:
        stand.target(3)
        stand.sessions = {"fs-0": 5}
        stand.put_group(autoscale=asked())
        stand.api.merge("deployments", NAMESPACE, "fs", {"status": {"updatedReplicas": 1}})
        leader = stand.leader()
        await stand.rounds(leader, 120)
        assert stand.said(leader).reason == "RolloutInProgress"
        assert stand.writes("pods") == 0
        stand.sessions = {"fs-0": 105, "fs-1": 105, "fs-2": 105}
        await stand.rounds(leader, 10)
        assert stand.replicas > 3


async def test_who_is_not_scaled_any_more_gets_its_nodes_back() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        stand.put_group()
        await stand.rounds(leader, 20)
        assert not {DRAIN, BY} & set(stand.annotations("fs-1"))
        assert stand.writes("pods") == 2


async def test_without_its_target_the_group_gets_its_nodes_back() -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        stand.api.remove("deployments", NAMESPACE, "fs")
        await stand.rounds(leader, 10)
        assert stand.said(leader).reason == "TargetNotFound"
        assert not {DRAIN, BY} & set(stand.annotations("fs-1"))


@pytest.mark.parametrize("scaled", [True, False])
async def test_a_group_that_is_deleted_and_made_anew_knows_the_drain_that_it_began(scaled: bool) -> None:
    async with scaling() as stand:
        leader = await emptied(stand)
        stand.drop_group()
        stand.sessions["fs-1"] = 0
        await stand.rounds(leader, 30)
        assert (stand.replicas, stand.writes("pods")) == (3, 1), "whose pods these are nobody knows"
        stand.put_group(**({"autoscale": asked()} if scaled else {}))
        await stand.rounds(leader, 30)
        assert stand.replicas == (2 if scaled else 3)
        assert (BY in stand.annotations("fs-1")) is scaled


async def test_pods_are_marked_by_their_load_once_a_minute() -> None:
    async with scaling() as stand:
        stand.target(2)
        stand.sessions = {"fs-0": 42, "fs-1": 0}
        stand.put_group()
        stand.put_group("second")
        leader = stand.leader(marks=True)
        await stand.rounds(leader, 60, step=2)
        assert stand.annotations("fs-0") == {COST: "50", SAFE: "false"}
        assert stand.annotations("fs-1") == {COST: "0", SAFE: "true"}
        assert stand.writes("pods") == 2
        for second in range(120):
            stand.sessions["fs-0"] = (second * 13) % 90
            await stand.rounds(leader, 1, step=1)
        assert stand.writes("pods") <= 5
        follower = stand.leader(marks=True)
        stand.sessions["fs-0"] = int(stand.annotations("fs-0")[COST])
        before = stand.writes("pods")
        await stand.rounds(follower, 10)
        assert stand.writes("pods") == before, "what stands there is the truth"


async def test_marks_that_are_refused_are_left_for_a_while() -> None:
    async with scaling() as stand:
        stand.target(3)
        stand.put_group()
        stand.sessions = {"fs-0": 42}
        refused = stand.api.fail("pods", "patch", 403)
        leader = stand.leader(marks=True)
        await stand.rounds(leader, 240)
        assert refused.hits == 1
        refused.clear()
        await stand.rounds(leader, 120)
        assert stand.annotations("fs-0")[COST] == "50"


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "gone"), (409, "precondition failed"), (422, 'Pod "fs-0" is invalid: metadata.uid: Invalid value: "u"')],
)
async def test_a_pod_that_another_took_the_place_of_keeps_no_mark_from_the_others(status: int, message: str) -> None:
    async with scaling() as stand:
        stand.target(2)
        stand.put_group()
        stand.sessions = {"fs-0": 42, "fs-1": 42}
        stand.api.fail("pods", "patch", status, message=message, when=lambda one: one.name == "fs-0")
        leader = stand.leader(marks=True)
        await stand.rounds(leader, 10)
        assert stand.annotations("fs-1")[COST] == "50"
        assert 'marks_total{result="conflict"} 1.0' in leader.metrics.page()[0].decode()


async def test_without_marks_no_pod_is_written() -> None:
    async with scaling() as stand:
        stand.target(2)
        stand.put_group()
        stand.sessions = {"fs-0": 42}
        await stand.rounds(stand.leader(marks=False), 30)
        assert stand.writes("pods") == 0


@pytest.mark.parametrize("marks", [True, False])
async def test_a_node_that_somebody_takes_back_does_not_stay_the_first_to_go(marks: bool) -> None:
    async with scaling() as stand:
        stand.target(3)
        stand.sessions = {"fs-0": 50, "fs-1": 0, "fs-2": 60}
        stand.put_group(autoscale=asked())
        leader = stand.leader(marks=marks)
        await stand.rounds(leader, 80)
        assert stand.annotations("fs-1")[COST] == "-1000"
        stand.api.merge("pods", NAMESPACE, "fs-1", {"metadata": {"annotations": {DRAIN: None, BY: None}}})
        stand.sessions["fs-1"] = 80
        await stand.rounds(leader, 65)
        assert int(stand.annotations("fs-1")[COST]) >= 0
        assert stand.replicas == 3


async def test_the_whole_operator_scales_marks_and_says_so() -> None:
    async with serving() as api, balancing(FakeBalancer()) as balancer, operating(api, pod_marks=True) as operator:
        api.put(config_map())
        api.put(deployment(1))
        api.put(pod())
        api.put(group(esl=ESL, autoscale=asked(buffer={"calls": 10})))
        await eventually(lambda: members(api) and api.object("secrets", OWN, "st-config-token"))
        token = api.object("secrets", OWN, "st-config-token")["data"]["token"]
        balancer.token = base64.b64decode(token).decode()
        balancer.acts_on(api, sessions=95, effective=95.0)
        api.put(endpoint_slice(balancer.port))
        await eventually(lambda: api.object("deployments", NAMESPACE, "fs")["spec"]["replicas"] == 2)
        await eventually(lambda: conditions(api).get("AutoscaleActive") == ("True", "Active"))
        await eventually(lambda: api.object("pods", NAMESPACE, "fs-0")["metadata"].get("annotations"))
        assert api.object("pods", NAMESPACE, "fs-0")["metadata"]["annotations"] == {COST: "100", SAFE: "false"}
        told = {"replicas": 2, "desired": 2, "draining": 0}

        def status() -> dict[str, Any]:
            found: dict[str, Any] = api.object("balancergroups", NAMESPACE, "ivr")["status"]["autoscale"]
            return found

        await eventually(lambda: told.items() <= status().items())
        assert "lastScaleTime" in status()
        events = [one.body for one in api.calls("create", "events") if one.body["reason"] == "ScaledOut"]
        assert [one["note"].partition(":")[0] for one in events] == ["Deployment fs from 1 to 2 replicas"]
        await settled(api)
        assert len(api.calls("patch")) == 2, "one pod marked, one target scaled"
        assert b'scales_total{direction="out",result="applied"} 1.0' in operator._metrics.page()[0]
