"""One Event Socket dialogue, in virtual time and without sockets: the order of things, and the name of each failure."""

from __future__ import annotations

import itertools

import esl_captures as captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.drivers.esl.session import CHECKS, Pace, Remark, Session
from switchtender.drivers.esl.wire import Credentials
from switchtender.drivers.reports import Event, Link, PollTimeout, Readiness, Report, Shutdown

GREETING = b"Content-Type: auth/request\n\n"
ACCEPTED = b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
SUBSCRIBED = b"Content-Type: command/reply\nReply-Text: +OK event listener enabled json\n\n"
DENIED = b"Content-Type: command/reply\nReply-Text: -ERR permission denied\n\n"
BYE = captures.raw_frames("01-auth-ok")[2]
GOODBYE = captures.raw_frames("01-auth-ok")[3]
HEARTBEAT = captures.raw_frames("05-event-json-hb1")[3]
STATUS = next(frame for frame in captures.raw_frames("45-userauth") if b"session(s) max" in frame)
NOT_READY = next(frame for frame in captures.raw_frames("08-api-set") if b"is not ready" in frame)
SUBSCRIPTION = b"event json HEARTBEAT SHUTDOWN SHUTDOWN_REQUESTED STARTUP\n\n"
CHECK_COMMANDS = b"api fsctl ready_check\n\napi fsctl pause_check inbound\n\napi fsctl shutdown_check\n\n"
STATUS_COMMAND = b"api status\n\n"


def api(text: str) -> bytes:
    return f"Content-Type: api/response\nContent-Length: {len(text.encode())}\n\n{text}".encode()


TRUE, FALSE = api("true"), api("false")


