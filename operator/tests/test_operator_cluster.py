"""What is known of the cluster: whom a change concerns, and our own writes before the watch tells of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from operator_stand import LISTENERS, NAMESPACE, OWN, config_map, group

from switchtender_operator.reconcile.cluster import Cluster
from switchtender_operator.reconcile.objects import (
    Endpoint,
    Endpoints,
    Seen,
    configuration,
    endpoints,
    group_object,
    set_object,
)


def raw_group(name: str = "ivr", *, uid: str = "g", version: int = 1, **metadata: Any) -> dict[str, Any]:
    made = group(name)
    made["metadata"] |= {"uid": uid, "resourceVersion": str(version), "generation": 1, **metadata}
    return made


def raw_set(
    name: str = "ivr", of: str = "ivr", *, uid: str = "s", version: int = 1, host: str = "10.0.0.1"
) -> dict[str, Any]:
    member = {"uid": f"u-{host}", "name": "fs", "addresses": [host], "esl": {"host": host, "port": 8021}}
    return {
        "metadata": {
            "name": name, "namespace": NAMESPACE, "uid": uid, "resourceVersion": str(version), "generation": version,
            "labels": {"switchtender.dev/group": of},
        },
        "spec": {"group": {"name": of, "uid": "g"}, "members": [member]},
    }  # fmt: skip


WALL = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A cluster fed by hand, in its own time."""

    def __init__(self) -> None:
        self.dirty: list[str] = []
        self.now = 0.0
        self.cluster = Cluster(self.dirty.append, clock=lambda: self.now, trust=10.0)

    def put_group(self, raw: dict[str, Any], old: Any = None) -> Any:
        seen = group_object(raw)
        assert seen is not None
        self.cluster.group_changed(seen.value.uid, old, seen)
        return seen

    def put_set(self, raw: dict[str, Any], old: Any = None) -> Any:
        seen = set_object(raw)
        assert seen is not None
        self.cluster.set_changed(seen.value.uid, old, seen)
        return seen

    def take(self) -> list[str]:
        found, self.dirty[:] = list(self.dirty), []
        return found


def test_a_change_of_nothing_that_counts_wakes_nobody() -> None:
    world = World()
    old = world.put_group(raw_group())
    world.take()
    world.put_group(raw_group(version=2, annotations=None), old)
    assert world.take() == []


def test_a_group_of_the_same_name_is_another_group() -> None:
    world = World()
    first = world.put_group(raw_group(uid="g1"))
    world.put_group(raw_group(uid="g2"))
    world.cluster.group_changed("g1", first, None)
    assert world.cluster.group("voice/ivr").uid == "g2"  # type: ignore[union-attr]


def test_a_set_concerns_its_group_and_those_at_the_same_sockets() -> None:
    world = World()
    world.put_set(raw_set("a", "a", uid="s1"))
    world.put_set(raw_set("c", "c", uid="s3", host="10.0.0.9"))
    world.take()
    second = world.put_set(raw_set("b", "b", uid="s2"))
    assert world.take() == ["voice/b", "voice/a"]
    world.cluster.set_changed("s2", second, None)
    assert world.take() == ["voice/b", "voice/a"]
    assert world.cluster.neighbors.at("10.0.0.1:8021", besides="voice/a") == []


def test_an_answer_stands_until_the_watch_is_as_far() -> None:
    world = World()
    old = world.put_set(raw_set(version=5))
    world.cluster.wrote_set(raw_set(version=7))
    assert [one.generation for one in world.cluster.sets("voice/ivr")] == [7]
    between = world.put_set(raw_set(version=6), old)
    assert [one.generation for one in world.cluster.sets("voice/ivr")] == [7]
    world.put_set(raw_set(version=8), between)
    assert [one.generation for one in world.cluster.sets("voice/ivr")] == [8]


def test_a_set_just_made_is_known_before_the_watch_and_not_for_ever() -> None:
    world = World()
    world.cluster.wrote_set(raw_set(uid="new", version=3))
    assert [one.uid for one in world.cluster.sets("voice/ivr")] == ["new"]
    assert world.cluster.sets("voice/other") == ()
    world.now = 11.0
    assert world.cluster.sets("voice/ivr") == ()


def test_a_set_just_deleted_is_gone_before_the_watch_and_not_for_ever() -> None:
    world = World()
    world.put_set(raw_set())
    world.cluster.deleted("s")
    assert world.cluster.sets("voice/ivr") == ()
    world.now = 11.0
    assert len(world.cluster.sets("voice/ivr")) == 1


def test_when_a_set_changed_does_not_depend_on_the_time_of_day() -> None:
    world = World()
    old = world.put_set(raw_set(version=1))
    assert world.cluster.sets("voice/ivr", WALL)[0].changed is None
    world.now = 100.0
    world.put_set(raw_set(version=2), old)
    world.now = 103.0
    for jump in (timedelta(0), timedelta(days=1), timedelta(days=-1)):
        wall = WALL + jump
        assert world.cluster.sets("voice/ivr", wall)[0].changed == wall - timedelta(seconds=3)
    world.cluster.wrote_set(raw_set(version=3))
    assert world.cluster.sets("voice/ivr", WALL)[0].changed == WALL
    world.now = 104.0
    world.put_set(raw_set(version=3), old)
    assert world.cluster.sets("voice/ivr", WALL)[0].changed == WALL - timedelta(seconds=1)
    assert len(world.cluster._changed) == 1


