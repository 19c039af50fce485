"""What the chart renders to, over a matrix of values: least rights, hardened pods, names that fit each other."""

import re
import socket
import subprocess
import sys
import threading

import click
import pytest
import yaml
from tools.chart_reference import generated, read

from switchtender.cli import main as balancer
from switchtender.config.pod_config import PLACEHOLDERS, make_config
from switchtender.control.reviews import PATH
from switchtender_operator.cli import main as operator
from tests.e2e.chart.rendering import CHART, SAMPLES, HelmError, selects, set_json

SOURCE_LABEL = "switchtender.dev/balancer"
CRDS = ["balancergroups.switchtender.dev", "destinationsets.switchtender.dev"]

EVERYTHING = {
    "networkPolicy.enabled": True,
    "monitoring.podMonitor.enabled": True,
    "monitoring.prometheusRule.enabled": True,
    "rbac.aggregateClusterRoles": True,
    "crds.keep": False,
}

MATRIX = {
    "defaults": {},
    "everything": EVERYTHING,
    "namespaced": {"watchNamespaces": ["voice", "other"], **EVERYTHING},
    "own namespace": {"config.clusterWide": False},
    "no CRDs": {"watchNamespaces": ["voice"], "crds.create": False},
    "host network": {"balancer.hostNetwork": True, "networkPolicy.enabled": True},
    "two services": {"balancer.service.mixedProtocol": False, "balancer.service.type": "NodePort"},
    "UDP alone": {"balancer.service.protocols": ["UDP"]},
    "nodes outside": {
        "balancer.nodeService": {"type": "LoadBalancer", "loadBalancerIP": "203.0.113.9", "loadBalancerClass": "a/b"}
    },
    "no secrets": {"esl.secretNames": []},
    "overrides": {
        "fullnameOverride": "edge",
        "nameOverride": "sip",
        "namespaceOverride": "elsewhere",
        "commonLabels": {"team": "voice"},
        "commonAnnotations": {"example.com/owner": "voice"},
        "imagePullSecrets": [{"name": "registry"}],
        "balancer.service.annotations": {"example.com/lb": "internal"},
        "balancer.affinity": {"nodeAffinity": {}},
        "balancer.topologySpreadConstraints": [],
        "balancer.extraEnv": [{"name": "A", "value": "b"}],
    },
    "operator alone": {"balancer.enabled": False, "networkPolicy.enabled": True},
    "balancer alone": {
        "operator.enabled": False,
        "operator.serviceAccount.name": "st-switchtender-operator",
        "networkPolicy.enabled": True,
    },
    "token review": {"balancer.http.admin.tokenReview": True},
    "cordoned nodes": {"operator.drainCordonedNodes": True},
    "neither scales nor marks": {"operator.autoscale.targets": [], "operator.podMarks": False},
    "scales more kinds": {"operator.autoscale.targets": ["Deployment", "argoproj.io/v1alpha1/rollouts:Rollout"]},
    "no budgets, no service": {"podDisruptionBudget.enabled": False, "balancer.service.enabled": False},
}


@pytest.fixture(params=MATRIX, scope="module")
def rendered(request, helm):
    return helm.template(MATRIX[request.param])


# --- everywhere ---------------------------------------------------------------------------------------------------


def test_lint_is_strict(helm):
    for values in MATRIX.values():
        assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CHART), *set_json(values))


def test_generated_files_of_the_chart_are_fresh():
    stale = [path.name for path, text in generated() if path.read_text() != text]
    assert not stale, f"{stale}: run make generate"


def test_every_value_is_described():
    def leaves(values):
        for value in values:
            yield from leaves(value.fields) if value.fields else [value]

    assert not [".".join(value.path) for value in leaves(read(CHART / "values.yaml")) if not value.description]


def test_no_object_twice(rendered):
    keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in rendered.objects]
    assert len(keys) == len(set(keys))