class Dialogue:
    """A session with its clock, and all it said and told."""

    def __init__(self, credentials: Credentials | None = None, pace: Pace | None = None) -> None:
        self.now = 100.0
        self.session = Session(credentials or Credentials("ClueCon"), pace or Pace(), self.now)

    def hears(self, *pieces: bytes) -> bytes:
        """The node sends these; the answer is what we send."""
        for piece in pieces:
            self.session.receive(piece, self.now)
        return self.session.take_output()

    def waits(self, seconds: float) -> bytes:
        """Time passes, with a tick at every deadline on the way; the answer is what we send."""
        end, said = self.now + seconds, b""
        while (deadline := self.session.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.session.tick(self.now)
            said += self.session.take_output()
        self.now = end
        return said

    def told(self) -> list[Event | Remark]:
        return self.session.take_events()

    def ended(self) -> tuple[str, str] | None:
        """State and detail of the ending, if it has come."""
        ending = self.session.ending
        return (ending.state, ending.detail) if ending else None

    def ended_as(self) -> str | None:
        """State of the ending, if it has come."""
        return self.session.ending.state if self.session.ending else None


def logged_in(credentials: Credentials | None = None, pace: Pace | None = None) -> Dialogue:
    """A dialogue past its login, with the first polls under way."""
    dialogue = Dialogue(credentials, pace)
    dialogue.hears(GREETING, ACCEPTED)
    dialogue.told()
    return dialogue


def watching() -> Dialogue:
    """A dialogue past its first polls."""
    dialogue = logged_in()
    dialogue.hears(SUBSCRIBED, TRUE, FALSE, FALSE, STATUS)
    dialogue.told()
    return dialogue


# The way up


def test_greeting_is_answered_with_the_password_and_nothing_is_sent_before() -> None:
    dialogue = Dialogue()
    assert dialogue.hears() == b""
    assert dialogue.hears(GREETING) == b"auth ClueCon\n\n"


def test_user_logs_in_with_userauth_byte_for_byte_as_captured() -> None:
    dialogue = Dialogue(Credentials("lbpass", user="lb@127.0.0.2"))
    assert captures.from_client("45-userauth").startswith(dialogue.hears(captures.raw_frames("45-userauth")[0]))


def test_login_subscribes_to_four_events_and_polls_at_once() -> None:
    dialogue = Dialogue()
    dialogue.hears(GREETING)
    assert dialogue.hears(ACCEPTED) == SUBSCRIPTION + CHECK_COMMANDS + STATUS_COMMAND
    assert dialogue.told() == [Link(state="authenticated", detail="logged in", since=100.0)]


def test_subscription_is_byte_for_byte_that_of_the_capture() -> None:
    assert captures.from_client("05-event-json-hb1").startswith(b"auth ClueCon\n\n" + SUBSCRIPTION)


def test_first_answers_tell_readiness_before_load() -> None:
    dialogue = logged_in()
    dialogue.hears(SUBSCRIBED, TRUE, FALSE, FALSE, STATUS)
    readiness, report = dialogue.told()
    assert readiness == Readiness(ready=True, paused_inbound=False, shutdown_requested=False, received=100.0)
    assert isinstance(report, Report)
    assert (report.source, report.max_sessions, report.sessions_per_second_limit) == ("poll", 100, 30)


def test_whole_login_split_at_every_boundary_tells_the_same() -> None:
    stream = GREETING + ACCEPTED + SUBSCRIBED + TRUE + FALSE + FALSE + HEARTBEAT + STATUS + HEARTBEAT

    def outcome(*pieces: bytes) -> tuple[bytes, list[Event | Remark]]:
        dialogue = Dialogue()
        return dialogue.hears(*pieces), dialogue.told()

    expected = outcome(stream)
    assert len(expected[1]) == 5
    for at in range(len(stream)):
        assert outcome(stream[:at], stream[at:]) == expected


# The rhythm of polls


def test_status_is_asked_every_second_and_the_checks_every_two() -> None:
    dialogue = watching()
    said = []
    for _ in range(4):
        said.append(dialogue.waits(1.0))
        dialogue.hears(*[FALSE] * (said[-1].count(b"fsctl")), STATUS)
    assert said == [STATUS_COMMAND, CHECK_COMMANDS + STATUS_COMMAND] * 2
    assert dialogue.ended() is None


def test_poll_after_a_standstill_of_ours_is_not_made_up_for() -> None:
    dialogue = watching()
    dialogue.now += 7.5
    dialogue.session.tick(dialogue.now)
    assert dialogue.session.take_output() == CHECK_COMMANDS + STATUS_COMMAND
    assert dialogue.session.deadline == dialogue.now + 1.0


def test_only_harmless_commands_are_ever_sent() -> None:
    # An api command that blocks stops all events on the connection: shutdown elegant, originate, profile restart.
    dialogue = Dialogue()
    said = dialogue.hears(GREETING, ACCEPTED, SUBSCRIBED, TRUE, FALSE, FALSE, STATUS)
    for _ in range(10):
        said += dialogue.waits(1.0)
        said += dialogue.hears(*[TRUE] * (said.split(STATUS_COMMAND)[-2].count(b"fsctl ")), STATUS)
    assert dialogue.ended() is None
    dialogue.session.leave()
    said += dialogue.session.take_output()
    harmless = {"auth ClueCon", SUBSCRIPTION.decode().strip(), "api status", "exit", *CHECKS}
    assert set(said.decode().split("\n\n")) == harmless | {""}


def test_late_answer_is_matched_to_its_own_question() -> None:
    dialogue = watching()
    dialogue.waits(1.0)
    dialogue.waits(0.9)
    dialogue.hears(STATUS)
    (report,) = dialogue.told()
    assert isinstance(report, Report)
    assert report.sent == 101.0
    assert report.received == pytest.approx(101.9)


def test_answers_to_two_polls_at_once_keep_their_order() -> None:
    dialogue = watching()
    dialogue.waits(1.99)
    dialogue.now = 102.0
    dialogue.session.tick(dialogue.now)
    assert dialogue.session.take_output() == CHECK_COMMANDS + STATUS_COMMAND
    dialogue.hears(STATUS, TRUE, FALSE, FALSE, STATUS)
    sent = [event.sent for event in dialogue.told() if isinstance(event, Report)]
    assert sent == [101.0, 102.0]


def test_two_polls_unanswered_are_silence() -> None:
    dialogue = watching()
    dialogue.waits(2.9)
    assert dialogue.ended() is None
    dialogue.waits(0.1)
    assert dialogue.ended() == ("silent", "no answer to 'api status' within 2 s")
    assert dialogue.told() == [
        PollTimeout(received=103.0),
        Link(state="silent", detail="no answer to 'api status' within 2 s", since=103.0),
    ]


def test_heartbeats_do_not_stand_in_for_answers() -> None:
    dialogue = watching()
    for _ in range(3):
        dialogue.waits(1.0)
        dialogue.hears(HEARTBEAT)
    assert dialogue.ended_as() == "silent"


def test_half_a_frame_and_then_nothing_is_silence() -> None:
    dialogue = watching()
    dialogue.waits(1.0)
    dialogue.hears(STATUS[:100])
    dialogue.waits(2.0)
    assert dialogue.ended_as() == "silent"


def test_poll_interval_is_adjustable() -> None:
    dialogue = logged_in(pace=Pace(poll=5.0, checks=5.0))
    dialogue.hears(SUBSCRIBED, TRUE, FALSE, FALSE, STATUS)
    assert dialogue.waits(4.9) == b""
    assert dialogue.waits(0.1) == CHECK_COMMANDS + STATUS_COMMAND
    dialogue.waits(9.9)
    assert dialogue.ended() is None
    dialogue.waits(0.1)
    assert dialogue.ended() == ("silent", "no answer to 'api fsctl ready_check' within 10 s")


# Readiness


@pytest.mark.parametrize(
    ("answers", "readiness"),
    [
        ((TRUE, TRUE, FALSE), (True, True, False)),  # pause inbound
        ((FALSE, TRUE, FALSE), (False, True, False)),  # pause
        ((TRUE, FALSE, TRUE), (True, False, True)),  # shutdown elegant
        ((FALSE, TRUE, TRUE), (False, True, True)),  # shutdown asap
        ((FALSE, FALSE, FALSE), (False, False, False)),  # going down
        ((TRUE, api("-ERR no reply\n"), FALSE), (True, None, False)),
    ],
)
def test_checks_become_readiness(answers: tuple[bytes, ...], readiness: tuple[bool | None, ...]) -> None:
    dialogue = logged_in()
    dialogue.hears(SUBSCRIBED, *answers)
    (told,) = dialogue.told()
    assert isinstance(told, Readiness)
    assert (told.ready, told.paused_inbound, told.shutdown_requested) == readiness


def test_checks_captured_on_a_pausing_node_are_read() -> None:
    questions = captures.from_client("14-api-pause").split(b"\n\n")[1:]
    answers = captures.raw_frames("14-api-pause")[2:]
    inbound = [answers[at] for at, question in enumerate(questions) if question.endswith(b"pause_check inbound")]
    told = []
    for answer in inbound:
        dialogue = logged_in()
        dialogue.hears(SUBSCRIBED, TRUE, answer, FALSE)
        told += [event.paused_inbound for event in dialogue.told() if isinstance(event, Readiness)]
    assert told[:2] == [False, True]


def test_status_tells_not_ready_between_the_checks() -> None:
    dialogue = watching()
    dialogue.waits(1.0)
    dialogue.hears(NOT_READY)
    readiness, report = dialogue.told()
    assert readiness == Readiness(ready=False, paused_inbound=False, shutdown_requested=False, received=101.0)
    assert isinstance(report, Report)


def test_status_that_agrees_with_the_checks_tells_load_only() -> None:
    dialogue = watching()
    dialogue.waits(1.0)
    dialogue.hears(STATUS)
    assert [type(event) for event in dialogue.told()] == [Report]


# Events


def test_heartbeat_is_a_report_with_the_nodes_own_stamp() -> None:
    dialogue = watching()
    dialogue.now = 100.5
    dialogue.hears(HEARTBEAT)
    (report,) = dialogue.told()
    assert isinstance(report, Report)
    assert (report.source, report.received, report.stamp) == ("heartbeat", 100.5, 1795413653.367936)
    assert report.core_uuid == "1b4ad962-82a0-4f17-a79c-9ac1b7f8fcc3"


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("18-events-shutdown-elegant", ["requested", "beat", "now"]),
        ("19-events-shutdown-asap", ["requested", "beat", "now"]),
        ("20-events-shutdown-plain", ["now", "beat"]),
    ],
)
def test_shutdown_of_a_real_node_is_told_in_order(name: str, kinds: list[str]) -> None:
    dialogue = watching()
    dialogue.hears(*captures.raw_frames(name)[3:])
    *told, ending = dialogue.told()
    assert [kind for kind, _ in itertools.groupby(map(_kind, told))] == kinds
    assert ending == Link(state="closed", detail="the node said: The system is being shut down.", since=100.0)