def test_answers_that_no_watch_ever_confirms_do_not_pile_up() -> None:
    world = World()
    for number in range(100):
        world.now = float(number)
        world.cluster.wrote_set(raw_set(uid=f"s{number}"))
        world.cluster.deleted(f"d{number}")
    assert len(world.cluster._written) <= 11
    assert len(world.cluster._deleted) <= 11


@given(st.permutations([1, 2, 3, 4, 5]), st.integers(1, 5))
def test_the_latest_version_counts_in_whatever_order_answers_come(order: list[int], watched: int) -> None:
    world = World()
    old = None
    for version in order:
        if version <= watched and (old is None or version > int(old.version)):
            old = world.put_set(raw_set(version=version), old)
        answer = set_object(raw_set(version=version))
        known = world.cluster.sets("voice/ivr")
        if answer is not None and (not known or version > known[0].generation):
            world.cluster.wrote_set(raw_set(version=version))
    assert [one.generation for one in world.cluster.sets("voice/ivr")] == [5]


def test_a_balancers_configuration_concerns_every_group() -> None:
    world = World()
    world.put_group(raw_group("a", uid="1"))
    world.put_group(raw_group("b", uid="2"))
    world.take()
    told: list[bool] = []
    world.cluster.config_changed = lambda: told.append(True)
    world.cluster.configuration_changed("c", None, configuration(config_map()))
    assert set(world.take()) == {"voice/a", "voice/b"}
    assert told == [True]
    assert not isinstance(world.cluster.balancers()["default"], str)


def test_two_configurations_of_one_name_are_none() -> None:
    world = World()
    for name in ("one", "two"):
        world.cluster.configuration_changed(name, None, configuration(config_map(name)))
    problem = world.cluster.balancers()["default"]
    assert isinstance(problem, str)
    assert "one" in problem
    assert "two" in problem


def test_variables_of_the_balancers_pod_are_no_mistakes() -> None:
    spec = LISTENERS.replace("}]", ", advertise: {host: $(HOST_IP)}}]")
    assert not isinstance(configuration(config_map(spec=spec)).config, str)  # type: ignore[union-attr]


def test_what_is_wrong_with_a_configuration_is_said_with_its_place() -> None:
    cases = {
        "no key": {**config_map(), "data": {}},
        "unknown field": config_map(spec="{listeners: [{address: 10.0.0.1}], nonsense: 1}"),
        "another name": {**config_map(balancer="other"), "metadata": config_map()["metadata"]},
        "unknown variable": config_map(spec="{listeners: [{address: $(PATH)}]}"),
    }  # fmt: skip
    for raw in cases.values():
        found = configuration(raw)
        assert found is not None
        assert isinstance(found.config, str)
        assert raw["metadata"]["name"] in found.config
    assert "nonsense" in configuration(cases["unknown field"]).config  # type: ignore[union-attr,operator]


def raw_slice(*entries: dict[str, Any], family: str = "IPv4", port: str = "http") -> dict[str, Any]:
    return {
        "metadata": {"name": "s", "namespace": OWN, "labels": {"switchtender.dev/balancer": "default"}},
        "addressType": family,
        "ports": [{"name": "other", "port": 1}, {"name": port, "port": 8080}],
        "endpoints": list(entries),
    }


def entry(uid: str, address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "uid": uid, "name": uid}}


def test_every_balancer_is_asked_whatever_its_conditions() -> None:
    found = endpoints(raw_slice(entry("a", "10.0.0.1", ready=False), entry("b", "10.0.0.2", terminating=True)))
    assert found == Endpoints("default", (Endpoint("a", "10.0.0.1", 8080), Endpoint("b", "10.0.0.2", 8080)))
    assert endpoints(raw_slice(entry("a", "10.0.0.1"), port="sip")) == Endpoints("default")
    assert endpoints(raw_slice(family="FQDN")) is None


def test_a_balancer_with_two_addresses_is_asked_once() -> None:
    world = World()
    world.cluster.endpoints_changed("six", None, endpoints(raw_slice(entry("a", "2001:db8::1"), family="IPv6")))
    world.cluster.endpoints_changed("four", None, endpoints(raw_slice(entry("a", "10.0.0.1"))))
    assert world.cluster.endpoints() == {"default": [Endpoint("a", "10.0.0.1", 8080)]}
    world.cluster.endpoints_changed("four", None, None)
    assert world.cluster.endpoints() == {"default": [Endpoint("a", "2001:db8::1", 8080)]}


def test_versions_that_are_no_numbers_are_taken_as_they_come() -> None:
    assert Seen(1, "x").newer_than(Seen(1, "y"))
    assert not Seen(1, "x").newer_than(Seen(1, "x"))
    assert Seen(1, "10").newer_than(Seen(1, "9"))
    assert not Seen(1, "9").newer_than(Seen(1, "10"))


def test_objects_without_an_identity_are_left_out() -> None:
    assert group_object({"metadata": {}}) is None
    assert set_object({"metadata": {"name": "x"}}) is None
    assert configuration({"metadata": {"name": "x"}}) is None
    assert endpoints({"metadata": {"name": "x"}}) is None
