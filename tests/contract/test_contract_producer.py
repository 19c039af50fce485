"""The operator makes the golden DestinationSets of the worlds beside them, byte for byte."""

import os
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from switchtender_api.objects import read_group, read_set
from switchtender_api.v1alpha1 import BalancerConfigSpec
from switchtender_operator.domain.plan import plan, watched_selector
from switchtender_operator.domain.pods import Pod, project
from switchtender_operator.domain.world import GroupObject, GroupWorld, SetObject, Settings

HERE = Path(__file__).parent
WORLDS = sorted((HERE / "worlds").glob("*.yaml"))
ANYWHERE = {"default": {"listeners": [{"address": "0.0.0.0"}]}}


def world_of(text: str) -> tuple[GroupWorld, datetime]:
    """Read a world; only what it names differs from an empty cluster with a balancer that allows everything."""
    raw: dict[str, Any] = yaml.safe_load(text)
    group = raw["group"]
    metadata = group["metadata"]
    settings = raw.get("settings", {})

    def world(pods: Mapping[str, Pod] | None) -> GroupWorld:
        return GroupWorld(
            group=GroupObject(
                namespace=metadata["namespace"],
                name=metadata["name"],
                uid=metadata["uid"],
                generation=metadata["generation"],
                read=read_group(group),
            ),
            pods=pods,
            sets=tuple(stored(each, number) for number, each in enumerate(raw.get("sets", []), 1)),
            balancers={
                name: BalancerConfigSpec.model_validate(spec) for name, spec in raw.get("balancers", ANYWHERE).items()
            },
            settings=Settings(
                forbidden=frozenset(map(ip_address, settings.get("forbidden", []))),
                members_per_slice=settings.get("membersPerSlice", 200),
            ),
        )

    watched = watched_selector(world(None))
    keep = watched.annotations if watched else frozenset()
    pods = raw.get("pods", [])
    projected = None if pods is None else {pod.uid: pod for each in pods if (pod := project(each, keep=keep))}
    return world(projected), datetime.fromisoformat(raw.get("now", "2026-03-01T12:00:00Z"))


def stored(raw: Mapping[str, Any], number: int) -> SetObject:
    """A set as it stands in the cluster."""
    metadata = raw["metadata"]
    return SetObject(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=f"set-{number}",
        generation=1,
        resource_version=str(number),
        spec=raw["spec"],
        group_uid=raw["spec"]["group"]["uid"],
        owner_uid=metadata["ownerReferences"][0]["uid"],
        labels=metadata["labels"],
        annotations=metadata.get("annotations", {}),
    )


def sets_of(text: str) -> list[dict[str, Any]]:
    """All sets of the group once its plan is written, head first."""
    world, now = world_of(text)
    planned = plan(world, now)
    bodies = {each["metadata"]["name"]: each for each in yaml.safe_load(text).get("sets", [])}
    bodies |= {desired.name: desired.body for desired in planned.apply}
    for gone in planned.delete:
        del bodies[gone.name]
    return [bodies[name] for name in sorted(bodies)]


class _Plain(yaml.SafeDumper):
    """Without anchors: a part that stands twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def written(sets: list[dict[str, Any]]) -> str:
    return yaml.dump_all(sets, Dumper=_Plain, sort_keys=False, explicit_start=True, width=120)


@pytest.mark.parametrize("file", WORLDS, ids=lambda file: file.stem)
def test_the_operator_makes_the_golden_sets(file: Path) -> None:
    text = written(sets_of(file.read_text()))
    golden = HERE / "golden" / file.name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(text)
    assert golden.read_text() == text


@pytest.mark.parametrize("file", WORLDS, ids=lambda file: file.stem)
def test_the_golden_sets_are_read_whole(file: Path) -> None:
    for raw in yaml.safe_load_all((HERE / "golden" / file.name).read_text()):
        read = read_set(raw)
        assert read.set is not None
        assert (read.unknown, read.findings, read.skipped) == ((), (), ())


def test_every_world_has_its_golden_sets() -> None:
    assert [file.name for file in WORLDS] == sorted(file.name for file in (HERE / "golden").glob("*.yaml"))
    assert len(WORLDS) >= 12
