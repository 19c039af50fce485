"""Log records: one JSON object a line for machines, one line for people, whatever others made us say."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.cli.logs import ConsoleFormatter, JsonFormatter, configure


def record(message="node is %s", *arguments, exc_info=None, level=logging.WARNING, **extra):
    made = logging.getLogger("switchtender.test").makeRecord(
        "switchtender.test", level, "file.py", 1, message, arguments or ("down",), exc_info, extra=extra or None
    )
    made.created = 1_700_000_000.25
    return made


def test_json_has_time_level_logger_message_and_every_extra_field():
    line = JsonFormatter().format(record(node="fs1", openTransactions=3, listeners=["public 127.0.0.1:5060"]))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "warning",
        "logger": "switchtender.test",
        "message": "node is down",
        "node": "fs1",
        "openTransactions": 3,
        "listeners": ["public 127.0.0.1:5060"],
    }


def test_console_lines_are_short_with_fields_as_words():
    line = ConsoleFormatter().format(record(node="fs1", detail="no answer", listeners=["a", "b"], empty=""))
    assert line.endswith(' warning node is down node=fs1 detail="no answer" listeners="a, b" empty=""')


def test_an_exception_comes_with_its_traceback():
    try:
        int("a fault")
    except ValueError:
        made = record(exc_info=sys.exc_info())
    assert "ValueError: invalid literal" in json.loads(JsonFormatter().format(made))["exception"]
    assert ConsoleFormatter().format(made).splitlines()[-1].endswith("'a fault'")


@given(st.text(), st.text())
def test_whatever_a_node_said_stays_on_one_line(message, detail):
    made = record("%s", message, detail=detail)
    document = json.loads(JsonFormatter().format(made))
    assert (document["message"], document["detail"]) == (message, detail)
    assert "\n" not in JsonFormatter().format(made)
    text = ConsoleFormatter().format(made)
    assert len(text.splitlines()) == 1
    assert text.isprintable()


@pytest.mark.parametrize(("form", "level"), [("json", "debug"), ("console", "error")])
def test_configured_from_a_level_on_to_standard_error(form, level, capsys):
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    try:
        configure(form, level)
        logging.getLogger("switchtender.test").info("a line")
        logging.getLogger("switchtender.test").error("another")
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == (2 if level == "debug" else 1)
