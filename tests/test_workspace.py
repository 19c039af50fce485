"""Rules of the checkout that no linter knows."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from switchtender.config.plan import read_plan
from switchtender_api.objects import kubernetes_gaps, read_group

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GROUPS = sorted((ROOT / "deploy" / "samples" / "groups").glob("*.yaml"))
SAMPLES = sorted((ROOT / "docs" / "samples").glob("*.yaml"))


def tracked():
    """Files that git knows or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_no_package_shadows_the_standard_librarys_operator():
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_test_files_have_names_of_their_own():
    """pytest imports them by name (--import-mode=prepend): two of one name would be one."""
    names = Counter(path.name for path in tracked() if path.name.startswith("test_") and path.suffix == ".py")
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_samples_are_valid(sample):
    assert read_plan(sample, environ={"ESL_PASSWORD": "x"}).groups


def test_the_readme_shows_the_sample_as_it_is():
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    sample = (ROOT / "docs" / "samples" / "standalone.yaml").read_text()
    assert "".join(line for line in sample.splitlines(keepends=True) if not line.startswith("# ")) in shown


@pytest.mark.parametrize("sample", GROUPS, ids=lambda sample: sample.name)
def test_groups_of_the_samples_are_whole_and_built(sample):
    read = read_group(yaml.safe_load(sample.read_text()))
    assert (read.findings, read.unknown) == ((), ())
    assert kubernetes_gaps(read.group) == []
