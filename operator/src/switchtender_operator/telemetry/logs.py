"""How log records are written: one JSON object a line for machines, or a short line for people.

Libraries that log whole objects or answers (kopf and the Kubernetes client at debug) are kept at a level where they do
not, whatever level the operator itself logs at: a Secret's content would stand among them.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_TALKATIVE = {
    "aiohttp.access": logging.WARNING,  # a line for each probe and scrape
    "asyncio": logging.INFO,
    "kopf": logging.WARNING,  # a line for each event, whole bodies at debug
    "kopf._core.reactor.running": logging.ERROR,  # that it handles no signals, in its thread, is as it should be
    "kubernetes": logging.INFO,  # bodies of answers at debug
    "urllib3": logging.INFO,
}


class JsonFormatter(logging.Formatter):
    """Each record is one JSON object: time, level, logger, message, and whatever ``extra`` the caller gave."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        document: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, then ``key=value`` for each extra field."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of text (more when there is a traceback)."""
        time = dt.datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        message = "".join(letter if letter.isprintable() else "?" for letter in record.getMessage())
        extra = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        line = f"{time} {record.levelname.lower():<7} {message}{extra}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(form: str, level: str) -> None:
    """Send all records to standard error in ``form`` (json or console) from ``level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _TALKATIVE.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _word(value: object) -> str:
    """Return the value as one word, in quotes where it is none."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if text and text.isprintable() and not set(text) & {" ", '"'} else json.dumps(text)