def test_names_fit_and_namespaces_are_told(rendered):
    cluster_scoped = {"ClusterRole", "ClusterRoleBinding"}
    for item in rendered.objects:
        metadata = item["metadata"]
        assert len(metadata["name"]) <= (253 if item["kind"].endswith(("Role", "Binding")) else 63)
        assert ("namespace" in metadata) == (item["kind"] not in cluster_scoped)


def test_pods_are_hardened(rendered):
    """The restricted Pod Security Standard, but for the host network where that is asked for."""
    for name, pod in rendered.pod_templates():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_tokens_are_mounted_where_the_api_is_spoken_with(rendered):
    for account in rendered.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    mounted = {
        name.rsplit("-", 1)[-1]: pod["spec"]["automountServiceAccountToken"] for name, pod in rendered.pod_templates()
    }
    assert mounted.items() <= {"operator": True, "balancer": True, "delete": True, "options": False}.items()


def test_rules_name_what_they_allow(rendered):
    for rule in [*rendered.rules("Role"), *rendered.rules("ClusterRole")]:
        assert not {"*"} & {value for values in rule.values() for value in values}
        assert rule.get("resourceNames") != [], "no names would mean every name"
        if "nonResourceURLs" in rule:
            assert rule["nonResourceURLs"] == [PATH]
            continue
        if "secrets" in rule["resources"] and rule["verbs"] != ["create"]:
            assert rule["resourceNames"]
        assert not {"pods/exec", "pods/portforward", "*"} & set(rule["resources"])
        assert "nodes" not in rule["resources"] or rule["verbs"] == ["get", "list", "watch"]


def test_bindings_bind_accounts_and_roles_that_are_there(rendered):
    there = {(item["kind"], item["metadata"]["name"]) for item in rendered.objects}
    for binding in [*rendered.of("RoleBinding"), *rendered.of("ClusterRoleBinding")]:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in there
        for subject in binding["subjects"]:
            # The operator of another release is bound to the token of this one's balancer.
            foreign = binding["metadata"]["name"].endswith("-token")
            assert foreign or ("ServiceAccount", subject["name"]) in there


def test_selectors_match_pods(rendered):
    pods = [pod["metadata"]["labels"] for _, pod in rendered.pod_templates()]
    for item in rendered.objects:
        spec = item.get("spec", {})
        if item["kind"] == "Service":
            assert [labels for labels in pods if selects(spec["selector"], labels)]
        for selector in filter(
            None, (spec.get("podSelector"), spec.get("selector", {}).get("matchLabels") and spec["selector"])
        ):
            assert len([labels for labels in pods if selects(selector["matchLabels"], labels)]) == 1


def test_ports_of_services_are_ports_of_pods(rendered):
    declared = [
        (port["containerPort"], port["protocol"])
        for _, pod in rendered.pod_templates()
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    ]
    for service in rendered.of("Service"):
        for port in service["spec"]["ports"]:
            assert (port["targetPort"], port["protocol"]) in declared


def test_balancer_config_is_accepted(rendered):
    for item in rendered.of("ConfigMap"):
        assert list(item["data"]) == ["balancer.yaml"]
        documents = make_config(item["data"]["balancer.yaml"], "balancer.yaml", environ=PLACEHOLDERS)
        assert documents.config.metadata.name == item["metadata"]["labels"][SOURCE_LABEL] == "default"
        assert not documents.groups
        spec = documents.config.spec
        services = {service["metadata"]["name"] for service in rendered.of("Service")}
        assert spec.peers.service in services
        assert {entry.service for entry in spec.node_side.advertise} <= services
        assert str(spec.http.address) == PLACEHOLDERS["POD_IP"]