def _kind(event: Event | Remark) -> str:
    if isinstance(event, Shutdown):
        return "requested" if event.requested else "now"
    return "beat" if isinstance(event, Report) else type(event).__name__


def test_plain_events_are_read_too() -> None:
    dialogue = watching()
    dialogue.hears(*captures.raw_frames("20-eventsplain-shutdown-plain")[3:5])
    assert [_kind(event) for event in dialogue.told()] == ["now", "beat"]


def test_startup_and_foreign_events_are_let_by() -> None:
    dialogue = watching()
    body = b'{"Event-Name":"STARTUP"}'
    dialogue.hears(b"Content-Length: %d\nContent-Type: text/event-json\n\n%b" % (len(body), body))
    assert dialogue.told() == []
    assert dialogue.ended() is None


def test_unreadable_event_is_remarked_and_nothing_more() -> None:
    dialogue = watching()
    body = b'{"Event-Name":"HEARTBEAT","Session-Count":"x"}'
    dialogue.hears(b"Content-Length: %d\nContent-Type: text/event-json\n\n%b" % (len(body), body))
    (remark,) = dialogue.told()
    assert isinstance(remark, Remark)
    assert remark.key == "event"
    assert dialogue.ended() is None


def test_unknown_content_types_are_skipped() -> None:
    dialogue = watching()
    dialogue.hears(b"Content-Type: log/data\nContent-Length: 3\nLog-Level: 7\n\nabc", HEARTBEAT)
    assert [_kind(event) for event in dialogue.told()] == ["beat"]


