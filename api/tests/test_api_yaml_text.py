"""YAML text to plain values: bounds hold, lines are right, both parsers of PyYAML agree."""

from __future__ import annotations

import json
import re
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from switchtender_api import yaml_text
from switchtender_api.yaml_text import MOST_DEPTH, read

# 1e3 is a number to kubectl and to us, a text to PyYAML; what YAML takes for a line break has tests of its own.
texts = st.one_of(
    st.text(string.printable, max_size=20), st.text(st.characters(max_codepoint=0xD7FF), max_size=10)
).filter(lambda text: not re.fullmatch(r"[-+.eE0-9]+", text) and not re.search("[\x85\u2028\u2029]", text))
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**17), 10**17), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(string.ascii_letters), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(plain)
def test_json_is_read_as_it_is_meant(value):
    (document,) = read(json.dumps(value)).documents
    assert document.value == value
    assert document.flaws == []


@given(plain)
def test_what_pyyaml_writes_is_read_back(value):
    (document,) = read(yaml.safe_dump(value)).documents
    assert document.value == value


@given(st.text(max_size=200))
def test_any_text_is_read_or_has_a_flaw(text):
    result = read(text)
    assert result.fatal is None or result.fatal.message


@given(st.text("ab:-[]{},&*!|>'\"#%\n <?~01", max_size=60))
def test_any_yaml_like_text_is_read_or_has_a_flaw(text):
    result = read(text)
    assert result.fatal is None or result.fatal.message
    for document in result.documents:
        assert document.line >= 1


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_have_a_flaw(data):
    result = read(data)
    assert result.fatal is None or result.fatal.message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "a:\n"])
def test_depth_is_bounded(opening):
    text = "\n".join(" " * n + "a:" for n in range(200)) if opening == "a:\n" else opening * 5000
    fatal = read(text).fatal
    assert fatal is not None
    assert fatal.message == f"nested deeper than {MOST_DEPTH}"


def test_depth_through_aliases_is_bounded():
    text = "- &a0 [x]\n" + "".join(f"- &a{n} [*a{n - 1}]\n" for n in range(1, 500))
    fatal = read(text).fatal
    assert fatal is not None
    assert fatal.message == f"nested deeper than {MOST_DEPTH}"


def test_the_budget_is_for_the_whole_text(monkeypatch):
    monkeypatch.setattr(yaml_text, "MOST_NODES", 10)
    assert read("[1, 2, 3]\n---\n[4, 5, 6]\n").fatal is None
    fatal = read("[1, 2, 3]\n---\n[4, 5, 6]\n---\n[7, 8]\n").fatal
    assert fatal is not None
    assert fatal.line == 5


def test_the_budget_counts_what_aliases_repeat(monkeypatch):
    monkeypatch.setattr(yaml_text, "MOST_NODES", 10)
    assert read("[&a [1, 2], *a]\n").fatal is None
    assert read("[&a [1, 2], *a, *a, *a]\n").fatal is not None


def test_lines_are_those_of_the_fields():
    text = "# comment\nspec:\n  list:\n  - name: a\n    port: 1\n  - {name: b,\n     port: 2}\n"
    text += "  text: |\n    two\n    lines\n"
    (document,) = read(text).documents
    assert document.value == {
        "spec": {"list": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "text": "two\nlines\n"}
    }
    assert document.line_of(("spec",)) == 2
    assert document.line_of(("spec", "list", 0, "port")) == 5
    assert document.line_of(("spec", "list", 1, "port")) == 7
    assert document.line_of(("spec", "text")) == 8
    assert document.line_of(("spec", "list", 1, "missing")) == 6
    assert document.line_of(("elsewhere",)) == 2


def test_every_duplicate_is_named_and_the_first_counts():
    (document,) = read("a: 1\nb: 2\na: 3\nb: 4\na: 5\n").documents
    assert document.value == {"a": 1, "b": 2}
    assert [(flaw.path, flaw.line) for flaw in document.flaws] == [(("a",), 3), (("b",), 4), (("a",), 5)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("true", True),
        ("~", None),
        ("", None),
        ("'yes'", "yes"),
        ("!!str yes", "yes"),
        ("y", "y"),
        ("+5", 5),
        ("0", 0),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1:30", "1:30"),
        ("2026-03-01", "2026-03-01"),
        (".nan", ".nan"),
        ("9" * 400, "9" * 400),
        ("5071-5134", "5071-5134"),
    ],
)
def test_scalars(text, value):
    (document,) = read(f"a: {text}\n").documents
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


@given(st.text("ab:-[]{},&*'\"#\n 01", max_size=40))
def test_the_parser_in_c_and_the_one_in_python_agree(text):
    def with_loader(loader):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(yaml_text, "_LOADER", loader)
            return read(text)

    ours, other = with_loader(yaml.SafeLoader), with_loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if ours.fatal is None and other.fatal is None:
        assert [document.value for document in ours.documents] == [document.value for document in other.documents]
