"""Transactions, dialogs and courses of calls, in virtual time (RFC 3261 §13, §17; measured extras where named)."""

import hashlib
import re

import pytest
from sim_bench import CALLER, PROXY, Bench, header, request, status_of, statuses, to_tag

from switchtender_simulator.settings import NodeSettings

ROUTES = "Record-Route: <sip:127.0.0.1:5090;lr;st=abc>\r\nRecord-Route: <sip:10.9.9.9:5090;lr>\r\n"


def established(bench: Bench, number: int = 1, **kwargs) -> str:
    """An answered and acknowledged call; returns our tag."""
    tag = to_tag(bench.call(number=number, **kwargs)[-1])
    bench.say(request("ACK", number=number, to_tag=tag, branch=f"z9hG4bKack{number}"))
    return tag


def answer_to(text: str, status: str = "200 OK") -> str:
    """A caller's response to a request of the node."""
    lines = [line for line in text.split("\r\n") if line.startswith(("Via:", "From:", "To:", "Call-ID:", "CSeq:"))]
    return f"SIP/2.0 {status}\r\n" + "\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n"


def test_a_call_runs_its_course_and_leaves_nothing() -> None:
    bench = Bench()
    answers = bench.call()
    assert statuses(answers) == [100, 180, 200]
    assert header(answers[2], "Content-Type") == "application/sdp"
    assert len(answers[2].partition("\r\n\r\n")[2]) == int(header(answers[2], "Content-Length"))
    assert {to_tag(text) for text in answers[1:]} == {to_tag(answers[1])} != {""}
    tag = to_tag(answers[2])
    assert bench.say(request("ACK", to_tag=tag, branch="z9hG4bKack")) == []
    assert (bench.uas.live_calls, bench.ledger.count) == (1, 1)
    assert statuses(bench.say(request("BYE", to_tag=tag, cseq=2))) == [200]
    assert (bench.uas.live_calls, bench.ledger.count, bench.counters.byes_received) == (0, 0, 1)
    assert bench.run_to(bench.now + 100) == []


def test_answers_go_where_the_top_via_says() -> None:
    bench = Bench()
    bench.say(request("OPTIONS"), ("127.0.0.7", 6000))
    assert bench.to == [("127.0.0.7", 5090)]  # received, but no rport: the port of the sent-by
    assert header(bench.sent[0], "Via").endswith(";received=127.0.0.7")
    bench.say(request("OPTIONS", number=2).replace("branch=", "rport;branch=", 1), ("127.0.0.1", 6000))
    assert bench.to[1] == ("127.0.0.1", 6000)
    assert ";rport=6000" in header(bench.sent[1], "Via")


def test_a_repeated_invite_gets_the_same_response_and_makes_no_session() -> None:
    bench = Bench(NodeSettings(answer_delay=3.0))
    first = bench.call()
    assert bench.call() == [first[-1]]
    assert bench.run_to(bench.now + 3.0)[-1].startswith("SIP/2.0 200")
    assert bench.call() == [bench.sent[-1]]
    assert (bench.counters.retransmitted, bench.counters.invites, bench.ledger.since_startup) == (2, 1, 1)


def test_a_200_is_repeated_until_its_ack() -> None:
    bench = Bench()
    ok = bench.call()[-1]
    start = bench.now
    times = []
    for step in range(1, 60):
        times += [round(step * 0.1, 1)] * len(bench.run_to(start + step * 0.1 + 0.001))
    assert times == [0.5, 1.5, 3.5]
    assert set(bench.sent[-3:]) == {ok}
    bench.say(request("ACK", to_tag=to_tag(ok), branch="z9hG4bKack"))
    assert bench.run_to(bench.now + 60) == []


def test_a_call_without_ack_is_hung_up_after_64_t1() -> None:
    bench = Bench()
    bench.call()
    sent = bench.run_to(bench.now + 32.0)
    assert sent[-1].startswith("BYE ")
    assert (bench.counters.never_acknowledged, bench.ledger.count) == (1, 0)