def test_names_agree_with_arguments(rendered):
    for config in rendered.of("ConfigMap"):
        (balancer,) = [item for item in rendered.of("Deployment") if item["metadata"]["name"].endswith("-balancer")]
        container = balancer["spec"]["template"]["spec"]["containers"][0]
        name = config["metadata"]["name"]
        assert {f"--keys-secret={name}-keys", f"--token-secret={name}-token"} <= set(container["args"])
        (mount,) = [
            entry for entry in container["volumeMounts"] if entry["mountPath"] == "/etc/switchtender/balancer.yaml"
        ]
        assert mount["subPath"] == "balancer.yaml"
        readable = [
            rule["resourceNames"]
            for rule in rendered.rules("Role")
            if "secrets" in rule["resources"] and len(rule["verbs"]) == 3
        ]
        assert [f"{name}-keys", f"{name}-token"] in readable
    for item in rendered.of("Deployment"):
        if item["metadata"]["name"].endswith("-operator"):
            arguments = item["spec"]["template"]["spec"]["containers"][0]["args"]
            assert f"--lease-name={item['metadata']['name']}" in arguments


def test_arguments_are_those_that_the_commands_take(rendered):
    commands = {"operator": operator, "balancer": balancer, "crds": operator}
    for _, pod in rendered.pod_templates():
        container = pod["spec"]["containers"][0]
        if container["name"] not in commands:
            continue
        command, words = commands[container["name"]], list(container["args"])
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        with command.make_context(container["name"], words) as context:
            assert context.params
            if container["name"] == "operator":
                watched = [
                    item["metadata"]["namespace"]
                    for item in rendered.of("Role")
                    if ":operator" in item["metadata"]["name"]
                ]
                assert context.params["watch_namespaces"] == ",".join(watched)


def test_services_put_nothing_into_the_environment_of_programs_that_read_such_names(helm):
    links = {
        name: pod["spec"].get("enableServiceLinks")
        for name, pod in helm.template(release="switchtender").pod_templates()
    }
    assert links == {"switchtender-operator": False, "switchtender-balancer": False, "switchtender-test-options": True}


def test_only_the_headless_service_leads_the_operator_to_balancers(rendered):
    labelled = [service for service in rendered.of("Service") if SOURCE_LABEL in service["metadata"]["labels"]]
    assert len(labelled) == len(rendered.of("ConfigMap"))
    for service in labelled:
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert [port["name"] for port in service["spec"]["ports"]] == ["http"]


# --- scope --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [{"config.clusterWide": False}, {"watchNamespaces": ["voice", "other"]}], ids=["own", "two"]
)
def test_namespace_mode_has_no_cluster_rule_but_for_crds(helm, values):
    rendered = helm.template(values)
    assert rendered.rules("ClusterRole") == [
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["create"]},
        {
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "resourceNames": CRDS,
            "verbs": ["get", "patch"],
        },
    ]
    assert not helm.template({**values, "crds.create": False}).of("ClusterRole")


def test_namespace_mode_works_in_each_namespace_and_says_so(helm):
    rendered = helm.template({"watchNamespaces": ["other", "voice"]})
    for role in ("voice:st-switchtender:operator", "voice:st-switchtender:balancer"):
        assert [item["metadata"]["namespace"] for item in rendered.of("Role", role)] == ["other", "voice"]
        assert [item["metadata"]["namespace"] for item in rendered.of("RoleBinding", role)] == ["other", "voice"]
    for item in rendered.of("Deployment"):
        assert "--watch-namespaces=other,voice" in item["spec"]["template"]["spec"]["containers"][0]["args"]


def test_cluster_wide_reads_of_secrets_their_names_alone(helm):
    rendered = helm.template({"esl.secretNames": ["esl", "esl-b"]})
    secrets = [rule for rule in rendered.rules("ClusterRole") if "secrets" in rule["resources"]]
    assert secrets == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["esl", "esl-b"],
            "verbs": ["get", "list", "watch"],
        }
    ]
    assert not [
        rule for rule in helm.template({"esl.secretNames": []}).rules("ClusterRole") if "secrets" in rule["resources"]
    ]


