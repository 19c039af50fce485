"""Holds the pages that claim something of the product, row by row, to the tests that they name.

``make verify`` fails when a row of docs/parity.md or docs/rfc.md has no answer, names no test, or names one that does
not exist, and when a feature is missing from the first. Whether the tests pass is for the tests; whether they prove
what the row says is for its reader. Imports nothing of the product and runs no test: Python is read by its syntax
tree, Rust by the ``#[test]`` before a function.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ("docs/parity.md", "docs/rfc.md")
#: The features of the page on parity are numbered from 1 to this.
FEATURES = 126
#: What the columns that hold the answer are headed.
ANSWERS = ("our answer", "how it is designed out", "what we do")
#: An answer that begins so needs no test.
DECLINED = "Not offered"

_CELL_BORDER = re.compile(r"(?<!\\)\|")
_QUOTED = re.compile(r"`([^`]*)`")
_RUST_TEST = re.compile(r"#\[test\](?:\s*#\[[^\]]*\]|\s*//[^\n]*)*\s*fn\s+(\w+)")


@dataclass(frozen=True)
class Row:
    """A row of a table: its place, and its cells by the head of their column in lower case."""

    page: str
    line: int
    cells: dict[str, str]

    def complaint(self, text: str) -> str:
        """The text with the row's place before it."""
        return f"{self.page}:{self.line}: {text}"


def rows(page: str, text: str) -> Iterator[Row]:
    """Every row of the tables with a column ``test``. Raises ValueError for a row with cells too many or too few."""
    head: list[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in _CELL_BORDER.split(line.strip())[1:-1]]
        if head is None:
            head = [cell.lower() for cell in cells]
        elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells) and "test" in head:
            if len(cells) != len(head):
                raise ValueError(f"{page}:{number}: {len(cells)} cells under {len(head)} heads")
            yield Row(page, number, dict(zip(head, cells, strict=True)))


@cache
def _tests_in(path: Path) -> frozenset[str]:
    """The names of the tests in a file; of those in a class, ``Class::test``."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".rs":
        return frozenset(_RUST_TEST.findall(text))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = set[str]()
    for node in ast.parse(text).body:
        members = node.body if isinstance(node, ast.ClassDef) and node.name.startswith("Test") else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            prefix + item.name for item in members if isinstance(item, functions) and item.name.startswith("test_")
        }
    return frozenset(found)


def why_not(root: Path, test: str) -> str | None:
    """What is wrong with a test's name, ``path/to/file::name``; nothing if there is such a test and it is run."""
    path_text, _, name = test.partition("::")
    path = root / path_text
    if not name:
        return f"{test} is no test: path/to/file::name"
    if not path.is_file():
        return f"{test}: there is no such file"
    if path.suffix == ".py" and not path.name.startswith("test_"):
        return f"{test}: pytest does not read that file"
    if path.suffix == ".rs" and not _is_compiled(path):
        return f"{test}: no module declares that file"
    if name not in _tests_in(path):
        return f"{test}: there is no such test in that file"
    return None


def _is_compiled(path: Path) -> bool:
    """Whether the crate root of a Rust integration test of several files declares this one."""
    main = path.parent / "main.rs"
    if path.parent.parent.name != "tests" or path.name == "main.rs":
        return True
    return (
        main.is_file() and re.search(rf"^mod {path.stem};", main.read_text(encoding="utf-8"), re.MULTILINE) is not None
    )


def complaints(root: Path, page: str, text: str) -> list[str]:
    """What is wrong with the rows of a page."""
    found: list[str] = []
    count = 0
    for row in rows(page, text):
        count += 1
        answer = next((row.cells[head] for head in ANSWERS if head in row.cells), "")
        if not re.search(r"\w", answer):
            found.append(row.complaint("no answer"))
        tests = _QUOTED.findall(row.cells["test"])
        if not tests and not answer.startswith(DECLINED):
            found.append(row.complaint(f"no test; only an answer that begins with {DECLINED!r} needs none"))
        if re.search(r"\w", _QUOTED.sub("", row.cells["test"])):
            found.append(row.complaint("a test stands outside of backticks"))
        found += [row.complaint(reason) for test in tests if (reason := why_not(root, test))]
    if not count:
        found.append(f"{page}: no table with a column 'test'")
    return found


def missing_features(page: str, text: str) -> list[str]:
    """Which numbers are missing, repeated or too much among the features."""
    numbers = [row.cells["#"] for row in rows(page, text) if "feature" in row.cells]
    wanted = [str(number) for number in range(1, FEATURES + 1)]
    if numbers == wanted:
        return []
    missing = [number for number in wanted if number not in numbers]
    extra = sorted({number for number in numbers if numbers.count(number) > 1 or number not in wanted})
    what = f"missing: {', '.join(missing) or 'none'}; twice or unknown: {', '.join(extra) or 'none'}"
    return [f"{page}: the features must be numbered 1 to {FEATURES}, each once and in order ({what})"]


def main(root: Path = ROOT) -> int:
    """Checks the pages; the exit status."""
    found: list[str] = []
    for page in PAGES:
        path = root / page
        if not path.is_file():
            found.append(f"{page}: missing")
            continue
        text = path.read_text(encoding="utf-8")
        try:
            found += complaints(root, page, text)
            found += missing_features(page, text) if page == PAGES[0] else []
        except ValueError as error:
            found.append(str(error))
    for complaint in found:
        sys.stderr.write(complaint + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