def test_a_refusal_is_repeated_until_its_ack_and_at_most_64_t1() -> None:
    bench = Bench()
    bench.status.set_paused("inbound", paused=True)
    [refusal] = bench.call()
    assert set(bench.run_to(bench.now + 3.6)) == {refusal}
    assert len(bench.sent) == 4
    assert bench.uas.unfinished == 1
    bench.say(request("ACK", to_tag=to_tag(refusal), branch="z9hG4bKI1.1"))
    assert bench.run_to(bench.now + 100) == []
    assert bench.uas.unfinished == 0
    bench.call(number=2)
    assert len(bench.run_to(bench.now + 100)) == 10
    assert bench.uas.unfinished == 0


def test_cancel_ends_a_ringing_call() -> None:
    bench = Bench()
    ringing = bench.call("ring")
    assert statuses(ringing) == [100, 180]
    assert (bench.uas.ringing_calls, bench.ledger.count) == (1, 1)
    answers = bench.say(request("CANCEL", "ring", branch="z9hG4bKI1.1"))
    assert statuses(answers) == [200, 487]
    assert {to_tag(text) for text in answers} == {to_tag(ringing[1])}
    assert bench.ledger.count == 0
    bench.say(request("ACK", "ring", to_tag=to_tag(answers[1]), branch="z9hG4bKI1.1"))
    assert bench.run_to(bench.now + 60) == []


def test_cancel_of_nothing_and_of_an_answered_call() -> None:
    bench = Bench()
    assert statuses(bench.say(request("CANCEL", branch="z9hG4bKnever"))) == [481]
    established(bench)
    assert statuses(bench.say(request("CANCEL", branch="z9hG4bKI1.1"))) == [200]
    assert bench.uas.live_calls == 1


def test_cancel_between_the_two_looks_leaves_no_zombie() -> None:
    bench = Bench(NodeSettings(max_sessions=1, admission_lag=0.01))
    bench.uas.receive(request("INVITE").encode(), CALLER, bench.now)
    assert bench.ledger.count == 1
    bench.uas.receive(request("CANCEL", branch="z9hG4bKI1.1").encode(), CALLER, bench.now)
    assert statuses(bench.sent) == [200, 487]
    bench.run_to(bench.now + 0.1)
    assert (bench.ledger.count, bench.ledger.zombies, len(bench.sent)) == (0, 0, 2)


def test_the_boundary_refuses_and_keeps_a_zombie() -> None:
    bench = Bench(NodeSettings(max_sessions=3))
    for number in (1, 2):
        established(bench, number)
    [refusal] = bench.call(number=3)
    assert refusal.startswith("SIP/2.0 503 Maximum Calls In Progress\r\n")
    assert (bench.ledger.count, bench.ledger.zombies) == (3, 1)
    assert statuses(bench.call(number=4)) == [503]
    assert bench.counters.refused == {"boundary": 1, "full": 1}
    bench.run_to(bench.now + 10.1)
    assert (bench.ledger.count, bench.ledger.zombies) == (2, 0)


@pytest.mark.parametrize("method", ["OPTIONS", "INFO", "UPDATE", "NOTIFY", "MESSAGE", "PRACK"])
@pytest.mark.parametrize("paused", [False, True])
def test_requests_within_a_dialog_are_served_even_when_full_or_paused(method: str, paused: bool) -> None:
    bench = Bench(NodeSettings(max_sessions=2))
    tag = established(bench)
    bench.status.set_paused(None, paused=paused)
    bench.ledger.set_background(5)
    assert statuses(bench.say(request(method, to_tag=tag, cseq=2))) == [200]
    assert statuses(bench.say(request("INVITE", to_tag=tag, cseq=3))) == [100, 200]
    assert statuses(bench.say(request("REFER", to_tag=tag, cseq=4))) == [202]
    assert statuses(bench.say(request("BYE", to_tag=tag, cseq=5))) == [200]
    assert bench.ledger.since_startup == 6


@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE"])
def test_an_unknown_dialog_is_481(method: str) -> None:
    bench = Bench()
    assert statuses(bench.say(request(method, to_tag="nobody"))) == [481]
    assert bench.counters.unknown_dialog == 1


