"""One browser, one balancer, its simulated nodes and calls for all tests of this folder."""

import os
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.stand import sipp
from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.needed import needed
from tests.stand.nodes import Node, simulated
from tests.stand.process import until
from tests.views.page.tab import tab_of

CHROMIUM = "/usr/bin/chromium"
LAYOUT = Layout(address="127.0.0.130", http=18130, workers=1)
CALLER = "127.0.0.131"

NODES = {
    "fs-large": Node("fs-large", 1, {"max-sessions": 150}, net=13),
    "fs-medium": Node("fs-medium", 2, {"max-sessions": 80}, net=13),
    "fs-small": Node("fs-small", 3, {"max-sessions": 24}, net=13),
    "fs-busy": Node("fs-busy", 4, {"max-sessions": 40, "background-sessions": 39}, net=13),
    "fs-locked": Node("fs-locked", 5, {"max-sessions": 80, "password": "another"}, net=13),
    "fs-paused": Node("fs-paused", 6, {"max-sessions": 60}, net=13),
    "conf-a": Node("conf-a", 7, {"max-sessions": 100, "background-sessions": 30}, net=13),
    "conf-b": Node("conf-b", 8, {"max-sessions": 100, "background-sessions": 12}, net=13),
    "gw-1": Node("gw-1", 9, {"max-sessions": 30, "password": "another"}, net=13),
}


def members(*prefixes):
    return [node for name, node in NODES.items() if name.startswith(prefixes)]


GROUPS = [
    Group(
        "gateways",
        members("gw"),
        {"health": {"panicThreshold": 0}, "match": {"rules": [{"requestUri": {"userPattern": "^00"}}]}},
    ),
    Group(
        "conference",
        members("conf"),
        {"match": {"rules": [{"requestUri": {"userPattern": "^conf"}}]}, "routing": {"algorithm": "First"}},
    ),
    Group("ivr", members("fs"), {"health": {"options": {"interval": "1s"}}}),
]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.judge)


class Stand:
    """The running balancer with its nodes."""

    def __init__(self, folder, nodes):
        self.folder = folder
        self.nodes = nodes
        self.balancer = None
        self._serving = None
        self.config = folder / "balancer.yaml"
        write_config(self.config, LAYOUT, GROUPS, folder / "state")

    def start(self):
        self._serving = ExitStack()
        self.balancer = self._serving.enter_context(serving(self.config, LAYOUT))

    def stop(self):
        self._serving.close()

    @property
    def token(self):
        return self.balancer.token_file.read_text().strip()

    @contextmanager
    def calls(self, rate=12, scenario="call", service="service"):
        """Calls come while the block lasts."""
        target = f"{LAYOUT.address}:{LAYOUT.sip}"
        kept = {"calls": 10_000, "rate": rate, "pause_ms": 2000, "local": CALLER, "service": service}
        run = sipp.start(scenario, target, self.folder, **kept)
        try:
            yield run
        finally:
            run.process.kill()
            run.process.wait()


@pytest.fixture(scope="package")
def stand(tmp_path_factory):
    needed(shutil.which("sipp"), "SIPp is not installed (Debian: apt-get install sip-tester)")
    folder = tmp_path_factory.mktemp("views")
    with simulated(list(NODES.values()), folder, "--heartbeat-interval", "1", "--boot-time", "0.3") as nodes:
        nodes.do("fs-paused", "pause?direction=inbound")
        running = Stand(folder, nodes)
        running.start()
        until(lambda: running.balancer.states()["fs-paused"] == "draining", "a paused node")
        yield running
        running.stop()
        sipp.end_all()


@pytest.fixture(scope="package")
def browser():
    needed(Path(CHROMIUM).exists(), "Chromium is not installed (Debian: apt-get install chromium fonts-dejavu-core)")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


@contextmanager
def _watched(browser):
    """A page of which, whatever a test does, nothing is asked of anybody else and whose console is silent."""
    with tab_of(browser, LAYOUT.url, viewport={"width": 1440, "height": 900}) as opened:
        yield opened
        assert opened.strangers() == []
        assert opened.complaints() == []


@pytest.fixture
def page(browser, stand):
    """The page in a fresh tab, to be opened."""
    with _watched(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_page(browser, stand):
    """The page as the tests of a module share it, open."""
    with _watched(browser) as opened:
        yield opened.open()
