"""Every SIP answer, line by line, against transcripts of a real node (1.11.1); tags, branches, SDP numbers masked."""

import pytest
from sim_bench import Bench, header, request, status_of, statuses
from sim_transcript import Spoken, mask, read

from switchtender_simulator.lifecycle import Phase
from switchtender_simulator.settings import NodeSettings

REFUSALS = read("sip-refusals.txt")
PROXIED = read("sip-record-route.txt")[""]
FAR_END = read("sip-far-end.txt")[""]


def _pause(bench: Bench) -> None:
    bench.status.set_paused("inbound", paused=True)


def _standby(bench: Bench) -> None:
    bench.status.standby = True


def _teardown(bench: Bench) -> None:
    bench.status.phase = Phase.TEARDOWN


def _full(bench: Bench) -> None:
    bench.ledger.set_limit(1)
    bench.ledger.set_background(1)


def _limit_one(bench: Bench) -> None:
    bench.ledger.set_limit(1)


def _one_per_second(bench: Bench) -> None:
    bench.ledger.set_rate(1)
    bench.run_to(bench.now + 1)


def _nothing(bench: Bench) -> None:
    del bench


STATES = {
    "OPTIONS normal": _nothing,
    "INVITE while pause inbound": _pause,
    "OPTIONS while pause inbound": _pause,
    "INVITE + OPTIONS in standby": _standby,
    "INVITE at max_sessions 1, none live (boundary refusal + 10 s zombie)": _limit_one,
    "INVITE when full (early refusal)": _full,
    "INVITE with sps 1 (admits 0 per second)": _one_per_second,
    "INVITE + OPTIONS while the profile is being torn down: 410": _teardown,
}


def replay(bench: Bench, spoken: list[Spoken]) -> None:
    """Say what the client said, with our To tags in place of the captured ones; compare what the node says."""
    tags: dict[str, str] = {}
    expected = [message for message in spoken if message.sent_by_node]
    compared = 0
    for message in spoken:
        if message.sent_by_node:
            continue
        text = message.text
        for captured, ours in tags.items():
            text = text.replace(captured, ours)
        source = ("127.0.0.1", int(header(text, "Via").partition(";")[0].rpartition(":")[2]))
        for answer in bench.say(text, source):
            assert mask(answer) == mask(expected[compared].text), expected[compared].start
            captured_tag = expected[compared].header("To").partition(";tag=")[2]
            if captured_tag:
                tags[captured_tag] = header(answer, "To").partition(";tag=")[2]
            compared += 1
    assert compared == len(expected)


@pytest.mark.parametrize("section", STATES)
def test_answers_by_state_are_those_of_a_real_node(section: str) -> None:
    bench = Bench()
    STATES[section](bench)
    replay(bench, REFUSALS[section])


def test_an_established_call_gets_a_bye_with_the_shutdown_cause() -> None:
    spoken = REFUSALS["established call at SIGTERM (BYE not answered on purpose)"]
    bench = Bench()
    trying, ok, bye = (message for message in spoken if message.sent_by_node)
    answers = bench.say(spoken[0].text, ("127.0.0.1", 38401))
    assert statuses(answers) == [100, 180, 200]  # the captured dial plan answered without ringing
    assert mask(answers[0]) == mask(trying.text)
    assert mask(answers[2]) == mask(ok.text)
    bench.uas.hang_up_all(bench.now)
    assert mask(bench.sent[-1]) == mask(bye.text)
    assert bench.to[-1] == ("127.0.0.1", 38401)


def _proxied(user: str, nth: int = 0) -> list[Spoken]:
    """The nth INVITE to `user` in the proxied transcript and everything up to the next new INVITE."""
    starts = [
        at
        for at, message in enumerate(PROXIED)
        if not message.sent_by_node and message.start.startswith("INVITE ") and ";tag=" not in message.header("To")
    ]
    chosen = [at for at in starts if PROXIED[at].start.startswith(f"INVITE sip:{user}@")][nth]
    end = min((at for at in starts if at > chosen), default=len(PROXIED))
    return PROXIED[chosen:end]


def test_a_proxied_call_copies_record_route_and_all_vias() -> None:
    spoken = _proxied("park")
    captured = [message for message in spoken if message.sent_by_node]
    bench = Bench()
    answers = bench.say(spoken[0].text, ("127.0.0.1", 5090))
    assert mask(answers[0]) == mask(captured[0].text)
    assert mask(answers[2]) == mask(captured[1].text)
    assert set(bench.to) == {("127.0.0.1", 5090)}
    bye = next(message for message in spoken if message.start.startswith("BYE "))
    tag = captured[1].header("To").partition(";tag=")[2]
    ours = header(answers[2], "To").partition(";tag=")[2]
    [answer] = bench.say(bye.text.replace(tag, ours), ("127.0.0.1", 5090))
    assert mask(answer) == mask(captured[2].text)
    assert bench.ledger.count == 0