def test_a_repeated_bye_gets_the_same_200() -> None:
    bench = Bench()
    tag = established(bench)
    bye = request("BYE", to_tag=tag, cseq=2)
    assert bench.say(bye) == bench.say(bye)
    assert (bench.counters.byes_received, bench.counters.retransmitted, bench.ledger.count) == (1, 1, 0)
    bench.run_to(bench.now + 33)
    assert statuses(bench.say(bye)) == [481]  # the transaction is forgotten after 64*T1


def test_the_node_hangs_up_along_the_route_set() -> None:
    bench = Bench(NodeSettings(call_duration=5.0))
    tag = established(bench, extra=ROUTES)
    [bye] = bench.run_to(bench.now + 5.0)
    assert bye.startswith("BYE sip:tester@127.0.0.1:5999 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;rport;branch=z9hG4bK")
    assert re.findall(r"Route: (.*)\r", bye) == ["<sip:127.0.0.1:5090;lr;st=abc>", "<sip:10.9.9.9:5090;lr>"]
    assert header(bye, "From") == f"<sip:1000@example.test>;tag={tag}"
    assert header(bye, "To") == '"T" <sip:tester@example.test>;tag=f1'
    assert header(bye, "Reason") == 'Q.850;cause=16;text="NORMAL_CLEARING"'
    assert bench.to[-1] == PROXY
    assert bench.ledger.count == 0  # the session goes at once
    assert bench.uas.unfinished == 1
    assert bench.say(answer_to(bye)) == []
    assert bench.uas.unfinished == 0
    assert bench.run_to(bench.now + 60) == []


def test_the_route_set_may_come_as_one_list() -> None:
    bench = Bench(NodeSettings(call_duration=1.0))
    routes = 'Record-Route: "a,b" <sip:127.0.0.1:5091;lr;x=1,2>,  <sip:10.9.9.9;lr>\r\n'
    established(bench, extra=routes)
    [bye] = bench.run_to(bench.now + 1.0)
    assert re.findall(r"Route: (.*)\r", bye) == ['"a,b" <sip:127.0.0.1:5091;lr;x=1,2>', "<sip:10.9.9.9;lr>"]
    assert bench.to[-1] == ("127.0.0.1", 5091)


def test_a_bye_without_answer_is_repeated_for_64_t1() -> None:
    bench = Bench(NodeSettings(call_duration=1.0))
    established(bench)
    sent = bench.run_to(bench.now + 1.0)
    start = bench.now
    sent += bench.run_to(start + 40)
    assert len(sent) == 11  # 0, 0.5, 1.5, 3.5, then every 4 s up to 32 s
    assert len(set(sent)) == 1
    assert (bench.counters.byes_sent, bench.counters.byes_unanswered) == (1, 1)


def test_the_caller_may_be_the_one_to_hang_up() -> None:
    bench = Bench(NodeSettings(call_duration=1.0, bye_from="caller"))
    established(bench)
    assert bench.run_to(bench.now + 100) == []
    assert bench.uas.live_calls == 1


@pytest.mark.parametrize("status", [302, 404, 480, 486, 488, 500, 503, 603])
def test_three_digits_are_an_answer(status: int) -> None:
    bench = Bench()
    answers = bench.call(str(status))
    assert statuses(answers) == [100, status]
    assert header(answers[1], "Reason").startswith("Q.850;cause=")
    assert header(answers[1], "Retry-After") == ""
    assert bench.ledger.count == 0
    assert bench.counters.failed == {str(status): 1}


def test_the_scripted_courses() -> None:
    bench = Bench(NodeSettings(answer_delay=2.0))
    assert bench.call("silent", 1) == []
    assert bench.call("silent", 1) == []
    assert bench.ledger.since_startup == 0
    assert statuses(bench.call("100-only", 2)) == [100]
    assert statuses(bench.call("early183", 3)) == [100, 183]
    assert header(bench.sent[-1], "Content-Type") == "application/sdp"
    assert statuses(bench.call("ring", 4)) == [100, 180]
    assert statuses(bench.call("1000", 5)) == [100, 180]
    assert statuses(bench.run_to(bench.now + 2.0)) == [200, 200]
    assert statuses(bench.call("999", 6)) == [100, 180]  # no SIP status: a user like any other


