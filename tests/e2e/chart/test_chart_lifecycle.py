"""The life of a release on a real API server: installed, upgraded from the previous chart, rolled back, uninstalled,
installed again beside what it left; and what its ServiceAccounts may do there, asked of the real authorizer.
"""

import re
import shutil
import subprocess
import sys

import pytest
import yaml

from switchtender_api.constants import ANNOTATION_CRD_REVISION, CRD_REVISION
from switchtender_api.crd import KINDS, custom_resource
from tests.e2e.chart.rendering import CHART, set_json
from tests.e2e.providers.cluster import CommandError

# Definitions of the whole cluster are deleted here: not in one that somebody else uses.
pytestmark = pytest.mark.faults

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMES = [custom_resource(kind)["metadata"]["name"] for kind in KINDS]
GROUP = {
    "apiVersion": "switchtender.dev/v1alpha1",
    "kind": "BalancerGroup",
    "metadata": {"name": "ivr"},
    "spec": {"members": {"selector": {"matchLabels": {"app": "freeswitch"}}}},
}


@pytest.fixture(scope="module")
def previous(helm, tmp_path_factory):
    """The chart that came before, as a package: an older version with one balancer instead of two."""
    folder = tmp_path_factory.mktemp("previous")
    chart = shutil.copytree(CHART, folder / "switchtender")
    for name, before, after in (
        ("Chart.yaml", r"(?m)^version: .*$", "version: 0.0.9"),
        ("values.yaml", r"(?m)(# -- Balancers; .*\n.*\n  replicaCount): 2$", r"\1: 1"),
    ):
        text, changed = re.subn(before, after, (chart / name).read_text())
        assert changed == 1
        (chart / name).write_text(text)
    helm.run("package", str(chart), "--destination", str(folder))
    return folder / "switchtender-0.0.9.tgz"


@pytest.fixture
def release(served, namespace):
    """helm's verbs on a release of this namespace, gone at the end."""
    found = Release(served, namespace)
    yield found
    found.helm("uninstall", "st", "--ignore-not-found", "--no-hooks")


