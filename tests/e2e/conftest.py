"""Fixtures of the end-to-end tests: which cluster, which level, what is skipped and what must not be.

E2E_LEVEL     smoke (default) or full
E2E_PROVIDER  api, sim, kind or existing; default: sim where it is possible, else api
E2E_REQUIRED  1: nothing is skipped for want of a tool or a right
E2E_BIN       a folder of binaries instead of those built from tests/e2e/tools
E2E_CONTEXTS  kubeconfig contexts that the provider existing may use
"""

import os
import re

import pytest

from switchtender_api.crd import KINDS, custom_resource
from tests.e2e.installation import Installation
from tests.e2e.providers import api, existing, kind, sim
from tests.e2e.requirements import require_calls, require_faults, unavailable
from tests.e2e.tools import binaries as tools
from tests.e2e.voice import Voice

PROVIDERS = {"api": api, "sim": sim, "kind": kind, "existing": existing}


def level():
    """``smoke`` or ``full``."""
    found = os.environ.get("E2E_LEVEL", "smoke")
    if found not in ("smoke", "full"):
        raise pytest.UsageError(f"E2E_LEVEL={found} is neither smoke nor full")
    return found


def pytest_configure(config):
    level()
    config.addinivalue_line("markers", "full: runs with E2E_LEVEL=full only")
    config.addinivalue_line("markers", "faults: needs a control plane that may be broken (providers api, sim)")
    config.addinivalue_line("markers", "calls: needs simulated nodes at the addresses of pods (provider sim)")


def pytest_collection_modifyitems(items):
    if level() == "full":
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="runs with E2E_LEVEL=full"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and call.when != "teardown" and cluster is not None:
        folder = cluster.folder / "dumps" / re.sub(r"\W+", "-", item.name)
        report.sections.append(("the cluster", cluster.dump(folder)))


def pytest_terminal_summary(terminalreporter):
    """What the scenarios measured; figures are shown, not judged."""
    measured = [
        (report.nodeid.rpartition("::")[2], name, value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for name, value in report.user_properties
    ]
    if measured:
        terminalreporter.section("measured")
        for scenario, name, value in measured:
            terminalreporter.write_line(f"{name}: {value}    ({scenario})")


@pytest.fixture(scope="session")
def e2e_level():
    """``smoke`` or ``full``: how far a scenario goes."""
    return level()


@pytest.fixture(scope="session")
def binaries():
    """The folder of etcd, kube-apiserver, kubectl, helm, kwok …; built when it is not there."""
    try:
        return tools.find()
    except tools.UnavailableError as reason:
        unavailable(str(reason))


@pytest.fixture(scope="session")
def cluster(binaries, tmp_path_factory):
    """The cluster of the session. Own sockets and processes of a test belong in ``with cluster.inside():``."""
    name = os.environ.get("E2E_PROVIDER") or ("sim" if sim.missing() is None else "api")
    if name not in PROVIDERS:
        pytest.skip(f"E2E_PROVIDER={name} has tests of its own")
    provider = PROVIDERS[name]
    if reason := provider.missing():
        unavailable(f"provider {name}: {reason}")
    with provider.cluster(binaries, tmp_path_factory.mktemp(name)) as found:
        yield found


@pytest.fixture(autouse=True)
def fitting(request):
    """Skip what the session's cluster cannot offer."""
    for marker, require in (("faults", require_faults), ("calls", require_calls)):
        if request.node.get_closest_marker(marker):
            require(request.getfixturevalue("cluster"))


@pytest.fixture
def namespace(cluster):
    """A namespace for one scenario."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def voice(cluster, namespace):
    """A user's namespace."""
    return Voice(cluster, namespace)


@pytest.fixture(scope="session")
def definitions(cluster):
    """The CRDs, established. They stay for the session: one that is deleted takes its objects along, slowly."""
    wanted = [custom_resource(each) for each in KINDS]
    cluster.apply(*wanted)
    for name in (each["metadata"]["name"] for each in wanted):
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")


@pytest.fixture(scope="module")
def installation(cluster, definitions, tmp_path_factory):
    """The chart's rights, configuration and Services, watching every namespace; nothing runs yet."""
    with cluster.namespace("system") as name:
        # Where pods' addresses are all on one machine, a wildcard listener would be everybody's.
        values = {"balancer": {"listenAddress": "$(POD_IP)", "service": {"type": "ClusterIP"}}}
        found = Installation(cluster, name, tmp_path_factory.mktemp(name), values)
        yield found
        found.remove()