def test_further_legs_are_counted_and_may_fail() -> None:
    bench = Bench(NodeSettings(legs_per_call=3, max_sessions=5))
    tag = established(bench)
    assert (bench.ledger.count, bench.ledger.since_startup) == (3, 3)
    answers = bench.call(
        number=2
    )  # the A leg is the fourth session, one B leg takes the last slot, the next finds none
    assert statuses(answers) == [100, 502]
    assert header(answers[1], "Reason") == 'Q.850;cause=27;text="DESTINATION_OUT_OF_ORDER"'
    assert bench.ledger.count == 3
    bench.say(request("BYE", to_tag=tag, cseq=2))
    assert bench.ledger.count == 0
    bench.status.set_paused("outbound", paused=True)
    assert statuses(bench.call(number=3)) == [100, 502]
    assert bench.counters.refused == {"outbound": 2}


def test_shutdown_hangs_up_established_and_refuses_ringing_calls() -> None:
    bench = Bench()
    established(bench, 1)
    bench.call("ring", 2)
    assert bench.uas.hang_up_all(bench.now) == 2
    bye, refusal = bench.sent[-2:]
    assert bye.startswith("BYE ")
    assert status_of(refusal) == 480
    assert header(bye, "Reason") == header(refusal, "Reason") == 'SIP;cause=701;text="SYSTEM_SHUTDOWN"'
    assert bench.uas.unfinished == 2
    bench.say(answer_to(bye))
    bench.say(request("ACK", "ring", 2, to_tag=to_tag(refusal), branch="z9hG4bKI2.1"))
    assert (bench.uas.unfinished, bench.ledger.count) == (0, 0)


def test_x_headers_of_an_invite_come_back_in_the_nodes_own_reinvite() -> None:
    bench = Bench()
    established(bench, extra="X-Internal: secret\r\nx-other: 1\r\nSubject: no\r\n")
    bench.uas.reinvite_all(bench.now)
    invite = bench.sent[-1]
    assert (header(invite, "X-Internal"), header(invite, "x-other"), header(invite, "Subject")) == ("secret", "1", "")
    [ack] = bench.say(answer_to(invite))
    assert ack.startswith("ACK sip:tester@127.0.0.1:5999 SIP/2.0")
    assert bench.uas.unfinished == 0


def test_a_reinvite_of_the_caller_moves_the_target() -> None:
    bench = Bench(NodeSettings(call_duration=9.0))
    tag = established(bench)
    moved = request("INVITE", to_tag=tag, cseq=2).replace(
        "Contact: <sip:tester@127.0.0.1:5999>", "Contact: <sip:t@127.0.0.1:7777>"
    )
    bench.say(moved)
    [bye] = bench.run_to(bench.now + 9.0)
    assert bye.startswith("BYE sip:t@127.0.0.1:7777 SIP/2.0")
    assert bench.to[-1] == ("127.0.0.1", 7777)


def credentials(challenge: str, method: str, uri: str, password: str = "pw", *, qop: bool = True) -> str:
    nonce, realm = re.search(r'nonce="([^"]+)"', challenge)[1], re.search(r'realm="([^"]+)"', challenge)[1]

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    middle = f"{nonce}:00000001:abc:auth" if qop else nonce
    response = md5(f"{md5(f'u:{realm}:{password}')}:{middle}:{md5(f'{method}:{uri}')}")
    extra = ', qop=auth, nc=00000001, cnonce="abc"' if qop else ""
    return f'Digest username="u", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}"{extra}'


URI = "sip:1000@127.0.0.2:5060"


@pytest.mark.parametrize("qop", [True, False])
def test_a_challenged_call_comes_back_with_credentials_and_uses_one_session(qop: bool) -> None:
    bench = Bench(NodeSettings(auth="u:pw"))
    [challenge] = bench.call()
    assert status_of(challenge) == 407
    assert bench.ledger.count == 1  # its session waits for the second INVITE
    bench.say(request("ACK", to_tag=to_tag(challenge), branch="z9hG4bKI1.1"))
    proof = credentials(header(challenge, "Proxy-Authenticate"), "INVITE", URI, qop=qop)
    answers = bench.call(cseq=2, extra=f"Proxy-Authorization: {proof}\r\n")
    assert statuses(answers) == [100, 180, 200]
    assert (bench.ledger.count, bench.ledger.since_startup, bench.counters.challenged) == (1, 1, 1)
    bench.say(request("BYE", to_tag=to_tag(answers[-1]), cseq=3))
    assert bench.ledger.count == 0


