"""The pages for three in the morning: one for each alert, true to the product in commands, metrics, states, fields."""

import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest
import yaml
from tools.monitoring.model import Recording
from tools.monitoring.recording import RULES
from tools.monitoring.rules import ALERTS

from switchtender.cli import main as balancer
from switchtender.load.states import REASONS, STATES
from switchtender.telemetry.journal import TYPES
from switchtender_api.status import CONDITIONS
from switchtender_api.status import REASONS as CONDITION_REASONS
from tests.views.declared import HISTOGRAMS, VALUES, complaints, is_declared

DOCS = Path(__file__).parents[3] / "docs"
CHART = Path(__file__).parents[3] / "charts" / "switchtender"
RUNBOOKS = DOCS / "runbooks"
INDEX = RUNBOOKS / "README.md"
MONITORING = DOCS / "monitoring.md"
AUTOSCALING = DOCS / "autoscaling.md"
PAGES = sorted(set(RUNBOOKS.glob("*.md")) - {INDEX})
SECTIONS = ["What it means", "See it", "Likely causes", "What to do", "What not to do"]

WORDS = {
    *REASONS, *TYPES, *CONDITIONS, *(reason for reasons in CONDITION_REASONS.values() for reason in reasons),
    *(alert.name for alert in ALERTS), "CertificateRefused", "StaticWeight", "LastValue", "Auto", "Spill", "Allow",
}  # fmt: skip
"""What may stand in code as one CamelCase word: node and condition reasons, types of events, alerts, enum values."""

each_page = pytest.mark.parametrize("page", [*PAGES, INDEX, MONITORING], ids=lambda page: page.stem)


def _code(page):
    """Every piece of code of a page: inline, and each line of a block."""
    text = page.read_text()
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [*inline, *(line for block in blocks for line in block.splitlines() if line)]


def _anchors(page):
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    }


def test_every_alert_has_a_page_and_every_page_an_alert():
    assert [page.stem for page in PAGES] == sorted(alert.name for alert in ALERTS)


def test_every_recording_rule_stands_in_the_page_on_monitoring():
    lines = MONITORING.read_text().splitlines()
    rows = [f"| `{rule.name}` | {rule.why} |" for rule in RULES.rules if isinstance(rule, Recording)]
    assert [line for line in lines if line.startswith("| `namespace_group")] == rows


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_page_says_what_the_alert_is(alert):
    title, _, second, *_ = (RUNBOOKS / f"{alert.name}.md").read_text().splitlines()
    assert title == f"# {alert.name}"
    threshold = "" if alert.threshold is None else rf", threshold {re.escape(f'{alert.threshold:g}')} \([\w ]+\)"
    assert re.fullmatch(rf"{alert.severity}, after {alert.hold}{threshold}", second)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_every_section_with_causes_that_can_be_checked(page):
    text = page.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    causes = text.partition("## Likely causes\n")[2].partition("\n## ")[0]
    listed = re.split(r"^\d+\. ", causes, flags=re.MULTILINE)[1:]
    assert listed
    assert all("Check: " in cause or "](Switchtender" in cause or "](../" in cause for cause in listed)
    for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
        assert section.strip()


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve()
        assert linked.is_file(), target
        assert not anchor or anchor in _anchors(linked), target


def _invocations(page):
    """Our commands in a page, as words; what stands before them (kubectl exec, variables) is cut off."""
    for code in _code(page):
        found = re.search(r"(?:^|\s)switchtender (?=[a-z-])([^|#]*)", code)
        if found and "kubectl -n switchtender" not in code:
            yield shlex.split(found.group(1))


@each_page
def test_commands_and_their_options_exist(page):
    for words in _invocations(page):
        command, context = balancer, click.Context(balancer)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.get_command(context, words.pop(0))
            assert command is not None, words
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        given = [word for word in words if word.startswith("-") and word != "-"]
        assert set(given) <= options | {"--help"}, (command.name, given)


def test_commands_were_found():
    assert {tuple(words[:1]) for page in PAGES for words in _invocations(page)} >= {
        ("nodes",),
        ("groups",),
        ("events",),
    }


@pytest.mark.parametrize("page", [*PAGES, INDEX, MONITORING, AUTOSCALING], ids=lambda page: page.stem)
def test_metrics_and_their_labels_exist(page):
    for code in _code(page):
        names = re.findall(r"(?:namespace_group(?:_node)?:)?switchtender_[\w:]+", code)
        unknown = [name for name in names if not is_declared(name) and name not in HISTOGRAMS]
        assert not unknown
        query = re.fullmatch(r"[ -]*\w+: '(.*)'", code)
        expression = query[1] if query else code
        if names and code not in HISTOGRAMS and not code.startswith(("kubectl", "curl")) and "<<" not in expression:
            assert complaints(expression) == []
        for label, value in re.findall(r'^(state|reason|cause|result)="(\w+)"$', code):
            known = {value for (_, name), values in VALUES.items() if name == label for value in values}
            assert value in known | {"refused", "failed"}, code


@each_page
def test_states_reasons_and_other_words_exist(page):
    for code in _code(page):
        state = re.fullmatch(r"([a-z]+) ([A-Z][a-z]+[A-Za-z]+)", code)
        if state:
            assert state[1] in STATES
            assert state[2] in REASONS
        if re.fullmatch(r"(?:[A-Z][a-z]+){2,}", code):
            assert code in WORDS, code
        condition = re.fullmatch(r"([A-Z]\w+)=(?:True|False)", code)
        assert condition is None or condition[1] in CONDITIONS


@cache
def _fields():
    """Paths of fields of documents, and of values of the chart."""
    pages = "".join((DOCS / "reference" / name).read_text() for name in ("configuration.md", "api.md"))
    fields = {
        path.removeprefix("spec.").replace("[]", "") for path in re.findall(r"^\| `([^`]+)` \|", pages, re.MULTILINE)
    }
    return fields | set(_paths(yaml.safe_load((CHART / "values.yaml").read_text())))


def _paths(values, before=""):
    for name, value in values.items():
        yield before + name
        if isinstance(value, dict):
            yield from _paths(value, f"{before}{name}.")


@each_page
def test_fields_and_values_exist(page):
    for code in _code(page):
        path = code.partition(":")[0].removeprefix("spec.")
        if re.fullmatch(r"[a-z]\w*(?:\.[a-z]\w*)+", path) and not path.endswith(
            (".md", ".yaml", ".xml", ".crt", ".dev")
        ):
            assert path in _fields() or path.startswith("net.core."), code
