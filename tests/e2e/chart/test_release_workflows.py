"""The workflows of a release: what can be judged of them where they cannot run."""

import re
import subprocess
import tomllib

import pytest
import yaml

from tests.e2e.chart.rendering import CHART, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


def _steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request):
    return yaml.load(request.param.read_text(), Loader=yaml.BaseLoader)


def test_rights_are_given_job_by_job(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        wider = {right for right, level in job.get("permissions", {}).items() if level == "write"}
        assert wider == {
            "images": {"packages"},
            "manifests": {"packages"},
            "chart": {"packages"},
            "release": {"contents"},
        }.get(name, set())
        assert int(job["timeout-minutes"]) <= 60


def test_actions_are_pinned_and_keep_no_credentials(workflow):
    for step in _steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", step["uses"])
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


def test_scripts_are_shell_and_take_no_untrusted_text(workflow):
    for step in _steps(workflow):
        script = step.get("run", "")
        assert "github.event" not in script
        assert "secrets." not in script
        plain = re.sub(r"\$\{\{.*?\}\}", "x", script)
        checked = subprocess.run(["bash", "-n"], input=plain, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_jobs_wait_for_jobs_that_are_there(workflow):
    jobs = workflow["jobs"]
    for job in jobs.values():
        needed = job.get("needs", [])
        assert set([needed] if isinstance(needed, str) else needed) <= set(jobs)


def test_one_version_in_all_packages_and_the_chart():
    packages = [
        tomllib.loads((ROOT / name / "pyproject.toml").read_text()) for name in ("api", "kube", "operator", "balancer")
    ]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert {package["project"]["version"] for package in packages} == {chart["appVersion"]}
    # What the release's job greps for.
    assert f"appVersion: {chart['appVersion']}\n" in (CHART / "Chart.yaml").read_text()


def test_the_published_chart_names_a_registry():
    """The substitution of the release's job finds both images."""
    assert len(re.findall(r"repository: switchtender/", (CHART / "values.yaml").read_text())) == 2
