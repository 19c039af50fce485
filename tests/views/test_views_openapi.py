"""The HTTP interface against its own OpenAPI document: schemathesis asks a running balancer everything that the
document allows, and much that it does not, and compares each answer with what is promised.

The streams without an end are left out: there is no answer to wait for. They are tried in balancer/tests.
"""

import copy
import json
import socket
import subprocess
import urllib.request

import pytest

from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.nodes import Node, simulated
from tests.stand.process import ask, command, free_port, until

ADDRESS = "127.0.0.90"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
OPTIONS = (
    "--checks",
    CHECKS,
    "--generation-deterministic",
    "--no-color",
    "--continue-on-failure",
    "--request-timeout",
    "10",
)
NODES = [Node("fs1", 190, {"max-sessions": 50})]
SEATS = {"capacity": {"resources": [{"name": "channels", "limit": 10}]}, "health": {"options": {"interval": "1s"}}}


@pytest.fixture(scope="module")
def balancer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    udp = [free_port(socket.SOCK_DGRAM, ADDRESS) for _ in range(3)]
    layout = Layout(ADDRESS, udp[0], udp[1], (udp[2], udp[2]), free_port(address=ADDRESS))
    with simulated(NODES, folder, "--heartbeat-interval", "1"):
        config = folder / "balancer.yaml"
        write_config(config, layout, [Group("ivr", NODES, SEATS)], folder / "state")
        with serving(config, layout) as running:
            until(lambda: running.nodes()["fs1"]["probe"], "a node that was probed")
            yield running


@pytest.fixture(scope="module")
def document(balancer):
    return ask(f"{balancer.layout.url}/api/v1/openapi.json")


@pytest.fixture
def schemathesis(balancer, tmp_path):
    """Ask what a document says: the report, with all that was not as promised."""

    def run(document, *arguments, token=True):
        file, report = tmp_path / "openapi.json", tmp_path / "report.json"
        file.write_text(json.dumps(document))
        bearer = ("-H", f"Authorization: Bearer {balancer.token_file.read_text().strip()}") if token else ()
        what = [command("schemathesis"), "run", str(file), "--url", balancer.layout.url, *OPTIONS, *bearer]
        done = subprocess.run(
            [*what, "--report-json-path", str(report), *arguments],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        found = json.loads(report.read_text())
        assert (found["complete"], found["errors"]) == (True, []), done.stdout
        found["said"] = done.stdout
        return found

    return run


def test_every_answer_is_one_that_the_document_promises(balancer, document, schemathesis):
    operations = sum(method != "parameters" for item in document["paths"].values() for method in item)
    limits = ("--phases", "examples,coverage,fuzzing", "--max-examples", "10")
    found = schemathesis(document, "--exclude-path", "/api/v1/live", *limits)
    assert not found["failures"], found["said"]
    assert found["operations"]["tested"] == operations - 1
    assert found["test_cases"]["generated"] > 500
    said = balancer.log.read_text()
    assert "could not be answered" not in said, said[-3000:]
    assert balancer.token_file.read_text().strip() not in said


def test_without_the_token_admin_verbs_answer_as_the_document_promises(document, schemathesis):
    only = ("--include-path-regex", r"traces|/nodes/.+/", "--phases", "coverage")
    found = schemathesis(document, *only, token=False)
    assert not found["failures"], found["said"]
    assert found["operations"]["tested"] == 10


def test_an_answer_that_is_not_as_promised_is_found(document, schemathesis):
    """The judge can see."""
    spoilt = copy.deepcopy(document)
    spoilt["components"]["schemas"]["Node"]["required"].append("nothing")
    del spoilt["paths"]["/api/v1/explain"]["post"]["responses"]["400"]
    only = ("--include-path", "/api/v1/nodes", "--include-path", "/api/v1/explain", "--phases", "coverage")
    failures = schemathesis(spoilt, *only)["failures"]
    assert {failure["title"] for failure in failures} == {"Response violates schema", "Undocumented status code"}


def fields(shape):
    return set(shape["properties"])


def test_the_document_tells_every_field_that_there_is(balancer, document):
    url, shapes = balancer.layout.url, document["components"]["schemas"]
    trace = ask(f"{url}/api/v1/traces", "POST", {"callId": "a"}, token=balancer.token_file.read_text().strip())
    # What schemathesis asked before may have changed what stands on the node, and not which fields there are.
    explained = ask(f"{url}/api/v1/explain", "POST", {"requestUri": "sip:1000@example.com"})
    ordered = balancer.order("fs1", "undrain")
    shown = {
        "Node": ask(f"{url}/api/v1/nodes")["nodes"][0],
        "Group": ask(f"{url}/api/v1/groups")["groups"][0],
        "Balancer": ask(f"{url}/api/v1/balancer"),
        "Event": ask(f"{url}/api/v1/events")["events"][0],
        "Explanation": explained,
        "Order": ordered,
        "Override": ordered["members"][0]["after"],
        "Trace": trace,
    }
    for name, found in shown.items():
        assert set(found) == fields(shapes[name]), name
    assert set(explained["candidates"][0]) == fields(shapes["Candidate"]) | {"state", "reason"}
    assert set(shown["Balancer"]["process"]) == fields(shapes["Balancer"]["properties"]["process"])


def test_a_stream_is_of_the_type_that_the_document_promises(balancer):
    for path in ("/api/v1/live", "/api/v1/events"):
        request = urllib.request.Request(balancer.layout.url + path, headers={"Accept": "text/event-stream"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert (answer.status, answer.headers.get_content_type()) == (200, "text/event-stream")
