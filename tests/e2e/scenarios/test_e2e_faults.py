"""The operator when things go wrong: killed, frozen as leader, blind over a compaction, without API, without rights."""

import random
import time

import pytest

from tests.e2e.installation import FULLNAME, Installation
from tests.e2e.providers.cluster import ApiError
from tests.stand.process import StandError

pytestmark = pytest.mark.faults

LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/" + f"{FULLNAME}-operator"


@pytest.fixture
def own_installation(cluster, definitions, tmp_path):
    """An installation whose Lease and rights belong to one scenario."""
    with cluster.namespace("system") as name:
        found = Installation(cluster, name, tmp_path, {})
        yield found
        found.remove()


def holder(cluster, installation):
    """The holder identity in the Lease; empty when nobody holds it."""
    lease = cluster.get(LEASE.format(installation.namespace)) or {}
    return lease.get("spec", {}).get("holderIdentity") or ""


def leader_of(cluster, installation, programs):
    """Which of the programs leads, once one does."""

    def found():
        identity = holder(cluster, installation)
        return next((program for program in programs if identity.startswith(f"{program.name}_")), None)

    return cluster.until(found, "a leader")


def expected_states(voice):
    """What the pods say by themselves: those that run and are not on their way out."""
    states = {}
    for name, pod in voice.pods().items():
        ready = any(
            each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])
        )
        terminating = "deletionTimestamp" in pod["metadata"]
        if pod["status"].get("podIP"):
            states[name] = "Draining" if terminating else "Ready" if ready else "NotReady"
    return states


def storm(voice, chance, count):
    """So many changes to pods: created, gone, ready, not ready, relabelled; all by one seed."""
    for _ in range(count):
        pods = {name: pod for name, pod in voice.pods().items() if pod["status"].get("podIP")}
        action = chance.choice(["create", "create", "delete", "ready", "unready", "relabel"])
        try:
            if action == "create" or not pods:
                voice.create_pod(f"fs-{chance.randrange(60)}", ready=chance.random() < 0.7)
            elif action == "delete":
                voice.delete_pod(chance.choice(sorted(pods)), grace=0)
            elif action == "relabel":
                voice.label(chance.choice(sorted(pods)), app="elsewhere")
            else:
                voice.set_ready(chance.choice(sorted(pods)), ready=action == "ready")
        except ApiError as error:
            # A name that is taken, a pod that has just gone.
            if error.status not in (404, 409):
                raise


def test_killed_in_a_storm_the_result_is_the_same(own_installation, voice, e2e_level):
    chance = random.Random(20)
    long, short = (40, 20) if e2e_level == "full" else (16, 8)
    voice.create_group("ivr")
    short_lease = "--lease-duration=6"
    with own_installation.operator(short_lease, name="first") as first:
        storm(voice, chance, long)
        first.kill()
        storm(voice, chance, short)
    with own_installation.operator(short_lease, name="second"):
        storm(voice, chance, long)
        voice.until_running(*voice.pods())
        voice.cluster.until(lambda: voice.states("ivr") == expected_states(voice) != {}, "the sets as the pods are")
    uids = [member["uid"] for each in voice.sets("ivr") for member in each["spec"]["members"]]
    assert len(uids) == len(set(uids))
    pods = voice.pods()
    assert {member["name"]: member["uid"] for member in voice.members("ivr").values()} == {
        name: pod["metadata"]["uid"] for name, pod in pods.items()
    }


def test_a_leader_that_is_told_to_go_is_replaced_at_once(own_installation, voice, record_property):
    voice.create_group("ivr")
    with own_installation.operator(name="one") as one, own_installation.operator(name="two") as two:
        leader = leader_of(voice.cluster, own_installation, [one, two])
        other = two if leader is one else one
        before = time.monotonic()
        leader.terminate()
        voice.cluster.until(
            lambda: holder(voice.cluster, own_installation).startswith(f"{other.name}_"), "the other as leader"
        )
        taken = time.monotonic() - before
        record_property("takeover_seconds", round(taken, 3))
        voice.create_pod("fs-0")
        voice.until_states("ivr", {"fs-0": "Ready"})


@pytest.mark.full
def test_a_frozen_leader_is_replaced_and_writes_no_more(own_installation, voice, record_property):
    cluster = voice.cluster
    voice.create_group("ivr")
    voice.create_pod("fs-0")
    options = ("--lease-duration=6",)
    with (
        own_installation.operator(*options, name="one") as one,
        own_installation.operator(*options, name="two") as two,
    ):
        leader = leader_of(cluster, own_installation, [one, two])
        other = two if leader is one else one
        voice.until_states("ivr", {"fs-0": "Ready"})
        leader.freeze()
        before = time.monotonic()
        voice.create_pod("fs-1")
        voice.until_states("ivr", {"fs-0": "Ready", "fs-1": "Ready"}, patience=60)
        record_property("frozen_takeover_seconds", round(time.monotonic() - before, 3))
        assert holder(cluster, own_installation).startswith(f"{other.name}_")
        taken_over = time.time()

        # It wakes up with everything it was about to write, and a world that went on without it.
        voice.set_ready("fs-0", ready=False)
        leader.thaw()
        for number in range(10):
            voice.set_ready("fs-1", ready=bool(number % 2))
            time.sleep(0.2)
        voice.until_states("ivr", {"fs-0": "NotReady", "fs-1": "Ready"})
        assert leader.process.poll() is None, "it goes on as the one that waits"
        assert holder(cluster, own_installation).startswith(f"{other.name}_")

        writers = written_since(cluster, taken_over, own_installation)
        assert other.credential in writers, "the audit log sees who writes"
        assert leader.credential not in writers


