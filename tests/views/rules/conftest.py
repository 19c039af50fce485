"""promtool, or a reason why not."""

import shutil

import pytest

from tests.stand.needed import needed


@pytest.fixture(scope="session")
def promtool():
    """Prometheus' own judge of rules is there."""
    needed(shutil.which("promtool"), "promtool is not installed (Debian: apt-get install prometheus)")
