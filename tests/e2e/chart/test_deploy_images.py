"""The Dockerfiles and what they are filled with, as far as that can be judged without building an image."""

import hashlib
import re

import pytest
import yaml
from tools import dist

from tests.e2e.chart.rendering import CHART, ROOT

IMAGES = ROOT / "deploy" / "images"


@pytest.fixture(params=dist.IMAGES)
def image(request):
    return request.param


def _instructions(image):
    """Instructions and their words, continued lines joined, comments gone."""
    lines = [line for line in (IMAGES / f"{image}.Dockerfile").read_text().splitlines() if not line.startswith("#")]
    return [line.split(maxsplit=1) for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line]


def test_one_dockerfile_for_each_image():
    assert {path.name for path in IMAGES.iterdir()} == {f"{image}.Dockerfile" for image in dist.IMAGES}


def test_nothing_is_fetched_and_nothing_compiled(image):
    instructions = _instructions(image)
    (run,) = [words for verb, words in instructions if verb == "RUN"]
    assert {"--no-index", "--require-hashes", f"/dist/{image}.txt"} <= set(run.split())
    assert not re.search(r"apt|curl|wget|cargo|rustc|gcc", run)
    assert [verb for verb, words in instructions if verb == "FROM" and not words.startswith("${BASE}")] == []
    assert not [verb for verb, _ in instructions if verb == "ADD"]


def test_the_last_stage_takes_the_result_alone(image):
    instructions = _instructions(image)
    last = max(index for index, (verb, _) in enumerate(instructions) if verb == "FROM")
    copies = [words for verb, words in instructions[last:] if verb == "COPY"]
    assert copies == ["--from=build /opt/switchtender /opt/switchtender"]


def test_the_user_is_the_one_that_the_chart_runs_it_as(image):
    (user,) = [words for verb, words in _instructions(image) if verb == "USER"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for component in ("operator", "balancer"):
        context = values[component]["podSecurityContext"]
        assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_operator_and_balancer_hold_nothing_of_each_other():
    assert "balancer" not in dist.IMAGES["operator"]
    assert "operator" not in dist.IMAGES["balancer"]
    for name in dist.IMAGES:
        assert not re.search(r"(?m)^(maturin|pytest|switchtender)", (ROOT / "requirements" / f"{name}.txt").read_text())


def test_a_wheel_is_required_by_its_hash(tmp_path):
    wheel = tmp_path / "switchtender_api-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    digest = hashlib.sha256(b"wheel").hexdigest()
    assert dist.requirement(wheel) == f"switchtender-api==0.1.0 --hash=sha256:{digest}"
