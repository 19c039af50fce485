"""Fixtures of the judges: the tools, and a folder."""

import os
import shutil
from pathlib import Path

import pytest

from tests.stand import sipp
from tests.stand.needed import needed


def pytest_collection_modifyitems(items):
    """Everything here needs real sockets and SIPp; the capture needs root and tshark."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.judge)


@pytest.fixture(scope="session")
def sipp_installed():
    needed(shutil.which("sipp"), "SIPp is not installed (Debian: apt-get install sip-tester)")


@pytest.fixture(scope="session")
def capture_allowed():
    needed(shutil.which("tshark"), "tshark is not installed (Debian: apt-get install tshark)")
    needed(os.geteuid() == 0, "capturing needs root")


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    sipp.end_all()