def test_a_cancelled_call_is_answered_as_captured_and_repeated() -> None:
    spoken = _proxied("ring")
    bench = Bench()
    captured = [message for message in spoken if message.sent_by_node]
    invite, cancel = (message for message in spoken if not message.sent_by_node)
    answers = bench.say(invite.text, ("127.0.0.1", 5090)) + bench.say(cancel.text, ("127.0.0.1", 5090))
    answers += bench.run_to(bench.now + 0.5)
    assert [mask(answer) for answer in answers] == [mask(message.text) for message in captured]


def test_requests_from_the_node_follow_the_route_set() -> None:
    spoken = _proxied("xhdr")
    invite, bye = spoken[0], next(m for m in spoken if m.sent_by_node and m.start.startswith("BYE "))
    bench = Bench()
    answers = bench.say(invite.text, ("127.0.0.1", 5090))
    bench.uas.reinvite_all(bench.now)
    captured = next(m for m in spoken if m.sent_by_node and m.start.startswith("INVITE "))
    own = {"Diversion: <sip:1@x>;reason=unconditional", "X-FS-Support: update_display,send_info"}
    expected = [line.replace("Max-Forwards: 69", "Max-Forwards: 70") for line in mask(captured.text) if line not in own]
    ours = mask(bench.sent[-1])
    # The real one writes Content-Length before the copied headers.
    assert sorted(ours) == sorted(expected)
    assert bench.to[-1] == ("127.0.0.1", 5090)
    ok = bench.sent[-1].replace("\r\n", "\n").split("\n\n")[0]
    via, cseq = header(bench.sent[-1], "Via"), header(bench.sent[-1], "CSeq")
    assert ok.startswith("INVITE sip:tester@127.0.0.1:5999 SIP/2.0")
    [ack] = bench.say(
        f"SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {header(bench.sent[-1], 'From')}\r\n"
        f"To: {header(bench.sent[-1], 'To')}\r\n"
        f"Call-ID: {invite.header('Call-ID')}\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n"
    )
    captured_ack = next(m for m in spoken if m.sent_by_node and m.start.startswith("ACK "))
    assert mask(ack) == mask(captured_ack.text)
    bench.uas.hang_up_all(bench.now, reason='Q.850;cause=16;text="NORMAL_CLEARING"')
    assert mask(bench.sent[-1]) == mask(bye.text)
    assert status_of(answers[-1]) == 200


def _far_end(start: str, nth: int = 0) -> tuple[Spoken, list[Spoken]]:
    found = [at for at, m in enumerate(FAR_END) if not m.sent_by_node and m.start.startswith(start)][nth]
    rest = FAR_END[found + 1 :]
    until = next((at for at, m in enumerate(rest) if not m.sent_by_node), len(rest))
    return FAR_END[found], rest[:until]


def test_a_relayed_503_has_a_reason_and_no_retry_after() -> None:
    invite, answers = _far_end("INVITE sip:b2b-bob-127.0.0.1-5071@")
    user = "b2b-bob-127.0.0.1-5071"
    bench = Bench()
    got = bench.say(invite.text.replace(user, "503-far"), ("127.0.0.1", 5090))
    assert [mask(text) for text in got] == [mask(message.text.replace(user, "503-far")) for message in answers[:2]]
    got = bench.run_to(bench.now + 1.6)
    assert [mask(text) for text in got] == [mask(message.text.replace(user, "503-far")) for message in answers[2:4]]


@pytest.mark.parametrize(("start", "nth"), [("OPTIONS sip:ping@", 0), ("OPTIONS sip:ping@", 1), ("FOO sip:ping@", 0)])
def test_other_requests_outside_a_dialog(start: str, nth: int) -> None:
    asked, answers = _far_end(start, nth)
    [got] = Bench().say(asked.text, ("127.0.0.1", 5090))
    assert mask(got) == mask(answers[0].text)


def test_register_is_answered_without_echoing_the_path() -> None:
    asked, answers = _far_end("REGISTER sip:127.0.0.2")
    [got] = Bench().say(asked.text, ("127.0.0.1", 5090))
    assert mask(got) == mask(answers[0].text)


@pytest.mark.parametrize(
    ("method", "status"), [("MESSAGE", 407), ("SUBSCRIBE", 405), ("PUBLISH", 405), ("REFER", 202), ("FOO", 501)]
)
def test_methods_outside_a_dialog_as_measured(method: str, status: int) -> None:
    assert statuses(Bench().say(request(method))) == [status]


@pytest.mark.parametrize("method", ["REGISTER", "NOTIFY", "INFO"])
def test_a_full_or_paused_node_refuses_these_outside_a_dialog(method: str) -> None:
    bench = Bench()
    _full(bench)
    [got] = bench.say(request(method))
    assert got.startswith("SIP/2.0 503 Maximum Calls In Progress\r\n")
    assert header(got, "Retry-After") == "300"
    bench = Bench()
    _pause(bench)
    assert statuses(bench.say(request(method))) == [503]


@pytest.mark.parametrize(("version", "status"), [("1.11.1", 200), ("1.10.12", 503)])
@pytest.mark.parametrize("state", [_full, _pause])
def test_options_on_a_busy_node_depends_on_the_version(version, status, state) -> None:
    bench = Bench(NodeSettings(version=version))
    state(bench)
    assert statuses(bench.say(request("OPTIONS", "ping"))) == [status]
