"""What becomes of counts: the total of a file, and the judgment by bounds."""

import json
from pathlib import Path

import pytest

from tests.performance.instructions import BOUNDS, GROUPS, MeasureError, judged, total


def test_every_group_has_its_bound() -> None:
    assert set(json.loads(BOUNDS.read_text())) == set(GROUPS)


@pytest.mark.parametrize(
    ("figure", "dearer", "cheaper"), [(1000, 0, 0), (1049, 0, 0), (1051, 1, 0), (951, 0, 0), (949, 0, 1)]
)
def test_what_is_dearer_is_wrong_and_what_is_cheaper_is_told(figure: float, dearer: int, cheaper: int) -> None:
    told = judged({"hash": figure}, {"hash": 1000})
    assert [len(lines) for lines in told] == [dearer, cheaper]


def test_the_total_is_read_from_the_summary(tmp_path: Path) -> None:
    out = tmp_path / "callgrind.1"
    out.write_text("events: Ir\nfn=(1) main\n1 5\nsummary: 4711\ntotals: 4711\n")
    assert total(out) == 4711


def test_a_file_without_total_is_told(tmp_path: Path) -> None:
    out = tmp_path / "callgrind.1"
    out.write_text("events: Ir\n")
    with pytest.raises(MeasureError, match="no total"):
        total(out)
