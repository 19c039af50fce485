"""How log records are written: one JSON object a line for machines, or a short line for people."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """Each record is one JSON object: time, level, logger, message, and whatever ``extra`` the caller gave."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        time = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        document: dict[str, Any] = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document |= _fields(record)
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, then ``key=value`` for each extra field."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of text (more when there is a traceback)."""
        time = dt.datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        extra = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        line = f"{time} {record.levelname.lower():<7} {_line(record.getMessage())}{extra}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _line(text: str) -> str:
    """The text on one line; what others said may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _word(value: object) -> str:
    """The value as one word, in quotes where it is none."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if text and text.isprintable() and not set(text) & {" ", '"'} else json.dumps(text)


def configure(form: str, level: str) -> None:
    """Send all records to standard error in ``form`` (json or console) from ``level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