def test_token_review_gives_two_rights_to_the_balancer_and_a_role_for_people(helm):
    before, rendered = helm.template(), helm.template({"balancer.http.admin.tokenReview": True})
    added = [item for item in rendered.objects if item["kind"] == "ClusterRole" and item not in before.objects]
    assert {role["metadata"]["name"]: role["rules"] for role in added} == {
        "voice:st-switchtender:reviews": [
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ],
        "voice:st-switchtender:tracer": [{"nonResourceURLs": [PATH], "verbs": ["get", "post", "delete"]}],
    }
    [binding] = [item for item in rendered.of("ClusterRoleBinding") if item not in before.objects]
    assert binding["roleRef"]["name"] == "voice:st-switchtender:reviews"
    assert [subject["name"] for subject in binding["subjects"]] == ["st-switchtender-balancer"]
    assert yaml.safe_load(rendered.balancer_config())["spec"]["http"]["admin"] == {"tokenReview": True}
    assert "admin" not in yaml.safe_load(before.balancer_config())["spec"]["http"]


def test_nodes_are_watched_by_the_operator_alone_and_only_when_asked_for(helm):
    def of(values):
        rendered = helm.template(values)
        roles = [
            (role["metadata"]["name"], rule["verbs"])
            for role in [*rendered.of("ClusterRole"), *rendered.of("Role")]
            for rule in role["rules"]
            if "nodes" in rule.get("resources", ())
        ]
        (deployment,) = [item for item in rendered.of("Deployment") if item["metadata"]["name"].endswith("-operator")]
        return roles, deployment["spec"]["template"]["spec"]["containers"][0]["args"]

    roles, args = of({})
    assert roles == []
    assert "--drain-cordoned-nodes" not in args
    roles, args = of({"operator.drainCordonedNodes": True})
    assert roles == [("voice:st-switchtender:operator", ["get", "list", "watch"])]
    assert "--drain-cordoned-nodes" in args


def _right(group, resource, *verbs):
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


@pytest.mark.parametrize("kind", ["ClusterRole", "Role"])
@pytest.mark.parametrize(
    ("targets", "marks", "rights"),
    [
        ([], False, []),
        ([], True, [_right("", "pods", "patch")]),
        (
            ["StatefulSet"],
            False,
            [
                _right("", "pods", "patch"),
                _right("apps", "statefulsets", "get"),
                _right("apps", "statefulsets/scale", "get", "patch"),
                _right("autoscaling", "horizontalpodautoscalers", "list"),
            ],
        ),
        (
            ["Deployment", "argoproj.io/v1alpha1/rollouts:Rollout"],
            True,
            [
                _right("", "pods", "patch"),
                _right("apps", "deployments", "get"),
                _right("apps", "deployments/scale", "get", "patch"),
                _right("argoproj.io", "rollouts", "get"),
                _right("argoproj.io", "rollouts/scale", "get", "patch"),
                _right("autoscaling", "horizontalpodautoscalers", "list"),
            ],
        ),
    ],
)
def test_what_is_scaled_and_marked_is_all_that_the_operator_may_change_of_others(helm, kind, targets, marks, rights):
    values = {"operator.autoscale.targets": targets, "operator.podMarks": marks}
    rendered = helm.template({**values, **({"watchNamespaces": ["voice"]} if kind == "Role" else {})})
    role = rendered.one(kind, "voice:st-switchtender:operator")
    ours = {"switchtender.dev", "events.k8s.io", "discovery.k8s.io"}
    assert [
        rule
        for rule in role["rules"]
        if not ours & set(rule["apiGroups"]) and rule != _right("", "pods", "get", "list", "watch")
    ] == rights
    arguments = rendered.one("Deployment", "st-switchtender-operator")["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    assert f"--autoscale-targets={','.join(targets)}" in arguments
    assert ("--pod-marks" if marks else "--no-pod-marks") in arguments


def test_operator_reads_no_password(helm):
    rendered = helm.template()
    for role in [*rendered.of("Role"), *rendered.of("ClusterRole")]:
        if role["metadata"]["name"].endswith("operator"):
            assert [rule["verbs"] for rule in role["rules"] if "secrets" in rule["resources"]] in ([], [["create"]])


def test_further_balancer_lets_the_operator_read_its_token(helm):
    rendered = helm.template(MATRIX["balancer alone"], release="edge")
    (binding,) = [item for item in rendered.of("RoleBinding") if item["metadata"]["name"].endswith("-token")]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "st-switchtender-operator", "namespace": "voice"}]
    assert rendered.one("Role", binding["roleRef"]["name"])["rules"][0]["resourceNames"] == [
        "edge-switchtender-config-token"
    ]