class Release:
    """The release `st` in a namespace."""

    def __init__(self, cluster, namespace):
        self.cluster = cluster
        self.namespace = namespace

    def helm(self, *arguments):
        """One verb of helm."""
        return self.cluster.helm(*arguments, "--namespace", self.namespace)

    def install(self, chart=CHART, name="st", **values):
        """Install with values by dotted path, `__` for the dot."""
        given = {path.replace("__", "."): value for path, value in values.items()}
        return self.helm("install", name, str(chart), *set_json({"balancer.service.type": "NodePort", **given}))

    def get(self, kind, name):
        """An object of the release as the API server has it; None where there is none."""
        text = self.cluster.kubectl(
            "get", kind, name, "--namespace", self.namespace, "--ignore-not-found", "-o", "yaml"
        )
        return yaml.safe_load(text)

    def operator(self, *arguments, account="st-switchtender-operator"):
        """Run a command of the operator as a ServiceAccount of the release."""
        kubeconfig = self.cluster.folder / f"{self.namespace}-{account}.kubeconfig"
        self.cluster.service_account_kubeconfig(self.namespace, account, kubeconfig)
        with self.cluster.inside():
            done = subprocess.run(
                [sys.executable, "-m", "switchtender_operator", *arguments, "--kubeconfig", str(kubeconfig)],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def allowed(self, account, verb, resource, *, namespace=None, name="", group="", subresource=""):
        """Whether the real authorizer lets a ServiceAccount of the release do this."""
        where = {"namespace": namespace} if namespace else {}
        attributes = {
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "name": name,
            **where,
        }
        user = f"system:serviceaccount:{self.namespace}:st-switchtender-{account}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]
        review = {"spec": {"user": user, "groups": groups, "resourceAttributes": attributes}}
        answer = self.cluster.api("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return answer["status"]["allowed"]


def _revisions(cluster):
    found = (cluster.get(f"{DEFINITIONS}/{name}") for name in NAMES)
    return [int(item["metadata"]["annotations"][ANNOTATION_CRD_REVISION]) for item in found]


def _mark(cluster, revision):
    for name in NAMES:
        cluster.merge(f"{DEFINITIONS}/{name}", {"metadata": {"annotations": {ANNOTATION_CRD_REVISION: str(revision)}}})


def test_upgrade_from_the_previous_chart_and_back(release, previous):
    release.install(previous)
    balancer = "st-switchtender-balancer"
    before = release.get("deployment", balancer)
    address = release.get("service", "st-switchtender-nodes")["spec"]["clusterIP"]
    assert (before["spec"]["replicas"], before["metadata"]["labels"]["helm.sh/chart"]) == (1, "switchtender-0.0.9")

    release.helm("upgrade", "st", str(CHART), *set_json({"balancer.service.type": "NodePort", "balancer.workers": 2}))
    after = release.get("deployment", balancer)
    assert after["spec"]["replicas"] == 2
    assert after["spec"]["selector"] == before["spec"]["selector"]
    assert after["spec"]["template"] != before["spec"]["template"], "the changed configuration rolls the pods"
    assert "workers: 2" in release.get("configmap", "st-switchtender-config")["data"]["balancer.yaml"]

    release.helm("rollback", "st", "1")
    back = release.get("deployment", balancer)
    assert back["spec"]["template"] == before["spec"]["template"]
    assert back["spec"]["replicas"] == 1
    # It stands in Record-Route of the calls that go on.
    assert release.get("service", "st-switchtender-nodes")["spec"]["clusterIP"] == address


@pytest.mark.full
def test_upgrade_with_nothing_changed_rolls_nothing(release, previous):
    release.install(previous)
    names = ("st-switchtender-balancer", "st-switchtender-operator")
    before = [release.get("deployment", name)["spec"]["template"] for name in names]
    release.helm(
        "upgrade", "st", str(CHART), *set_json({"balancer.service.type": "NodePort", "balancer.replicaCount": 2})
    )
    assert [release.get("deployment", name)["spec"]["template"] for name in names] == before


def test_rollback_lowers_no_definition(release, previous):
    """A newer operator has upgraded the CRDs; the release is rolled back, and the older operator starts."""
    release.install(previous)
    release.helm("upgrade", "st", str(CHART), "--set", "balancer.service.type=NodePort")
    try:
        _mark(release.cluster, CRD_REVISION + 1)
        release.helm("rollback", "st", "1")
        release.operator("crds", "apply")
        assert _revisions(release.cluster) == [CRD_REVISION + 1] * len(NAMES)
    finally:
        _mark(release.cluster, CRD_REVISION)


def test_uninstall_keeps_definitions_and_groups_for_the_next_installation(release):
    release.install()
    release.cluster.apply(GROUP, namespace=release.namespace)
    uid = release.get("bg", "ivr")["metadata"]["uid"]
    release.helm("uninstall", "st")
    assert release.get("deployment", "st-switchtender-operator") is None
    assert _revisions(release.cluster) == [CRD_REVISION] * len(NAMES)
    assert release.get("bg", "ivr")["metadata"]["uid"] == uid

    release.install(watchNamespaces=[release.namespace])
    release.operator("crds", "apply")
    assert release.get("bg", "ivr")["metadata"]["uid"] == uid


def test_definitions_come_and_go_with_the_rights_of_the_chart_alone(release, helm):
    """What the hook of crds.keep=false may do, and what an operator may that finds no definitions."""
    release.install(crds__keep=False)
    release.cluster.apply(GROUP, namespace=release.namespace)
    hooks = [
        item
        for item in helm.template({"crds.keep": False}, namespace=release.namespace).objects
        if "crds-delete" in item["metadata"]["name"] and item["kind"] != "Job"
    ]
    for item in hooks:
        release.cluster.apply(item)
    try:
        release.operator("crds", "delete", "--yes", account="st-switchtender-crds-delete")
        cluster = release.cluster
        cluster.until(lambda: not any(cluster.get(f"{DEFINITIONS}/{name}") for name in NAMES), "no definitions")
    finally:
        release.operator("crds", "apply")
        for item in hooks:
            release.cluster.kubectl("delete", "-f", "-", input=yaml.safe_dump(item))
    assert _revisions(release.cluster) == [CRD_REVISION] * len(NAMES)
    release.cluster.until(lambda: release.get("bg", "ivr") is None, "the group gone with its definition")


def test_accounts_may_do_their_work_in_watched_namespaces_and_nowhere_else(release):
    release.install(watchNamespaces=[release.namespace], esl__secretNames=["esl"])
    own, ours = release.namespace, {"group": "switchtender.dev"}
    lease = {"group": "coordination.k8s.io", "name": "st-switchtender-operator"}
    may = {
        "operator": [
            *(("list", "pods", {"namespace": own}), ("watch", "balancergroups", {"namespace": own, **ours})),
            ("patch", "balancergroups", {"namespace": own, "subresource": "status", **ours}),
            *((verb, "destinationsets", {"namespace": own, **ours}) for verb in ("create", "patch", "delete", "watch")),
            ("create", "events", {"namespace": own, "group": "events.k8s.io"}),
            *((verb, "leases", {"namespace": own, **lease}) for verb in ("get", "watch", "update")),
            ("create", "leases", {"namespace": own, "group": "coordination.k8s.io"}),
            *((verb, resource, {"namespace": own}) for verb in ("list", "watch") for resource in ("configmaps",)),
            ("watch", "endpointslices", {"namespace": own, "group": "discovery.k8s.io"}),
            ("create", "secrets", {"namespace": own}),
            ("get", "secrets", {"namespace": own, "name": "st-switchtender-config-token"}),
        ],
        "balancer": [
            *((verb, "destinationsets", {"namespace": own, **ours}) for verb in ("get", "list", "watch")),
            *((verb, "secrets", {"namespace": own, "name": "esl"}) for verb in ("get", "list", "watch")),
            *(
                (verb, "secrets", {"namespace": own, "name": "st-switchtender-config-keys"})
                for verb in ("get", "watch")
            ),
            ("get", "services", {"namespace": own, "name": "st-switchtender-nodes"}),
            ("watch", "endpointslices", {"namespace": own, "group": "discovery.k8s.io"}),
        ],
    }
    may_not = {
        "operator": [
            ("list", "pods", {}),
            ("list", "pods", {"namespace": "default"}),
            ("list", "balancergroups", ours),
            ("update", "balancergroups", {"namespace": own, **ours}),
            ("get", "secrets", {"namespace": own, "name": "esl"}),
            ("get", "secrets", {"namespace": own, "name": "st-switchtender-config-keys"}),
            ("list", "secrets", {"namespace": own}),
            ("update", "secrets", {"namespace": own, "name": "st-switchtender-config-token"}),
            ("update", "leases", {"namespace": own, "group": "coordination.k8s.io", "name": "other"}),
            ("list", "nodes", {}),
            ("list", "namespaces", {}),
            ("delete", "customresourcedefinitions", {"group": "apiextensions.k8s.io", "name": NAMES[0]}),
            ("patch", "customresourcedefinitions", {"group": "apiextensions.k8s.io", "name": "others.example.com"}),
        ],
        "balancer": [
            ("list", "secrets", {"namespace": own}),
            ("get", "secrets", {"namespace": own, "name": "other"}),
            ("get", "secrets", {"namespace": "default", "name": "esl"}),
            ("patch", "destinationsets", {"namespace": own, **ours}),
            ("list", "balancergroups", {"namespace": own, **ours}),
            ("list", "pods", {"namespace": own}),
            ("list", "destinationsets", ours),
        ],
    }
    for expected, table in ((True, may), (False, may_not)):
        for account, requests in table.items():
            for verb, resource, attributes in requests:
                assert release.allowed(account, verb, resource, **attributes) is expected, (
                    account,
                    verb,
                    resource,
                    attributes,
                )


def test_two_releases_share_a_watched_namespace(release):
    """Names outside the release's own namespace hold that namespace, so that nothing is taken from the other."""
    with release.cluster.namespace("second") as namespace:
        other = Release(release.cluster, namespace)
        release.install(watchNamespaces=["default"])
        other.install(watchNamespaces=["default"])
        try:
            for one in (release, other):
                assert one.allowed("operator", "list", "pods", namespace="default")
        finally:
            other.helm("uninstall", "st")


def test_a_further_balancer_stands_beside_the_first(release):
    release.install()
    release.install(
        name="edge",
        balancer__name="edge",
        operator__enabled=False,
        operator__serviceAccount__name="st-switchtender-operator",
    )
    try:
        assert (
            release.get("configmap", "edge-switchtender-config")["metadata"]["labels"]["switchtender.dev/balancer"]
            == "edge"
        )
        assert release.allowed(
            "operator", "get", "secrets", namespace=release.namespace, name="edge-switchtender-config-token"
        )
    finally:
        release.helm("uninstall", "edge")


def test_a_misspelt_value_installs_nothing(release):
    with pytest.raises(CommandError, match="'replicas' not allowed"):
        release.install(balancer__replicas=3)
    assert release.get("deployment", "st-switchtender-operator") is None
