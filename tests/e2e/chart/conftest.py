"""helm for rendering, without a cluster."""

import pytest

from tests.e2e.chart.rendering import Helm


@pytest.fixture(scope="session")
def helm(binaries, tmp_path_factory):
    """helm on the chart of the checkout."""
    return Helm(binaries / "helm", tmp_path_factory.mktemp("helm"))
