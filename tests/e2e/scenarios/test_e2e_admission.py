"""Who may trace calls: a real API server says who a token belongs to and what they may, and the chart's rights are all
that the balancer has for asking.
"""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from switchtender.control.reviews import AUDIENCE
from tests.e2e.installation import FULLNAME, Installation

# Its address is a pod's.
pytestmark = pytest.mark.calls

VALUES = {
    "balancer": {
        "listenAddress": "$(POD_IP)",
        "service": {"type": "ClusterIP"},
        "http": {"admin": {"tokenReview": True}},
    }
}
TRACES = "/api/v1/traces"


def test_traces_are_for_accounts_with_the_right(cluster, definitions, tmp_path):
    with cluster.namespace("system") as system:
        installation = Installation(cluster, system, tmp_path, VALUES)
        for name in ("tracer", "stranger"):
            cluster.api("POST", f"/api/v1/namespaces/{system}/serviceaccounts", {"metadata": {"name": name}})
        cluster.apply(_binding(system, "tracer"))

        def token(name, *audiences):
            return cluster.service_account_token(system, name, audiences=audiences)

        tracer, stranger, elsewhere = token("tracer", AUDIENCE), token("stranger", AUDIENCE), token("tracer")
        try:
            with installation.operator(), installation.balancer("balancer-0") as balancer:

                def ask(method, path, token, body=None):
                    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                    with cluster.inside():
                        connection = http.client.HTTPConnection(urlsplit(balancer.program.url).netloc, timeout=10)
                        connection.request(method, path, None if body is None else json.dumps(body), headers)
                        answer = connection.getresponse()
                        text = answer.read()
                        connection.close()
                    return answer.status, json.loads(text)

                status, trace = ask("POST", TRACES, tracer, {"callId": "a84b4c76e66710", "seconds": 5})
                assert status == 201, trace
                assert trace["by"].startswith(f"system:serviceaccount:{system}:tracer at ")
                assert ask("GET", f"{TRACES}/{trace['id']}", tracer)[0] == 200
                status, refused = ask("GET", TRACES, stranger)
                assert (status, f"system:serviceaccount:{system}:stranger may not get" in refused["error"]) == (
                    403,
                    True,
                )
                for unknown in (None, "made-up", elsewhere):
                    status, refused = ask("GET", TRACES, unknown)
                    assert (status, f"--audience {AUDIENCE}" in refused["error"]) == (401, True), refused
                assert ask("DELETE", f"{TRACES}/{trace['id']}", tracer)[0] == 200
                status, refused = ask("POST", "/api/v1/nodes/fs-0/drain", None, {})
                assert status in {404, 409}, "orders are told how they are given, whoever asks"
                said = balancer.program.log.read_text()
                assert not [secret for secret in (tracer, stranger, elsewhere) if secret in said]
        finally:
            installation.remove()


def _binding(system, account):
    """Bind an account to the chart's role for people, as an operator of the product would."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{system}-{account}"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": f"{system}:{FULLNAME}:tracer",
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": system}],
    }