# Users with few rights


def test_denied_checks_leave_readiness_to_status_and_are_asked_once() -> None:
    dialogue = logged_in(Credentials("lbpass", user="lb@127.0.0.2"))
    dialogue.hears(SUBSCRIBED, DENIED, DENIED, DENIED, STATUS)
    told = dialogue.told()
    remarks = [event for event in told if isinstance(event, Remark)]
    assert {remark.key for remark in remarks} == {"checks"}
    assert "permission denied" in remarks[0].text
    assert told[-2] == Readiness(ready=True, paused_inbound=None, shutdown_requested=None, received=100.0)
    assert isinstance(told[-1], Report)
    assert dialogue.waits(2.0) == STATUS_COMMAND * 2
    dialogue.hears(STATUS, STATUS)
    assert dialogue.waits(1.0) == STATUS_COMMAND
    assert dialogue.ended() is None


def test_restricted_login_as_captured_from_a_real_node() -> None:
    frames = captures.raw_frames("45-userauth")
    accepted, subscribed, denied = frames[1], frames[2], frames[3]
    dialogue = Dialogue(Credentials("lbpass", user="lb@127.0.0.2"))
    dialogue.hears(frames[0], accepted, subscribed, denied, denied, denied, STATUS, HEARTBEAT)
    assert [event.source for event in dialogue.told() if isinstance(event, Report)] == ["poll", "heartbeat"]
    assert dialogue.ended() is None


def test_denied_subscription_leaves_the_polls() -> None:
    dialogue = logged_in()
    dialogue.hears(DENIED, TRUE, FALSE, FALSE, STATUS)
    told = dialogue.told()
    assert [type(event) for event in told] == [Remark, Readiness, Report]
    assert dialogue.ended() is None


