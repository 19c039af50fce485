"""`switchtender drain` and `undrain`: in a cluster with a kubeconfig, of a balancer with its token; and the wait."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from click.testing import CliRunner
from kubernetes_stand import KubeApi
from test_cli_commands import NODE, ORDERED, one_line, stub  # noqa: F401 - a fixture among them

from switchtender.cli import countdown, main
from switchtender.cli.countdown import Phase, Progress, line, moment, progress_of, together, wait
from switchtender.cli.exits import Failure

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DRAIN = "switchtender.dev/drain"
BY = "switchtender.dev/drained-by"
STANDS = {DRAIN: "2026-03-01T12:00:00Z"}


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(countdown, "_POLL", 0.01)


@pytest.fixture
def run():
    def running(*arguments, **rest):
        return CliRunner().invoke(main, arguments, prog_name="switchtender", catch_exceptions=False, **rest)

    return running


def pod(name, *, annotations=None, **labels):
    metadata = {"name": name, "namespace": "voice", "labels": labels or {"app": "fs"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "annotations": annotations or {}}, "spec": {}}


def group(name="ivr", *, static=(), on_timeout="Hold", summaries=(), truncated=False, labels=None):
    members = {"selector": {"matchLabels": labels or {"app": "fs"}}}
    if static:
        members = {"static": [{"name": each, "sip": f"sip:192.0.2.{place}"} for place, each in enumerate(static, 1)]}
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerGroup",
        "metadata": {"name": name, "namespace": "voice"},
        "spec": {"members": members, "drain": {"onTimeout": on_timeout}},
        "status": {"nodeSummaries": list(summaries), "truncated": truncated},
    }


def summary(name, sessions, *, expired=False, drains=True):
    shown = {"name": name, "state": "draining" if drains else "ready", "reason": "Requested"}
    if sessions is not None:
        shown["sessions"] = sessions
    if drains:
        shown["drain"] = {"since": "2026-03-01T12:00:00Z", "deadline": "2999-03-01T14:00:00Z", "expired": expired}
        shown["drain"]["drained"] = sessions == 0
    return shown


@pytest.fixture
async def api():
    async with KubeApi() as serving:
        serving.put(group(summaries=[summary("fs-0", 3)]))
        serving.put(pod("fs-0"))
        serving.put(pod("fs-1"))
        yield serving


@pytest.fixture
def cluster(api, run, tmp_path):
    config = api.kubeconfig(tmp_path / "config", namespace="voice")

    async def running(*arguments):
        return await asyncio.to_thread(run, *arguments, "--kubeconfig", str(config))

    return running


def annotations(api, name):
    return api.object("pods", "voice", name)["metadata"].get("annotations") or {}


async def looked(api):
    """Once more, at least: the first question is what the status says before the order."""
    before = len(api.calls("get", "balancergroups"))
    while len(api.calls("get", "balancergroups")) < before + 2:
        await asyncio.sleep(0.01)


async def test_a_pod_is_annotated_and_the_annotation_is_taken_away(api, cluster):
    done = await cluster("drain", "fs-0")
    assert done.exit_code == 0, done.stderr
    since = datetime.fromisoformat(annotations(api, "fs-0")[DRAIN])
    assert timedelta(0) <= datetime.now(UTC) - since < timedelta(minutes=5)
    assert done.stdout == f"voice/fs-0: takes calls -> drains since {annotations(api, 'fs-0')[DRAIN]}\n"
    [patch] = api.calls("patch", "pods")
    assert patch.content_type == "application/merge-patch+json"
    assert patch.body["metadata"]["uid"] == api.object("pods", "voice", "fs-0")["metadata"]["uid"]
    assert annotations(api, "fs-1") == {}
    undone = await cluster("undrain", "fs-0", "-o", "wide")
    assert undone.stdout.startswith("pod voice/fs-0: drains since ")
    assert undone.stdout.endswith(" -> takes calls (group ivr)\n")
    assert annotations(api, "fs-0") == {}
    assert len(api.calls("patch", "pods")) == 2
    assert (await cluster("undrain", "fs-0")).exit_code == 0
    assert len(api.calls("patch", "pods")) == 2, "nothing is written where nothing changes"


async def test_a_start_is_given_in_utc_and_a_drain_that_stands_keeps_its_own(api, cluster):
    await cluster("drain", "fs-0", "--at", "2026-03-01T22:00:00+02:00")
    assert annotations(api, "fs-0") == {DRAIN: "2026-03-01T20:00:00Z"}
    again = await cluster("drain", "fs-0", "-o", "json")
    assert annotations(api, "fs-0") == {DRAIN: "2026-03-01T20:00:00Z"}
    [entry] = json.loads(again.stdout)["nodes"]
    assert entry["groups"] == ["ivr"]
    assert entry["before"]["drain"] == entry["after"]["drain"] == "2026-03-01T20:00:00Z"
    await cluster("drain", "fs-0", "--at", "2999-01-01T00:00:00Z")
    assert annotations(api, "fs-0") == {DRAIN: "2999-01-01T00:00:00Z"}
    await cluster("drain", "fs-0")
    assert moment(annotations(api, "fs-0")[DRAIN]) <= datetime.now(UTC), "now is before a start to come"


@pytest.mark.parametrize("at", ["tomorrow", "2026-03-01", "2026-13-01T00:00:00Z"])
def test_a_start_that_is_none_is_refused(run, at):
    done = run("drain", "-n", "voice", "fs-0", "--at", at)
    assert done.exit_code == 2
    assert "accepted: an RFC 3339 time such as 2026-03-01T22:00:00Z" in done.stderr


async def test_who_drains_by_hand_takes_the_drain_from_the_autoscaler(api, cluster):
    api.put(pod("fs-0", annotations={DRAIN: "2026-03-01T12:00:00Z", BY: "autoscale"}))
    await cluster("drain", "fs-0")
    assert annotations(api, "fs-0") == {DRAIN: "2026-03-01T12:00:00Z"}
    api.put(pod("fs-1", annotations={DRAIN: "2026-03-01T12:00:00Z", BY: "autoscale"}))
    done = await cluster("undrain", "fs-1")
    assert annotations(api, "fs-1") == {}
    assert "was drained by spec.autoscale, which may choose it again" in done.stderr


async def test_several_names_and_labels_are_one_order(api, cluster):
    api.put(pod("fs-2", app="fs", pool="old"))
    api.put(pod("fs-3", app="fs", pool="old"))
    done = await cluster("drain", "fs-0", "fs-2", "fs-0", "-l", "pool=old", "-o", "yaml")
    assert [entry["name"] for entry in yaml.safe_load(done.stdout)["nodes"]] == ["fs-0", "fs-2", "fs-3"]
    assert annotations(api, "fs-1") == {}
    none = await cluster("drain", "-l", "pool=new")
    assert one_line(none) == "switchtender: no pod of namespace voice matches -l pool=new"


async def test_a_pod_that_is_none_is_told_with_those_near_and_nothing_is_written(api, cluster):
    told = one_line(await cluster("drain", "fs-1", "fs-9"))
    assert told.startswith("switchtender: no pod fs-9 in namespace voice; near it: fs-")
    assert api.calls("patch") == []


async def test_a_pod_that_took_the_name_meanwhile_is_not_drained(api, cluster):
    old = api.object("pods", "voice", "fs-0")["metadata"]["uid"]
    real = api.act

    def replaced(request, kind):
        if request.verb == "patch":
            api.remove("pods", "voice", "fs-0")
            api.put(pod("fs-0"))
        return real(request, kind)

    api.act = replaced
    told = one_line(await cluster("drain", "fs-0"))
    assert "another pod took its name meanwhile, and nothing was written" in told
    assert api.object("pods", "voice", "fs-0")["metadata"]["uid"] != old
    assert annotations(api, "fs-0") == {}


@pytest.mark.parametrize(("verb", "resource"), [("get", "pods"), ("patch", "pods")])
async def test_what_is_forbidden_names_the_right_that_is_missing(api, cluster, verb, resource):
    api.fail(resource, verb, 403, reason="Forbidden")
    told = one_line(await cluster("drain", "fs-0"))
    assert "the API server forbids it" in told
    assert f"a Role with verb {verb} on {resource} in namespace voice allows it" in told


async def test_one_that_cannot_be_written_leaves_the_others_drained(api, cluster):
    api.fail("pods", "patch", 500, times=1)
    done = await cluster("drain", "fs-0", "fs-1", "-o", "json")
    assert done.exit_code == 2
    assert "answers 500" in done.stderr
    assert [entry["name"] for entry in json.loads(done.stdout)["nodes"]] == ["fs-1"]
    assert DRAIN in annotations(api, "fs-1")


async def test_a_pod_of_no_group_is_warned_of_and_not_waited_for(api, cluster):
    api.put(pod("web", app="web"))
    done = await cluster("drain", "web")
    assert done.exit_code == 0
    assert done.stderr == (
        "switchtender: voice/web: in no BalancerGroup of namespace voice, so nobody heeds the annotation\n"
    )
    api.put(pod("web-1", app="web"))
    assert "nobody counts the calls to wait for" in one_line(await cluster("drain", "web-1", "--wait"))
    assert annotations(api, "web-1") == {}


async def test_who_may_not_see_groups_may_still_drain(api, cluster):
    api.fail("balancergroups", "list", 403, reason="Forbidden")
    done = await cluster("drain", "fs-0")
    assert done.exit_code == 0
    assert "not known whether any group has them" in done.stderr
    assert DRAIN in annotations(api, "fs-0")


async def test_a_static_member_is_drained_in_its_group(api, cluster):
    api.put(group("external", static=["a", "b"]))
    await cluster("drain", "--group", "voice/external", "b", "--at", "2026-03-01T20:00:00Z")

    def drains():
        return [
            member.get("drain")
            for member in api.object("balancergroups", "voice", "external")["spec"]["members"]["static"]
        ]

    assert drains() == [None, "2026-03-01T20:00:00Z"]
    [patch] = api.calls("patch", "balancergroups")
    assert [step["op"] for step in patch.body] == ["test", "test", "add"]
    done = await cluster("undrain", "--group", "external", "b")
    assert done.stdout == "voice/b: drains since 2026-03-01T20:00:00Z -> takes calls\n"
    assert drains() == [None, None]
    await cluster("undrain", "--group", "external", "b")
    assert len(api.calls("patch", "balancergroups")) == 2


async def test_members_may_move_while_one_is_drained(api, cluster):
    api.put(group("external", static=["a", "b"]))
    real, moved = api.act, []

    def moving(request, kind):
        if request.verb == "patch" and not moved:
            moved.append(api.object("balancergroups", "voice", "external")["spec"]["members"]["static"].reverse())
        return real(request, kind)

    api.act = moving
    done = await cluster("drain", "--group", "external", "b")
    assert done.exit_code == 0, done.stderr
    members = api.object("balancergroups", "voice", "external")["spec"]["members"]["static"]
    assert [(member["name"], "drain" in member) for member in members] == [("b", True), ("a", False)]


async def test_a_member_or_group_that_is_none_is_told_with_those_near(api, cluster):
    api.put(group("external", static=["carrier-a", "carrier-b"]))
    told = one_line(await cluster("drain", "--group", "external", "carrier"))
    assert "group voice/external has no static member carrier; near it: carrier-" in told
    assert "no BalancerGroup extern in namespace voice; near it: external" in one_line(
        await cluster("drain", "--group", "extern", "carrier-a")
    )
    assert "--group names it" in one_line(await cluster("drain", "carrier-a"))
    assert "--namespace other is" in one_line(await cluster("drain", "--group", "other/external", "carrier-a"))


async def test_waiting_ends_with_the_last_session(api, cluster):
    async def ends():
        await looked(api)
        api.merge("balancergroups", "voice", "ivr", {"status": {"nodeSummaries": [summary("fs-0", 0)]}})

    api.put(pod("fs-0", annotations=STANDS))
    ending = asyncio.create_task(ends())
    done = await cluster("drain", "fs-0", "--wait", "--timeout", "1h")
    await ending
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "voice/fs-0: drained"
    assert done.stderr.startswith("voice/fs-0: 3 sessions, ")
    assert "to the deadline" in done.stderr


async def test_waiting_ends_where_the_group_releases_the_node_and_not_where_it_holds_it(api, cluster):
    api.put(pod("fs-0", annotations=STANDS))
    api.put(group(on_timeout="Hold", summaries=[summary("fs-0", 3, expired=True)]))
    held = await cluster("drain", "fs-0", "--wait", "--timeout", "20ms", "-o", "json")
    assert held.exit_code == 3
    told = json.loads(held.stdout)["waited"]
    assert told["timedOut"] is True
    assert [(node["node"], node["phase"], node["sessions"]) for node in told["nodes"]] == [
        ("voice/fs-0", "Draining", 3)
    ]
    api.put(group(on_timeout="Release", summaries=[summary("fs-0", 3, expired=True)]))
    released = await cluster("drain", "fs-0", "--wait")
    assert released.exit_code == 0
    assert released.stdout.splitlines()[-1] == "voice/fs-0: released with its calls, as its group says"


async def test_a_pod_that_is_gone_has_no_calls(api, cluster):
    api.put(group(summaries=[]))

    async def goes():
        await looked(api)
        api.remove("pods", "voice", "fs-0")

    going = asyncio.create_task(goes())
    done = await cluster("drain", "fs-0", "--wait", "--timeout", "20s")
    await going
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "voice/fs-0: gone"


async def test_a_drain_that_somebody_ends_is_not_waited_for(api, cluster):
    async def cancels():
        await looked(api)
        api.put(pod("fs-0"))
        api.merge("balancergroups", "voice", "ivr", {"status": {"nodeSummaries": [summary("fs-0", 3, drains=False)]}})

    api.put(pod("fs-0", annotations=STANDS))
    cancelling = asyncio.create_task(cancels())
    done = await cluster("drain", "fs-0", "--wait", "--timeout", "20s")
    await cancelling
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "voice/fs-0: takes calls again: somebody ended the drain"


async def test_what_the_status_says_of_a_drain_before_is_not_believed(api, cluster):
    """Drained, taken back and drained again within a moment: the status still tells of the first time."""
    api.put(group(summaries=[summary("fs-0", 0)]))
    assert (await cluster("drain", "fs-0", "--wait", "--timeout", "30ms")).exit_code == 3
    api.put(pod("fs-0"))

    async def catches_up():
        for sessions in (2, 0):
            await looked(api)
            told = summary("fs-0", sessions)
            told["drain"]["since"] = annotations(api, "fs-0")[DRAIN]
            api.merge("balancergroups", "voice", "ivr", {"status": {"nodeSummaries": [told]}})

    catching_up = asyncio.create_task(catches_up())
    done = await cluster("drain", "fs-0", "--wait", "--timeout", "20s")
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == "voice/fs-0: 0 sessions, not seen to drain yet"
    assert catching_up.done(), "not before the status tells of this drain"


async def test_a_pod_that_the_status_has_no_room_for_any_more_still_drains(api, cluster):
    api.put(pod("fs-0", annotations=STANDS))
    others = [summary(f"a-{place}", 1) for place in range(50)]

    async def crowds():
        await looked(api)
        api.merge("balancergroups", "voice", "ivr", {"status": {"nodeSummaries": others, "truncated": True}})

    crowding = asyncio.create_task(crowds())
    done = await cluster("drain", "fs-0", "--wait", "--timeout", "1s")
    await crowding
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (3, "voice/fs-0: still drains")


async def test_a_pod_that_another_one_took_the_name_of_is_gone(api, cluster):
    api.put(pod("fs-0", annotations=STANDS))

    async def goes():
        await looked(api)
        api.remove("pods", "voice", "fs-0")
        api.put(pod("fs-0"))
        api.merge("balancergroups", "voice", "ivr", {"status": {"nodeSummaries": [summary("fs-0", 1, drains=False)]}})

    going = asyncio.create_task(goes())
    done = await cluster("drain", "fs-0", "--wait", "--timeout", "20s")
    await going
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "voice/fs-0: gone")


async def test_names_are_completed_from_the_cluster(api, run, tmp_path):
    api.put(pod("web", app="web"))
    api.put(group("external", static=["carrier"]))
    config = api.kubeconfig(tmp_path / "config", namespace="voice")

    async def completed(words):
        environ = {
            "_SWITCHTENDER_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split())),
        }
        return (await asyncio.to_thread(run, env=environ)).stdout.splitlines()

    assert await completed(f"switchtender drain --kubeconfig {config} ") == ["plain,fs-0", "plain,fs-1"]
    assert await completed(f"switchtender drain --kubeconfig {config} --group external ") == ["plain,carrier"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["drain"], "give NODE, or pods by --selector"),
        (["drain", "fs-0", "-n", "voice", "--url", "http://127.0.0.1:1"], "--url is for a balancer"),
        (["drain", "fs-0", "-n", "voice", "--token-file", "/x"], "--token-file is for a balancer"),
        (["drain", "fs1", "--at", "2026-03-01T22:00:00Z"], "--at is for Kubernetes"),
        (["drain", "fs1", "--timeout", "2s"], "--timeout is for --wait"),
    ],
)
def test_options_that_do_not_go_together(run, arguments, said):
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_kubeconfig_that_is_none_is_one_line(run, tmp_path):
    told = one_line(run("drain", "fs-0", "--kubeconfig", str(tmp_path / "none")))
    assert "--kubeconfig names the file, --context the cluster" in told


async def test_an_api_server_that_is_away_is_one_line(api, cluster):
    await api.stop()
    assert "no API server answers at http://127.0.0.1" in one_line(await cluster("drain", "fs-0"))


# --- a balancer


def rows(*sessions, **drain):
    shown = {"since": 1772366400.0, "deadline": 32472144000.0, "reason": "Drained", "expired": False, **drain}
    return {
        "nodes": [
            {**NODE, "group": f"g{place}", "drain": {**shown, "sessions": count}}
            for place, count in enumerate(sessions)
        ]
    }


def test_waiting_for_a_node_of_a_balancer_is_for_all_of_its_groups(run, stub):  # noqa: F811 - the fixture
    stub.gives("/api/v1/nodes/fs1/drain", ORDERED)
    stub.gives("/api/v1/nodes", rows(0, 2))
    done = run("drain", "fs1", "--wait", "--timeout", "20ms", "--url", stub.url)
    assert done.exit_code == 3
    assert done.stderr.startswith("fs1: 2 sessions, ")
    assert done.stdout.splitlines()[-1] == "fs1: still drains"
    stub.gives("/api/v1/nodes", rows(0, 0))
    done = run("drain", "fs1", "--wait", "--url", stub.url, "-o", "json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        **ORDERED,
        "waited": {
            "timedOut": False,
            "nodes": [
                {
                    "node": "fs1",
                    "phase": "Drained",
                    "sessions": 0,
                    "deadline": "2999-01-01T00:00:00Z",
                    "expired": False,
                }
            ],
        },
    }
    stub.gives("/api/v1/nodes", rows(2, expired=True, onTimeout="Release"))
    assert run("drain", "fs1", "--wait", "--url", stub.url).stdout.splitlines()[-1].startswith("fs1: released")
    stub.gives("/api/v1/nodes", {"nodes": []})
    assert run("drain", "fs1", "--wait", "--url", stub.url).stdout.splitlines()[-1] == "fs1: gone"


def test_several_nodes_of_a_balancer_are_ordered_one_by_one(run, stub):  # noqa: F811 - the fixture
    stub.gives("/api/v1/nodes/fs1/drain", ORDERED)
    stub.gives("/api/v1/nodes/fs2/drain", {"error": "no node is called fs2"}, 400)
    done = run("drain", "fs2", "fs1", "--url", stub.url, "-o", "json")
    assert done.exit_code == 2
    assert done.stderr == "switchtender: no node is called fs2\n"
    assert json.loads(done.stdout) == {"verb": "drain", "orders": [ORDERED]}


# --- the countdown, in virtual time


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def waiting(looks, timeout=None):
    clock, told, left = Clock(), [], iter(looks)

    def look():
        found = next(left)
        if isinstance(found, Failure):
            raise found
        return found

    ended = wait(look, lambda nodes, trouble: told.append((nodes, trouble)), timeout, clock=clock, sleep=clock.sleep)
    return ended, told, clock.now


def test_trouble_on_the_way_is_told_and_outlived():
    drains, over = Progress("a", Phase.DRAINING, 1), Progress("a", Phase.DRAINED, 0)
    ended, told, _ = waiting([[drains], Failure("away"), [over]])
    assert ended.over
    assert told == [((drains,), None), ((drains,), "away"), ((over,), None)]
    with pytest.raises(Failure):
        waiting([Failure("away")])


def test_the_time_that_is_given_is_kept(monkeypatch):
    monkeypatch.setattr(countdown, "_POLL", 1.0)
    ended, _, now = waiting([[Progress("a", Phase.AWAITED)]] * 10, timeout=2.5)
    assert (ended.timed_out, ended.over, now) == (True, False, 2.5)


def test_a_node_of_several_groups_is_as_far_as_the_least_of_them():
    drained = progress_of("a", {"deadline": "2026-03-01T14:00:00Z"}, 0, drained=True, releases=False)
    draining = progress_of("a", {"deadline": "2026-03-01T15:00:00Z", "expired": True}, 7, drained=False, releases=False)
    assert together("a", [drained, draining]) == Progress("a", Phase.DRAINING, 7, NOW + timedelta(hours=3), True)
    assert progress_of("a", {"expired": True}, 7, drained=False, releases=True).phase is Phase.RELEASED
    assert progress_of("a", {}, 0, drained=False, releases=False).phase is Phase.DRAINING, "an old 0"


def test_the_countdown_in_words():
    def node(name, sessions, hours):
        return Progress(name, Phase.DRAINING, sessions, NOW + timedelta(hours=hours))

    assert line([node("a", 1, 2)], NOW) == "a: 1 session, 2h to the deadline"
    assert line([node("a", None, -1)], NOW) == "a: sessions not known, 1h past the deadline, waiting on"
    assert line([Progress("a", Phase.AWAITED, 4)], NOW) == "a: 4 sessions, not seen to drain yet"
    four = [node(name, 2, place) for place, name in enumerate("abcd")]
    assert line(four, NOW) == "4 nodes drain: 8 sessions, the last of them 3h to the deadline"
    assert line([Progress("a", Phase.GONE)], NOW) == "drained"
