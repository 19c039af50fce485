"""The checker of the pages that claim something: each fault is found, and what is right passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import claims

HEAD = "| # | feature | our answer | configuration | test |\n|---|---|---|---|---|\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a few tests."""
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit" / "test_a.py").write_text(
        "def test_one(): ...\nasync def test_two(): ...\ndef helper(): ...\n"
        "class TestC:\n    def test_three(self): ...\nclass Fake:\n    def test_no(self): ...\n"
    )
    (tmp_path / "unit" / "helpers.py").write_text("def test_one(): ...\n")
    behavior = tmp_path / "crates" / "x" / "tests" / "behavior"
    behavior.mkdir(parents=True)
    (behavior / "main.rs").write_text("mod told;\n")
    source = (
        "#[test]\nfn plain() {}\n#[test]\n#[ignore]\n// why\nfn marked() {}\nfn helper() {}\n"
        "proptest! {\n    #[test]\n    fn any(x in 0..1) {}\n}\n"
    )
    (behavior / "told.rs").write_text(source)
    (behavior / "forgotten.rs").write_text(source)
    (tmp_path / "crates" / "x" / "lib.rs").write_text(source)
    return tmp_path


@pytest.mark.parametrize(
    "test",
    [
        "unit/test_a.py::test_one",
        "unit/test_a.py::test_two",
        "unit/test_a.py::TestC::test_three",
        "crates/x/tests/behavior/told.rs::plain",
        "crates/x/tests/behavior/told.rs::marked",
        "crates/x/tests/behavior/told.rs::any",
        "crates/x/lib.rs::plain",
    ],
)
def test_a_test_that_exists_is_one(root: Path, test: str) -> None:
    assert claims.why_not(root, test) is None


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("unit/test_a.py", "path/to/file::name"),
        ("unit/test_b.py::test_one", "no such file"),
        ("unit/helpers.py::test_one", "pytest does not read"),
        ("unit/test_a.py::helper", "no such test"),
        ("unit/test_a.py::test_three", "no such test"),
        ("unit/test_a.py::Fake::test_no", "no such test"),
        ("crates/x/tests/behavior/told.rs::helper", "no such test"),
        ("crates/x/tests/behavior/told.rs::plai", "no such test"),
        ("crates/x/tests/behavior/forgotten.rs::plain", "no module declares"),
    ],
)
def test_what_is_no_test_is_said_so(root: Path, test: str, reason: str) -> None:
    assert reason in (claims.why_not(root, test) or "")


def test_rows_without_answer_or_test_are_found_with_their_line(root: Path) -> None:
    page = HEAD + (
        "| 1 | a \\| b | Yes | `x|y`".replace("x|y", "x\\|y")
        + " | `unit/test_a.py::test_one`, `unit/test_a.py::test_two` |\n"
        "| 2 | c | - | - | `unit/test_a.py::test_one` |\n"
        "| 3 | d | Yes | - | - |\n"
        "| 4 | e | Not offered: why | - | - |\n"
        "| 5 | f | Yes | - | unit/test_a.py::test_one |\n"
        "| 6 | g | Yes | - | `unit/test_a.py::test_gone` |\n"
    )
    found = claims.complaints(root, "p.md", page)
    assert [line.split(": ", 1)[0] for line in found] == ["p.md:4", "p.md:5", "p.md:7", "p.md:7", "p.md:8"]
    assert "no answer" in found[0]
    assert "no test" in found[1]
    assert "outside of backticks" in found[3]
    assert "no such test" in found[4]


def test_other_tables_are_let_alone_and_a_page_without_any_is_not(root: Path) -> None:
    other = "| a | b |\n|---|---|\n| - | - |\n"
    assert claims.complaints(root, "p.md", other) == ["p.md: no table with a column 'test'"]
    assert (
        claims.complaints(root, "p.md", other + "\n" + HEAD + "| 1 | a | Yes | - | `unit/test_a.py::test_one` |\n")
        == []
    )


def test_a_row_of_another_width_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"p\.md:3: 3 cells under 5 heads"):
        list(claims.rows("p.md", HEAD + "| 1 | a | b |\n"))


def test_features_are_numbered_without_a_gap() -> None:
    row = "| {} | a | Yes | - | - |\n"
    whole = HEAD + "".join(row.format(number) for number in range(1, claims.FEATURES + 1))
    assert claims.missing_features("p.md", whole) == []
    [gap] = claims.missing_features("p.md", whole.replace("| 7 | a", "| 8 | a"))
    assert "missing: 7; twice or unknown: 8" in gap
    assert claims.missing_features("p.md", HEAD)


def test_the_exit_status_tells(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claims.main(root) == 1
    assert capsys.readouterr().err == "docs/parity.md: missing\ndocs/rfc.md: missing\n"
    (root / "docs").mkdir()
    row = "| {} | a | Yes | - | `unit/test_a.py::test_one` |\n"
    page = HEAD + "".join(row.format(number) for number in range(1, claims.FEATURES + 1))
    for name in claims.PAGES:
        (root / name).write_text(page)
    assert claims.main(root) == 0
    (root / claims.PAGES[1]).write_text(page.replace("test_one", "test_other", 1))
    assert claims.main(root) == 1
