"""Members keep their slice; slices are filled, emptied and named as they should."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender_operator.domain.slices import name_of, number_of, spread


@dataclass(frozen=True)
class Node:
    uid: str
    name: str


def nodes(*names: str) -> list[Node]:
    return [Node(f"uid-{name}", name) for name in names]


def named(slices: dict[int, list[Node]]) -> dict[int, list[str]]:
    return {number: [node.name for node in slice_] for number, slice_ in slices.items()}


def uids(*names: str) -> list[str]:
    return [f"uid-{name}" for name in names]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ivr", 1),
        ("ivr.2", 2),
        ("ivr.10", 10),
        ("ivr.1", None),
        ("ivr.0", None),
        ("ivr.02", None),
        ("ivr.", None),
        ("ivr.x", None),
        ("ivr.٢", None),
        ("ivr-2", None),
        ("other.2", None),
        ("other", None),
    ],
)
def test_names_of_slices(name: str, number: int | None):
    assert number_of("ivr", name) == number
    if number is not None:
        assert name_of("ivr", number) == name


def test_a_new_group_is_filled_in_order_of_names():
    assert named(spread({}, nodes("e", "c", "a", "d", "b"), 2)) == {1: ["a", "b"], 2: ["c", "d"], 3: ["e"]}


def test_the_head_is_there_without_members():
    assert spread({}, [], 2) == {1: []}
    assert spread({1: uids("a"), 2: uids("b")}, [], 2) == {1: []}


def test_new_members_take_the_first_room():
    slices = spread({1: uids("b", "d"), 2: uids("c"), 3: uids("a")}, nodes("a", "b", "c", "e", "f", "g"), 2)
    assert named(slices) == {1: ["b", "e"], 2: ["c", "f"], 3: ["a", "g"]}


def test_an_emptied_slice_falls_and_its_number_is_used_again():
    assert named(spread({1: uids("a", "b"), 2: uids("c"), 3: uids("d")}, nodes("a", "b", "d"), 2)) == {
        1: ["a", "b"],
        3: ["d"],
    }
    slices = spread({1: uids("a", "b"), 3: uids("d", "e")}, nodes("a", "b", "d", "e", "f"), 2)
    assert named(slices) == {1: ["a", "b"], 2: ["f"], 3: ["d", "e"]}


def test_a_uid_in_two_slices_stays_in_the_first():
    assert named(spread({1: uids("a"), 2: uids("a", "b")}, nodes("a", "b"), 2)) == {1: ["a"], 2: ["b"]}
    assert named(spread({1: ["uid-a", "uid-a"]}, nodes("a"), 2)) == {1: ["a"]}


def test_what_a_slice_has_too_many_of_is_placed_anew():
    assert named(spread({1: uids("a", "b", "c")}, nodes("a", "b", "c"), 2)) == {1: ["a", "b"], 2: ["c"]}


@given(
    histories=st.lists(st.sets(st.sampled_from("abcdefghij"), max_size=10), min_size=1, max_size=12),
    most=st.integers(1, 4),
)
def test_no_member_ever_moves_and_no_slice_overflows(histories: list[set[str]], most: int):
    before: dict[int, list[Node]] = {}
    for present in histories:
        after = spread({n: [node.uid for node in slice_] for n, slice_ in before.items()}, nodes(*present), most)
        where = {node.uid: number for number, slice_ in after.items() for node in slice_}
        assert sorted(where) == uids(*sorted(present))
        assert sum(map(len, after.values())) == len(present)
        assert all(len(slice_) <= most for slice_ in after.values())
        assert all(slice_ or number == 1 for number, slice_ in after.items())
        assert all(slice_ == sorted(slice_, key=lambda node: (node.name, node.uid)) for slice_ in after.values())
        for number, slice_ in before.items():
            for node in slice_:
                assert where.get(node.uid, number) == number
        before = after
