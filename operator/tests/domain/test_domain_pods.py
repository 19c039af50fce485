"""Raw pods to the little that planning needs."""

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from domain_worlds import raw_pod
from hypothesis import given
from hypothesis import strategies as st

from switchtender_operator.domain.pods import project

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


def test_everything_that_matters_is_kept():
    pod = project(
        raw_pod(
            "fs-0",
            ips=["10.0.1.7", "FD00::7"],
            zone="a",
            annotations={"switchtender.dev/weight": "3", "example.com/other": "x"},
            deletion="2026-03-01T12:00:30Z",
            grace=7200,
        )
    )
    assert pod is not None
    assert (pod.namespace, pod.name, pod.uid, pod.node, pod.zone) == ("voice", "fs-0", "uid-fs-0", "worker-1", "a")
    assert pod.pod_ips == ("10.0.1.7", "fd00::7")
    assert pod.host_ips == ("192.168.1.3",)
    assert pod.ready
    assert not pod.gone
    assert pod.deletion == datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
    assert pod.grace == timedelta(hours=2)
    assert pod.annotations == (("switchtender.dev/weight", "3"),)
    assert pod.problems == ()


def test_annotations_are_kept_when_asked_for():
    raw = raw_pod("fs-0", annotations={"example.com/sip": "192.0.2.7", "example.com/other": "x"})
    pod = project(raw, keep=frozenset({"example.com/sip"}))
    assert pod is not None
    assert pod.annotation("example.com/sip") == "192.0.2.7"
    assert pod.annotation("example.com/other") is None


def test_what_does_not_matter_makes_no_difference():
    one, other = raw_pod("fs-0"), raw_pod("fs-0")
    other["metadata"] |= {"resourceVersion": "7", "managedFields": [{"manager": "kubelet"}]}
    other["spec"]["containers"][0]["env"] = []
    assert project(one) == project(other)


def test_servers_without_lists_of_addresses():
    raw = raw_pod("fs-0")
    del raw["status"]["podIPs"], raw["status"]["hostIPs"]
    pod = project(raw)
    assert pod is not None
    assert (pod.pod_ips, pod.host_ips) == (("10.0.1.7",), ("192.168.1.3",))


@pytest.mark.parametrize(("phase", "gone"), [("Running", False), ("Pending", False), ("Failed", True)])
def test_a_pod_that_ended_is_gone(phase: str, gone: bool):
    pod = project(raw_pod("fs-0", phase=phase))
    assert pod is not None
    assert pod.gone is gone


@pytest.mark.parametrize("field", ["namespace", "name", "uid"])
def test_without_identity_it_is_no_pod(field: str):
    raw = raw_pod("fs-0")
    del raw["metadata"][field]
    assert project(raw) is None


def test_what_cannot_be_read_is_said():
    raw = raw_pod("fs-0", deletion="soon", ips=["10.0.1.7", "ten"])
    pod = project(raw)
    assert pod is not None
    assert pod.pod_ips == ("10.0.1.7",)
    assert pod.problems == (
        "status.podIPs holds something that is not an IP address",
        "metadata.deletionTimestamp is not a time",
    )


@given(metadata=JSON, spec=JSON, status=JSON)
def test_it_never_raises(metadata: object, spec: object, status: object):
    project({"metadata": metadata, "spec": spec, "status": status})
    sound = {"namespace": "voice", "name": "fs-0", "uid": "u"}
    garbled = {**(metadata if isinstance(metadata, dict) else {"annotations": metadata, "labels": spec}), **sound}
    pod = project({"metadata": garbled, "spec": spec, "status": {"podIPs": status, "conditions": spec}})
    assert pod is not None
    assert pod.uid == "u"


def test_thousands_of_pods_stay_small():
    pods = [project(json.loads(json.dumps(raw_pod(f"fs-{n}", f"10.0.{n // 250}.{n % 250 + 1}")))) for n in range(500)]
    first, last = pods[0], pods[-1]
    assert first is not None
    assert last is not None
    assert not hasattr(first, "__dict__")
    assert first.namespace is last.namespace
    assert first.node is last.node
    own = [first, first.name, first.uid, first.annotations, first.pod_ips, first.pod_ips[0], first.host_ips]
    assert sum(map(sys.getsizeof, own)) < 1024


def test_labels_and_marks_are_kept_and_make_no_other_node():
    raw, marked = raw_pod("fs-0"), raw_pod("fs-0")
    marked["metadata"]["labels"] |= {"tier": "media", "statefulset.kubernetes.io/pod-name": "fs-0"}
    marked["metadata"]["annotations"] = {
        "controller.kubernetes.io/pod-deletion-cost": "30",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }
    one, other = project(raw), project(marked)
    assert one is not None
    assert other is not None
    assert other.labels == (("app", "freeswitch"), ("tier", "media"))
    assert other.mark("controller.kubernetes.io/pod-deletion-cost") == "30"
    assert other.annotations == ()
    assert one != other, "a cache has to take the change up"
    assert one.same_node(other)
    drained = raw_pod("fs-0", annotations={"switchtender.dev/drain": "2026-03-01T12:00:00Z"})
    assert not one.same_node(project(drained))
    second = project(raw_pod("fs-1"))
    assert second is not None
    assert second.labels is one.labels, "thousands of pods share their labels"
