"""Fixtures of the judges: the tools, a folder, and the refusal to skip under CI."""

import os
import shutil
from pathlib import Path

import pytest

from tests.stand import sipp


def pytest_collection_modifyitems(items):
    """Everything here needs real sockets and SIPp; the capture needs root and tshark."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.judge)


def needed(condition, reason):
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; under CI=true nothing is skipped")
    pytest.skip(reason)


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