def written_since(cluster, moment, installation):
    """Credentials of the operator's account that wrote groups or sets after a moment (seconds of the epoch)."""
    account = f"system:serviceaccount:{installation.namespace}:{FULLNAME}-operator"
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    found = set()
    for event in cluster.control_plane.audit():
        ours = event["objectRef"].get("apiGroup") == "switchtender.dev" and event["user"]["username"] == account
        if ours and event["requestReceivedTimestamp"] > since:
            found.update(event["user"].get("extra", {}).get("authentication.kubernetes.io/credential-id", []))
    return found


def test_deletions_in_a_gap_that_etcd_has_forgotten(own_installation, voice):
    """While the operator sleeps, pods go, their history is compacted, and the API server that knew it is replaced."""
    cluster = voice.cluster
    voice.create_group("ivr")
    for number in range(6):
        voice.create_pod(f"fs-{number}")
    with own_installation.operator() as operator:
        voice.until_states("ivr", {f"fs-{number}": "Ready" for number in range(6)})
        operator.freeze()
        for number in range(2):
            voice.delete_pod(f"fs-{number}", grace=0)
        again = voice.delete_pod("fs-2", grace=0) or voice.create_pod("fs-2")
        # All of them run: a kwok that starts anew may pass over a pod that its predecessor had only begun to play.
        voice.until_running(*(f"fs-{number}" for number in range(2, 6)))
        with cluster.control_plane.away():
            cluster.control_plane.compact()
        operator.thaw()
        voice.until_states("ivr", {f"fs-{number}": "Ready" for number in range(2, 6)}, patience=60)
        assert voice.members("ivr")["fs-2"]["uid"] == again["metadata"]["uid"]


def test_the_api_server_away_changes_no_set(own_installation, voice, e2e_level):
    cluster = voice.cluster
    voice.create_group("ivr")
    for number in range(3):
        voice.create_pod(f"fs-{number}")
    with own_installation.operator() as operator:
        voice.until_states("ivr", {f"fs-{number}": "Ready" for number in range(3)})
        before = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in voice.sets("ivr")}
        with cluster.control_plane.away(), cluster.inside():
            back = time.monotonic() + (60 if e2e_level == "full" else 5)
            while time.monotonic() < back:
                assert operator.healthy(), "a restart would not bring the API server back"
                time.sleep(1)
        cluster.until(lambda: voice.sets("ivr"), "the sets")
        time.sleep(3)
        assert {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in voice.sets("ivr")} == before
        voice.create_pod("fs-3")
        voice.until_states("ivr", {f"fs-{number}": "Ready" for number in range(4)}, patience=60)
        assert operator.process.poll() is None


def test_rights_withdrawn_and_given_back(own_installation, voice):
    cluster = voice.cluster
    voice.create_group("ivr")
    voice.create_pod("fs-0")
    voice.create_pod("fs-1")
    bindings = [
        document
        for document in own_installation.documents_of("ClusterRoleBinding")
        if document["subjects"][0]["name"] == f"{FULLNAME}-operator"
    ]
    assert bindings
    with own_installation.operator() as operator:
        voice.until_states("ivr", {"fs-0": "Ready", "fs-1": "Ready"})
        for binding in bindings:
            cluster.delete(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{binding['metadata']['name']}")
        # Rights are looked at when a watch begins, so the watches have to begin again.
        with cluster.control_plane.away():
            time.sleep(0.5)
        cluster.until(lambda: voice.delete_pod("fs-0", grace=0) or not voice.pods().get("fs-0"), "the end of fs-0")
        refused = f"{voice.namespace}/pods[app=freeswitch]: 403"
        cluster.until(lambda: refused in operator.log.read_text(), "a word about it in the log", patience=60)
        time.sleep(2)
        # Nothing is known, so nothing is changed. (A starting API server answers 429 for custom resources at first.)
        assert cluster.until(lambda: voice.states("ivr"), "the sets") == {"fs-0": "Ready", "fs-1": "Ready"}
        with cluster.inside():
            assert operator.healthy()
        cluster.apply(*bindings)
        voice.until_states("ivr", {"fs-1": "Ready"}, patience=90)
        assert operator.process.poll() is None


def test_an_operator_without_rights_says_so(cluster, definitions, tmp_path):
    """A ServiceAccount without the chart's roles gets nowhere: what the other scenarios show is the chart's doing."""
    with cluster.namespace("system") as name:
        installation = Installation(cluster, name, tmp_path, {})
        installation.remove()
        try:
            with installation.operator("--no-crds", wait=False) as operator, cluster.inside():
                cluster.until(lambda: "403 Forbidden" in operator.log.read_text(), "a refusal in the log")
                time.sleep(1)
                try:
                    assert not operator.ready()
                except StandError:
                    assert operator.process.returncode != 0
        finally:
            installation.remove()