# --- the balancer's shape -----------------------------------------------------------------------------------------


def test_one_service_takes_both_protocols(helm):
    service = helm.template().one("Service", "st-switchtender")["spec"]
    assert [(port["port"], port["protocol"]) for port in service["ports"]] == [(5060, "UDP"), (5060, "TCP")]
    assert service["externalTrafficPolicy"] == "Local"
    assert service["type"] == "LoadBalancer"


def test_two_services_share_what_makes_them_one_address(helm):
    rendered = helm.template(
        {
            "balancer.service.mixedProtocol": False,
            "balancer.service.annotations": {"example.com/share": "sip"},
            "balancer.service.loadBalancerIP": "203.0.113.9",
            "balancer.service.nodePorts": {"udp": 30060, "tcp": 30061},
        }
    )
    udp, tcp = rendered.one("Service", "st-switchtender"), rendered.one("Service", "st-switchtender-tcp")
    assert udp["metadata"]["annotations"] == tcp["metadata"]["annotations"] == {"example.com/share": "sip"}
    assert udp["spec"]["loadBalancerIP"] == tcp["spec"]["loadBalancerIP"] == "203.0.113.9"
    assert [[port["nodePort"] for port in one["spec"]["ports"]] for one in (udp, tcp)] == [[30060], [30061]]
    # A fixed address of the load balancer is what callers are told.
    assert yaml.safe_load(rendered.balancer_config())["spec"]["listeners"][0]["advertise"] == {
        "host": "203.0.113.9",
        "port": 5060,
    }


def test_nodes_outside_come_in_with_their_own_address(helm):
    service = helm.template({"balancer.nodeService": {"type": "NodePort", "nodePort": 30070}}).one(
        "Service", "st-switchtender-nodes"
    )["spec"]
    assert (service["type"], service["externalTrafficPolicy"]) == ("NodePort", "Local")
    assert service["ports"] == [
        {"name": f"nodes-{name.lower()}", "port": 5070, "targetPort": 5070, "protocol": name, "nodePort": 30070}
        for name in ("UDP", "TCP")
    ]
    assert "externalTrafficPolicy" not in helm.template().one("Service", "st-switchtender-nodes")["spec"]


