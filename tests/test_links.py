"""The checker of links between pages: each fault is found with its place, and what is right passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import links

TARGET = "# Top\n## One `name`, two\n## Twice\n## Twice\n## See [there](x.md#y)\n```sh\n# no head\n```\n"


def _complaints(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "target.md").write_text(TARGET)
    (tmp_path / "docs" / "page.md").write_text(text)
    (tmp_path / "README.md").write_text("")
    return links.complaints(tmp_path, [Path("docs/page.md")])


def test_heads_are_named_as_the_forges_name_them() -> None:
    assert links.heads(TARGET) == {"top", "one-name-two", "twice", "twice-1", "see-there"}


@pytest.mark.parametrize(
    "text",
    [
        "[a](target.md)",
        "[a](target.md#twice-1) [b](target.md#one-name-two)",
        "[a](../README.md) [folder](../docs)",
        "# Here\n[a](#here)",
        "[a](https://example.org/gone.md) [b](mailto:a@example.org)",
        "`[a](gone.md)`",
        "```\n[a](gone.md)\n```",
    ],
)
def test_links_that_lead_somewhere_pass(tmp_path: Path, text: str) -> None:
    assert _complaints(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n[a](gone.md)", "docs/page.md:2: gone.md: there is no such file"),
        ("[a](target.md) [b](target.md#no-head)", "docs/page.md:1: target.md#no-head: the page has no such head"),
        ("[a](#here)", "docs/page.md:1: #here: the page has no such head"),
        ("![a](images/gone.png)", "docs/page.md:1: images/gone.png: there is no such file"),
    ],
)
def test_links_that_lead_nowhere_are_told_with_their_place(tmp_path: Path, text: str, complaint: str) -> None:
    assert _complaints(tmp_path, text) == [complaint]


def test_the_pages_of_this_checkout_lead_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert links.main() == 0, capsys.readouterr().err
