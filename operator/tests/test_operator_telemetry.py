"""Logs, metrics and probes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import aiohttp
import pytest

from switchtender_operator.telemetry import logs, metrics
from switchtender_operator.telemetry.health import application, served
from switchtender_operator.telemetry.metrics import Metrics


@pytest.fixture
def _loggers_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    names = [*logs._TALKATIVE]
    before = root.handlers[:], root.level, [logging.getLogger(name).level for name in names]
    yield
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for name, each in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(each)


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("switchtender_operator.x", logging.WARNING, __file__, 1, message, None, None)
    vars(made).update(extra)
    return made


def test_json_is_one_object_a_line() -> None:
    line = logs.JsonFormatter().format(record("two\nlines", group="voice/ivr", count=3))
    assert "\n" not in line
    document = json.loads(line)
    assert (document["message"], document["level"], document["group"], document["count"]) == (
        "two\nlines", "warning", "voice/ivr", 3,
    )  # fmt: skip


def test_text_is_one_line_whatever_others_said() -> None:
    line = logs.ConsoleFormatter().format(record("a\x1b[31m\nb", error='say "no" twice', empty=""))
    assert "\n" not in line
    assert "\x1b" not in line
    assert 'error="say \\"no\\" twice"' in line
    assert 'empty=""' in line


@pytest.mark.usefixtures("_loggers_as_they_were")
def test_libraries_that_log_whole_bodies_do_not_at_any_level() -> None:
    logs.configure("json", "debug")
    assert logging.getLogger("switchtender_operator").isEnabledFor(logging.DEBUG)
    for name in ("kopf.objects", "kopf._cogs.clients.api", "kubernetes.aio.client.rest", "aiohttp.access"):
        assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("kopf.objects").isEnabledFor(logging.INFO)
    logs.configure("console", "error")
    assert not logging.getLogger("kopf.objects").isEnabledFor(logging.WARNING)


def test_every_declared_family_is_served_and_no_other() -> None:
    one = Metrics()
    one.read_from(lambda: [(family, [(["x"] * len(family.labels), 1.0)]) for family in metrics.SCRAPED])
    one.request("get", 200, 0.01)
    one.request("get", None, 0.01)
    one.write("set", "applied")
    one.reconciles.labels("ok").inc()
    one.polls.labels("ok").inc()
    one.scaled("in", "applied")
    one.marked("applied")
    typed = {line.split()[2] for line in one.page()[0].decode().splitlines() if line.startswith("# TYPE")}
    declared = {family.exposed for family in metrics.FAMILIES}
    ours = {name for name in typed if not name.endswith("_created")}
    assert {name for name in ours if not name.startswith("process_")} == declared
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes"} < ours
    text, content_type = one.page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert 'api_requests_total{code="none",verb="get"} 1.0' in one.page()[0].decode()


def test_no_label_could_grow_without_bound() -> None:
    labels = {label for family in metrics.FAMILIES for label in family.labels}
    assert not labels & {"pod", "node", "name", "uid", "address", "message", "instance"}


async def test_probes_say_what_is_wrong() -> None:
    stuck: list[str] = []
    missing = ["pods: listing"]
    app = application(lambda: stuck, lambda: missing, lambda accept: (b"metric 1\n", "text/plain"))
    async with served(app, "127.0.0.1", 0) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def ask(path: str) -> tuple[int, str]:
            async with session.get(path) as answer:
                return answer.status, await answer.text()

        assert await ask("/healthz") == (200, "ok\n")
        assert await ask("/readyz") == (503, "pods: listing\n")
        assert await ask("/metrics") == (200, "metric 1\n")
        missing.clear()
        stuck.append("pods: stuck")
        assert await ask("/readyz") == (200, "ok\n")
        assert await ask("/healthz") == (503, "pods: stuck\n")
        assert (await ask("/"))[0] == 404