def test_denied_status_leaves_the_heartbeats_and_still_proves_life() -> None:
    dialogue = logged_in()
    dialogue.hears(SUBSCRIBED, TRUE, FALSE, FALSE, DENIED)
    for _ in range(5):
        said = dialogue.waits(1.0)
        assert STATUS_COMMAND in said
        dialogue.hears(*[TRUE] * said.count(b"fsctl"), DENIED, HEARTBEAT)
    assert dialogue.ended() is None
    assert [event.source for event in dialogue.told() if isinstance(event, Report)] == ["heartbeat"] * 5


def test_user_without_heartbeats_and_status_is_refused() -> None:
    dialogue = logged_in()
    dialogue.hears(DENIED, DENIED, DENIED, DENIED, DENIED)
    assert dialogue.ended_as() == "auth_failed"


def test_status_that_cannot_be_read_is_remarked() -> None:
    dialogue = logged_in()
    dialogue.hears(SUBSCRIBED, TRUE, FALSE, FALSE, api("-ERR status Command not found!\n"))
    remark = dialogue.told()[-1]
    assert remark == Remark("status text", "unreadable output of 'status': -ERR status Command not found!")


def test_reply_to_userauth_that_lost_its_end_is_named() -> None:
    cut_off = captures.from_node(captures.CUT_OFF)
    dialogue = Dialogue(Credentials("lbpass", user="long@127.0.0.2"))
    dialogue.hears(cut_off[: cut_off.index(b"Content-Type: api/response")])
    assert dialogue.ended() is None
    dialogue.waits(5.0)
    assert dialogue.ended() == ("protocol_error", "the login reply is cut off: shorten the user's esl-allowed-* lists")


# The name of each failure


@pytest.mark.parametrize("name", ["15-acl-reject", "15b-acl-reject-auth"])
def test_rude_rejection_is_the_access_list(name: str) -> None:
    dialogue = Dialogue()
    assert dialogue.hears(captures.from_node(name)) == b""
    assert dialogue.ended_as() == "acl_rejected"


@pytest.mark.parametrize("name", ["02-auth-wrong", "45b-userauth-bad"])
def test_wrong_password_is_a_failed_login(name: str) -> None:
    dialogue = Dialogue()
    dialogue.hears(captures.from_node(name))
    assert dialogue.ended() == ("auth_failed", "the node refused the login: -ERR invalid")


def test_no_greeting_is_silence() -> None:
    dialogue = Dialogue()
    dialogue.waits(4.9)
    assert dialogue.ended() is None
    dialogue.waits(0.1)
    assert dialogue.ended() == ("silent", "no greeting within 5 s")


def test_half_a_greeting_is_silence() -> None:
    dialogue = Dialogue()
    dialogue.hears(GREETING[:-1])
    dialogue.waits(5.0)
    assert dialogue.ended() == ("silent", "no greeting within 5 s")


def test_no_answer_to_the_login_is_silence() -> None:
    dialogue = Dialogue()
    dialogue.hears(GREETING)
    dialogue.waits(5.0)
    assert dialogue.ended() == ("silent", "no answer to the login within 5 s")


@pytest.mark.parametrize(
    ("heard", "detail"),
    [
        ([], "the node closed the connection before its greeting"),
        ([GREETING], "the node closed the connection"),
        ([GREETING, ACCEPTED, HEARTBEAT[:300]], "the node closed the connection in the middle of a frame"),
    ],
)
def test_end_of_the_stream_is_closed(heard: list[bytes], detail: str) -> None:
    dialogue = Dialogue()
    dialogue.hears(*heard)
    dialogue.session.receive_eof(dialogue.now)
    assert dialogue.ended() == ("closed", detail)


def test_login_limit_of_the_node_is_closed() -> None:
    dialogue = Dialogue()
    dialogue.hears(captures.from_node("40-auth-timeout"))
    assert dialogue.ended() == ("closed", "the node said: Disconnected, goodbye.")