def test_credentials_are_good_at_the_challenging_node_only() -> None:
    here, there = Bench(NodeSettings(auth="u:pw")), Bench(NodeSettings(auth="u:pw"))
    there.uas._random.seed(99)
    [challenge] = here.call()
    proof = credentials(header(challenge, "Proxy-Authenticate"), "INVITE", URI)
    assert statuses(there.call(cseq=2, extra=f"Proxy-Authorization: {proof}\r\n")) == [407]
    assert there.counters.foreign_credentials == 1
    wrong = credentials(header(challenge, "Proxy-Authenticate"), "INVITE", URI, "guess")
    assert statuses(here.call(cseq=2, extra=f"Proxy-Authorization: {wrong}\r\n")) == [407]
    assert here.counters.foreign_credentials == 0


def test_a_challenge_without_an_answer_is_abandoned_like_a_zombie() -> None:
    bench = Bench(NodeSettings(auth="u:pw"))
    bench.call()
    bench.run_to(bench.now + 10.0)
    assert bench.ledger.count == 1
    bench.run_to(bench.now + 0.1)
    assert bench.ledger.count == 0


def test_register_is_challenged_with_401() -> None:
    bench = Bench(NodeSettings(auth="u:pw"))
    [challenge] = bench.say(request("REGISTER"))
    assert status_of(challenge) == 401
    proof = credentials(header(challenge, "WWW-Authenticate"), "REGISTER", URI)
    [ok] = bench.say(request("REGISTER", cseq=2, extra=f"Authorization: {proof}\r\n"))
    assert status_of(ok) == 200
    assert header(ok, "Contact") == "<sip:tester@127.0.0.1:5999>;expires=3600"


def test_a_flood_is_answered_with_silence_dialogs_too() -> None:
    bench = Bench(NodeSettings(max_requests_per_second=100, sessions_per_second=1000))
    tag = established(bench)
    for number in range(150):
        bench.uas.receive(request("OPTIONS", number=1000 + number).encode(), CALLER, bench.now)
    assert bench.counters.options == 150  # the second that goes over the limit is still answered
    bench.run_to(bench.now + 1.0)
    assert bench.say(request("BYE", to_tag=tag, cseq=2)) == []
    assert bench.counters.dropped == 1
    bench.run_to(bench.now + 1.0)
    assert statuses(bench.say(request("BYE", to_tag=tag, cseq=2))) == [200]


def test_a_frozen_node_says_trying_and_no_more() -> None:
    bench = Bench()
    bench.faults.frozen = True
    assert statuses(bench.call()) == [100]
    assert statuses(bench.say(request("OPTIONS", number=2))) == [200]


@pytest.mark.parametrize(
    "noise",
    [
        "",
        "\r\n\r\n",
        "garbage",
        "INVITE sip:x SIP/2.0\r\n\r\n",
        "INVITE sip:x\r\nVia: x\r\n\r\n",
        "SIP/2.0 abc\r\n\r\n",
    ],
)
def test_noise_is_dropped(noise: str) -> None:
    bench = Bench()
    assert bench.say(noise) == []
    assert bench.counters.requests == 0
    assert bench.counters.malformed == (1 if noise.strip() else 0)


def test_compact_folded_and_mixed_case_headers_are_read() -> None:
    text = (
        "INVITE sip:a@127.0.0.2 SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:5090\r\n ;branch=z9hG4bKc\r\nF: <sip:x@y>;tag=1\r\n"
        "T: <sip:a@b>\r\ni: c\r\ncseq: 1 INVITE\r\nm: <sip:x@127.0.0.1:5>\r\nl: 0\r\n\r\n"
    )
    assert statuses(Bench().say(text)) == [100, 180, 200]


def test_an_answer_to_nothing_is_counted() -> None:
    bench = Bench(NodeSettings(call_duration=1.0))
    established(bench)
    [bye] = bench.run_to(bench.now + 1.0)
    bench.say(answer_to(bye))
    bench.say(answer_to(bye))
    assert bench.counters.unexpected_responses == 1