def test_host_network_takes_a_host_each(helm):
    deployment = helm.template({"balancer.hostNetwork": True, "balancer.affinity": {"nodeAffinity": {"x": []}}}).one(
        "Deployment", "st-switchtender-balancer"
    )["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    spec = deployment["template"]["spec"]
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert spec["affinity"]["nodeAffinity"] == {"x": []}
    (apart,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert selects(apart["labelSelector"]["matchLabels"], deployment["template"]["metadata"]["labels"])
    assert apart["topologyKey"] == "kubernetes.io/hostname"


def test_nat_follows_the_network(helm):
    def nat(values):
        return yaml.safe_load(helm.template(values).balancer_config())["spec"]["listeners"][0]["nat"]

    assert nat({}) is True
    assert nat({"balancer.hostNetwork": True}) is False
    assert nat({"balancer.nat": False}) is False
    assert nat({"balancer.hostNetwork": True, "balancer.nat": True}) is True


def test_a_new_balancer_stands_before_an_old_one_stops(helm):
    spec = helm.template().one("Deployment", "st-switchtender-balancer")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_config_passes_through_and_nodes_outside_come_first(helm):
    spec = yaml.safe_load(
        helm.template(
            {
                "balancer.config": {
                    "limits": {"maxTransactions": 5000000},
                    "groups": {"maxPriority": 5},
                    "stop": {"deadline": "1h"},
                },
                "balancer.nodeSide.advertise": [{"networks": ["192.0.2.0/24"], "host": "198.51.100.7"}],
                "balancer.nodeSide.networks": ["10.0.0.0/8"],
            }
        ).balancer_config()
    )["spec"]
    assert spec["limits"] == {"maxTransactions": 5000000}
    assert spec["groups"] == {"maxPriority": 5}
    assert spec["nodeSide"]["advertise"] == [
        {"networks": ["192.0.2.0/24"], "host": "198.51.100.7"},
        {"networks": ["10.0.0.0/8"], "service": "st-switchtender-nodes", "port": 5070},
    ]


@pytest.mark.parametrize(
    ("deadline", "grace"), [("180s", 200), ("1m30s", 110), ("500ms", 21), ("1h", 3620), ("1h1m1s1ms", 3682)]
)
def test_grace_is_longer_than_the_deadline(helm, deadline, grace):
    for values in ({"balancer.stop.deadline": deadline}, {"balancer.config": {"stop": {"deadline": deadline}}}):
        deployment = helm.template(values).one("Deployment", "st-switchtender-balancer")
        assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace


def _template(helm, values, name="balancer"):
    return helm.template(values).one("Deployment", f"st-switchtender-{name}")["spec"]["template"]


def test_a_changed_config_rolls_the_balancers_alone(helm):
    before, changed = {}, {"balancer.config": {"limits": {"maxTransactions": 7}}}
    assert _template(helm, before) != _template(helm, changed)
    assert _template(helm, before, "operator") == _template(helm, changed, "operator")


def test_what_pods_do_not_see_rolls_nothing(helm):
    changed = {"balancer.replicaCount": 5, "balancer.service.type": "NodePort", "podDisruptionBudget.enabled": False}
    for name in ("balancer", "operator"):
        assert _template(helm, {}, name) == _template(helm, changed, name)


def test_images_by_digest_tag_and_version(helm):
    digest = "sha256:" + "a" * 64

    def image(values):
        return _template(helm, values, "operator")["spec"]["containers"][0]["image"]

    assert re.fullmatch(r"switchtender/operator:\d+\.\d+\.\d+", image({}))
    assert image({"operator.image.tag": "main"}) == "switchtender/operator:main"
    assert image({"operator.image.tag": "main", "operator.image.digest": digest}) == f"switchtender/operator@{digest}"


def test_network_policy_covers_each_side(helm):
    rendered = helm.template({"networkPolicy.enabled": True, "networkPolicy.callers": ["198.51.100.0/24"]})
    policy = rendered.one("NetworkPolicy", "st-switchtender-balancer")["spec"]
    nodes = {(port, protocol) for port in (5070, 5071) for protocol in ("UDP", "TCP")}
    inward = {(port["port"], port["protocol"]) for rule in policy["ingress"] for port in rule["ports"]}
    assert inward == {(5060, "UDP"), (5060, "TCP"), (8080, "TCP"), *nodes}
    assert {"ipBlock": {"cidr": "198.51.100.0/24"}} in policy["ingress"][0]["from"]
    outward = {(port.get("port"), port["protocol"]) for rule in policy["egress"] for port in rule["ports"]}
    assert {(8021, "TCP"), (5060, "UDP"), (5060, "TCP"), (53, "UDP"), (8080, "TCP"), (6443, "TCP")} <= outward
    # The operator asks balancers, and balancers let it in.
    operator = rendered.one("NetworkPolicy", "st-switchtender-operator")["spec"]
    to_balancers = operator["egress"][1]["to"][0]["podSelector"]["matchLabels"]
    pods = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["labels"]
        for _, pod in rendered.pod_templates()
    }
    assert selects(to_balancers, pods["balancer"])
    assert selects(policy["ingress"][2]["from"][0]["podSelector"]["matchLabels"], pods["operator"])
    assert not helm.template({"networkPolicy.enabled": True, "balancer.hostNetwork": True}).of(
        "NetworkPolicy", "st-switchtender-balancer"
    )


def test_keeping_crds_is_the_default_and_giving_them_up_a_hook(helm):
    assert not helm.template().of("Job")
    rendered = helm.template({"crds.keep": False})
    (job,) = rendered.of("Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["crds", "delete", "--yes"]
    # Nothing that deletes CRDs stands in the cluster before that.
    for item in rendered.objects:
        if "crds-delete" in item["metadata"]["name"]:
            assert item["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"


def test_chart_templates_no_crd(helm):
    assert "CustomResourceDefinition" not in helm.run("template", "st", str(CHART), "--include-crds")


# --- what is refused ----------------------------------------------------------------------------------------------

REFUSED = {
    "misspelt value": ({"balancer.replicas": 3}, "'replicas' not allowed"),
    "misspelt map": ({"balancers": {}}, "'balancers' not allowed"),
    "misspelt in a service": ({"balancer.service.externaltrafficpolicy": "Local"}, "not allowed"),
    "unknown type of service": ({"balancer.service.type": "Loadbalancer"}, "must be one of"),
    "unknown protocol": ({"balancer.service.protocols": ["SCTP"]}, "must be one of"),
    "number as text": ({"balancer.replicaCount": "2"}, "got string, want integer"),
    "list as text": ({"watchNamespaces": "voice"}, "got string, want array"),
    "workers": ({"balancer.workers": "auto"}, "'auto' does not match pattern"),
    "too many workers": ({"balancer.workers": 65}, "maximum"),
    "privileged port": ({"balancer.sipPort": 506}, "minimum"),
    "duration": ({"balancer.stop.deadline": "3min"}, "does not match pattern"),
    "ports": ({"balancer.workerPorts": "5071"}, "does not match pattern"),
    "digest": ({"operator.image.digest": "sha256:abc"}, "does not match pattern"),
    "balancer name": ({"balancer.name": "Edge_1"}, "does not match pattern"),
    "both scopes": ({"config.clusterWide": True, "watchNamespaces": ["a"]}, "set config.clusterWide to false"),
    "short grace": ({"balancer.terminationGracePeriodSeconds": 180}, "must be more than balancer.stop.deadline"),
    "chart's own field": ({"balancer.config": {"http": {"port": 1}}}, "set balancer.httpPort and balancer.http"),
    "review in namespaces": (
        {"watchNamespaces": ["a"], "balancer.http.admin.tokenReview": True},
        "balancer.http.admin.tokenReview needs rights at cluster scope",
    ),
    "review in its own namespace": (
        {"config.clusterWide": False, "balancer.http.admin.tokenReview": True},
        "balancer.http.admin.tokenReview needs rights at cluster scope",
    ),
    "nodes in namespaces": (
        {"watchNamespaces": ["a"], "operator.drainCordonedNodes": True},
        "operator.drainCordonedNodes needs rights at cluster scope",
    ),
    "nodes in its own namespace": (
        {"config.clusterWide": False, "operator.drainCordonedNodes": True},
        "operator.drainCordonedNodes needs rights at cluster scope",
    ),
    "kind of a target": ({"operator.autoscale.targets": ["ReplicaSet"]}, "does not match pattern"),
    "port beside the Service": ({"balancer.config": {"nodeSide": {"port": 1}}}, "set balancer.nodeSidePort"),
    "advertised port alone": ({"balancer.advertise.port": 5060}, "needs balancer.advertise.host"),
    "whose operator": ({"operator.enabled": False}, "name the ServiceAccount of the operator"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_refused_with_a_word_that_helps(helm, case):
    values, message = REFUSED[case]
    with pytest.raises(HelmError, match=re.escape(message)):
        helm.template(values)


def test_old_kubernetes_is_refused(helm):
    with pytest.raises(HelmError, match="incompatible with Kubernetes"):
        helm.run("template", "st", str(CHART), "--kube-version", "1.28.0")


# --- what a person reads --------------------------------------------------------------------------------------------


def _notes(helm, values):
    text = helm.run("install", "st", str(CHART), "--namespace", "voice", "--dry-run=client", *set_json(values))
    return text.split("NOTES:\n", 1)[1]


def test_notes_begin_with_three_commands_that_fit(helm):
    notes = _notes(helm, {"watchNamespaces": ["calls"], "esl.secretNames": ["fs"]})
    commands = re.findall(r"^   (kubectl .*)$", notes, re.MULTILINE)
    assert commands[0].startswith("kubectl -n calls create secret generic fs ")
    assert commands[1].startswith("kubectl apply -f -")
    assert commands[2] == "kubectl get balancergroups --all-namespaces"
    group = yaml.safe_load(re.search(r"<<END\n(.*?)   END", notes, re.DOTALL)[1])
    assert (group["kind"], group["metadata"]["namespace"]) == ("BalancerGroup", "calls")
    assert group["spec"]["esl"]["passwordFrom"]["secretKeyRef"]["name"] == "fs"


def test_notes_warn_of_what_will_not_work(helm):
    assert "SIP headers name the pods' own addresses" in _notes(helm, {})
    assert "SIP headers" not in _notes(helm, {"balancer.advertise.host": "sip.example.com"})
    assert "NetworkPolicies do not apply" in _notes(helm, {"balancer.hostNetwork": True, "networkPolicy.enabled": True})
    assert "deletes every BalancerGroup" in _notes(helm, {"crds.keep": False})


@pytest.mark.parametrize("sample", sorted(path.name for path in (SAMPLES / "values").iterdir()))
def test_sample_values_render(helm, sample):
    rendered = helm.template(extra=["--values", str(SAMPLES / "values" / sample)])
    make_config(rendered.balancer_config(), sample, environ=PLACEHOLDERS)
    assert rendered.of("Deployment", "st-switchtender-balancer")


# --- helm test ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "status"), [("200 OK", 0), ("503 Service Unavailable", 1)])
def test_options_of_helm_test_tells_an_answer_from_another(helm, answer, status):
    pod = helm.template().one("Pod", "st-switchtender-test-options")
    command, script, host, port = pod["spec"]["containers"][0]["command"][1], *pod["spec"]["containers"][0]["args"]
    assert (command, host, port) == ("-c", "$(ST_SWITCHTENDER_SERVICE_HOST)", "5060")
    asked = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as balancer:
        balancer.bind(("127.0.0.1", 0))
        balancer.settimeout(30)

        def serve():
            request, caller = balancer.recvfrom(65535)
            asked.append(request.decode())
            balancer.sendto(f"SIP/2.0 {answer}\r\n\r\n".encode(), caller)

        thread = threading.Thread(target=serve)
        thread.start()
        port = str(balancer.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", script, "127.0.0.1", port], capture_output=True, text=True, check=False, timeout=60
        )
        thread.join()
    assert done.returncode == status
    assert answer in done.stderr
    lines = asked[0].split("\r\n")
    assert lines[0] == f"OPTIONS sip:127.0.0.1:{port} SIP/2.0"
    assert {line.split(":")[0] for line in lines[1:-2]} == {
        "Via",
        "Max-Forwards",
        "From",
        "To",
        "Call-ID",
        "CSeq",
        "Content-Length",
    }
    assert lines[-2:] == ["", ""]
