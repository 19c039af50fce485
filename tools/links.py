"""Holds the links between pages to what is there: files, folders, and the heads that a link names.

``make verify`` fails where a page of the checkout links to a file or a head that does not exist. Links to elsewhere
are not followed: nothing here asks the network. Heads are named as GitHub and GitLab name them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are no code, each with its number."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def heads(text: str) -> set[str]:
    """The names by which a link reaches the heads of a page; a head that stands twice gets a number."""
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for _, line in _prose(text):
        head = re.match(r"#{1,6}\s+(.*)", line)
        if head is None:
            continue
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head[1]).strip().lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def complaints(root: Path, pages: Iterable[Path]) -> list[str]:
    """What is wrong with the links of these pages, each with its place; ``pages`` are relative to ``root``."""
    return [
        f"{page}:{number}: {link}: {reason}"
        for page in pages
        for number, line in _prose((root / page).read_text(encoding="utf-8"))
        for link in _LINK.findall(_CODE.sub("", line))
        if not _ELSEWHERE.match(link) and (reason := _why_not(root, page, link))
    ]


def _why_not(root: Path, page: Path, link: str) -> str | None:
    """What is wrong with a link; nothing where it leads somewhere."""
    place, _, head = link.partition("#")
    target = (root / page).parent / place if place else root / page
    if not target.exists():
        return "there is no such file"
    if head and target.suffix == ".md" and head not in heads(target.read_text(encoding="utf-8")):
        return "the page has no such head"
    return None


def main(root: Path = ROOT) -> int:
    """Checks every page that git knows; the exit status."""
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],  # noqa: S607 - git is on the path
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    found = complaints(root, (Path(name) for name in known if (root / name).is_file()))
    for complaint in found:
        sys.stderr.write(complaint + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