@pytest.mark.parametrize(
    "heard",
    [
        [GREETING, GREETING],
        [ACCEPTED],
        [GREETING, TRUE],
        [GREETING, ACCEPTED, TRUE],
        [GREETING, ACCEPTED, SUBSCRIBED, TRUE, FALSE, FALSE, STATUS, STATUS],
        [b"SIP/2.0 400 Bad Request\r\n\r\n"],
        [GREETING, b"Content-Type: command/reply\nContent-Length: -1\n\n"],
        [HEARTBEAT[:500] + GOODBYE + HEARTBEAT],
    ],
)
def test_what_cannot_be_right_is_a_protocol_error(heard: list[bytes]) -> None:
    dialogue = Dialogue()
    dialogue.hears(*heard)
    assert dialogue.ended_as() == "protocol_error"


def test_notice_is_the_end_unless_it_lingers() -> None:
    linger = b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nContent-Length: 0\n\n"
    dialogue = watching()
    dialogue.hears(linger, HEARTBEAT)
    assert dialogue.ended() is None
    dialogue.hears(GOODBYE)
    assert dialogue.ended() == ("closed", "the node said: Disconnected, goodbye.")


def test_nothing_comes_after_the_ending() -> None:
    dialogue = watching()
    assert dialogue.hears(GOODBYE + HEARTBEAT, HEARTBEAT, b"nonsense\n\n") == b""
    dialogue.session.receive_eof(dialogue.now)
    dialogue.session.end("reset", "late", dialogue.now)
    dialogue.session.leave()
    assert dialogue.waits(100.0) == b""
    assert [type(event) for event in dialogue.told()] == [Link]
    assert dialogue.session.deadline is None


def test_password_is_not_sent_to_a_node_that_has_hung_up() -> None:
    assert Dialogue().hears(GREETING + GOODBYE) == b""


def test_ending_stands_as_the_first_reason_gave_it() -> None:
    dialogue = Dialogue()
    dialogue.hears(captures.from_node("15-acl-reject"))
    dialogue.session.end("reset", "Connection reset by peer", dialogue.now)
    assert dialogue.ended_as() == "acl_rejected"


# The way out


def test_leaving_says_exit_and_waits_for_nothing_else() -> None:
    dialogue = watching()
    dialogue.session.leave()
    assert dialogue.session.take_output() == b"exit\n\n"
    assert dialogue.session.deadline is None
    assert dialogue.hears(STATUS, HEARTBEAT, BYE) == b""
    assert dialogue.told() == []
    dialogue.hears(GOODBYE)
    assert dialogue.ended() == ("closed", "the node said: Disconnected, goodbye.")


# What is written to logs


def test_a_node_that_echoes_the_password_does_not_get_it_logged() -> None:
    dialogue = Dialogue(Credentials("s3cret"))
    dialogue.hears(GREETING, b"Content-Type: command/reply\nReply-Text: -ERR no such thing: auth s3cret\n\n")
    assert dialogue.ended() == ("auth_failed", "the node refused the login: -ERR no such thing: auth ***")


def test_a_nodes_words_are_one_short_line_without_control_characters() -> None:
    words = "\x1b[31mred\nsecond line " + "x" * 5000
    body = words.encode()
    dialogue = watching()
    dialogue.hears(b"Content-Type: text/disconnect-notice\nContent-Length: %d\n\n%b" % (len(body), body))
    assert dialogue.ended() == ("closed", "the node said: ?[31mred")


# Properties

_PIECES = st.sampled_from(
    [GREETING, ACCEPTED, SUBSCRIBED, DENIED, TRUE, FALSE, STATUS, HEARTBEAT, HEARTBEAT[:77], GOODBYE, BYE]
)


@given(st.lists(_PIECES | st.binary(max_size=30) | st.floats(0, 3)))
def test_any_course_of_things_ends_at_most_once_and_always_wants_a_time_till_then(course: list[bytes | float]) -> None:
    dialogue = Dialogue()
    told: list[Event | Remark] = []
    for step in course:
        if isinstance(step, bytes):
            dialogue.hears(step)
        else:
            dialogue.waits(step)
        told += dialogue.told()
        deadline = dialogue.session.deadline
        assert (deadline is None) == (dialogue.ended() is not None)
        assert deadline is None or deadline > dialogue.now
    endings = [event for event in told if isinstance(event, Link) and event.state != "authenticated"]
    assert len(endings) == (dialogue.ended() is not None)
    assert not endings or told[-1] is endings[0]
