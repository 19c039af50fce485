"""Frames and events of the Event Socket: against a real node's bytes, cut anywhere, and against nonsense."""

from __future__ import annotations

import itertools
import json

import esl_captures as captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.drivers.esl import wire
from switchtender.drivers.esl.wire import Credentials, Frame, Framer, FramingError

WHOLE = [name for name in captures.NAMES if name != captures.CUT_OFF]
GREETING = b"Content-Type: auth/request\n\n"
NOTICE = b"Content-Type: text/disconnect-notice\nContent-Length: 67\n\nDisconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
FIRST_HEARTBEAT = captures.raw_frames("05-event-json-hb1")[3]


def outcome(pieces: list[bytes]) -> tuple[list[Frame], str | None]:
    """The frames of a stream that comes in these pieces, and the fault that ended it."""
    framer, found = Framer(), []
    try:
        for piece in pieces:
            for frame in framer.feed(piece):
                found.append(frame)  # noqa: PERF402 (those before the fault count)
    except FramingError as error:
        return found, str(error)
    return found, None


# A real node's bytes


@pytest.mark.parametrize("name", WHOLE)
def test_every_capture_is_frames_from_end_to_end(name: str) -> None:
    framer = Framer()
    found = list(framer.feed(captures.from_node(name)))
    assert found
    assert not framer.inside_frame
    known = {"auth/request", "command/reply", "api/response", "text/event-json", "text/event-plain"}
    known |= {"text/disconnect-notice", "text/rude-rejection", "log/data"}
    assert {frame.content_type for frame in found} <= known


@pytest.mark.parametrize("name", WHOLE)
def test_frames_reassemble_to_the_bytes_of_the_capture(name: str) -> None:
    assert b"".join(captures.raw_frames(name)) == captures.from_node(name)


@pytest.mark.parametrize("name", captures.NAMES)
def test_one_byte_at_a_time_gives_the_same_frames(name: str) -> None:
    data = captures.from_node(name)
    assert outcome([data[at : at + 1] for at in range(len(data))]) == outcome([data])


@pytest.mark.parametrize("name", [name for name in WHOLE if len(captures.from_node(name)) < 4000])
def test_every_two_way_split_gives_the_same_frames(name: str) -> None:
    data = captures.from_node(name)
    expected = outcome([data])
    for at in range(len(data) + 1):
        assert outcome([data[:at], data[at:]]) == expected


@pytest.mark.parametrize("name", [name for name in WHOLE if len(captures.from_node(name)) >= 4000])
def test_every_two_way_split_of_each_pair_of_frames_gives_the_same_frames(name: str) -> None:
    # Between frames the framer is as new (asserted above), so two neighbors stand for the whole capture.
    pieces = captures.raw_frames(name)
    for first, second in sorted(set(itertools.pairwise(pieces))):
        pair = first + second
        expected = outcome([pair])
        for at in range(len(pair) + 1):
            assert outcome([pair[:at], pair[at:]]) == expected


def test_cut_off_userauth_reply_is_a_framing_error_not_another_frames_body() -> None:
    found, error = outcome([captures.from_node(captures.CUT_OFF)])
    assert [frame.content_type for frame in found] == ["auth/request"]
    assert error == "two frames run together: a command reply with a body"


def test_headers_of_replies_and_events_come_in_either_order() -> None:
    reply, event = captures.frames(b"".join(captures.raw_frames("05-event-json-hb1")[2:4]))
    assert (reply.content_type, reply.reply_text) == ("command/reply", "+OK event listener enabled json")
    assert list(event.headers) == ["content-length", "content-type"]
    assert len(event.body) == 896


# Rules of the framing


def test_header_names_and_content_type_are_read_in_any_case() -> None:
    (frame,) = captures.frames(b"CONTENT-LENGTH: 2\ncontent-TYPE: API/Response\n\nhi")
    assert frame == Frame("api/response", {"content-length": "2", "content-type": "API/Response"}, b"hi")


def test_crlf_line_ends_and_blank_lines_between_frames_are_taken() -> None:
    data = b"\r\n\nContent-Type: api/response\r\nContent-Length: 4\r\n\r\ntrue\r\n\n" + GREETING
    framer = Framer()
    assert [(frame.content_type, frame.body) for frame in framer.feed(data)] == [
        ("api/response", b"true"),
        ("auth/request", b""),
    ]
    assert not framer.inside_frame


def test_content_length_counts_bytes_not_characters() -> None:
    body = "café".encode()
    (frame,) = captures.frames(b"Content-Type: api/response\nContent-Length: 5\n\n" + body)
    assert frame.text == "café"


def test_unknown_content_type_is_a_frame_like_any_other() -> None:
    found = captures.frames(b"Content-Type: text/news\nContent-Length: 3\n\nabc" + GREETING)
    assert [frame.content_type for frame in found] == ["text/news", "auth/request"]


@pytest.mark.parametrize("length", ["-1", "+5", "0x10", "1e3", "1 2", "", "٣", "5;", "five"])
def test_content_length_must_be_digits(length: str) -> None:
    with pytest.raises(FramingError, match="not a number"):
        captures.frames(f"Content-Type: api/response\nContent-Length: {length}\n\n".encode())


@pytest.mark.parametrize("length", [str(wire.MAX_BODY + 1), "9" * 19, "9" * 5000])
def test_body_above_the_cap_is_refused_before_it_comes(length: str) -> None:
    with pytest.raises(FramingError, match="body of more than"):
        captures.frames(f"Content-Type: api/response\nContent-Length: {length}\n\n".encode())


def test_body_at_the_cap_is_awaited() -> None:
    framer = Framer()
    assert not list(framer.feed(b"Content-Type: api/response\nContent-Length: %d\n\n" % wire.MAX_BODY))
    assert framer.inside_frame


def test_header_block_at_the_cap_passes_and_one_byte_more_does_not() -> None:
    start = b"Content-Type: auth/request\nX: "
    fitting = start + b"y" * (wire.MAX_HEADER_BLOCK - len(start) - 2) + b"\n\n"
    assert len(fitting) == wire.MAX_HEADER_BLOCK
    assert len(captures.frames(fitting)) == 1
    with pytest.raises(FramingError, match="header block"):
        captures.frames(start + b"y" * (wire.MAX_HEADER_BLOCK - len(start) - 1) + b"\n\n")


def test_header_block_without_end_is_refused_at_the_cap() -> None:
    found, error = outcome([b"ab"] * wire.MAX_HEADER_BLOCK)
    assert not found
    assert error == "a header block of more than 65536 bytes"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "without a name"),
        (b": no name\n\n", "without a name"),
        (b"Reply-Text: +OK\n\n", "without a content type"),
        (b"Content-Type: command/reply\nReply-Text: +OK\nReply-Text: +OK\n\n", "twice"),
        (b"Content-Type: api/respContent-Type: text/disconnect-notice\n\n", "without a content type"),
    ],
)
def test_what_no_event_socket_sends_is_a_framing_error(data: bytes, reason: str) -> None:
    with pytest.raises(FramingError, match=reason):
        captures.frames(data)


def test_frames_before_a_fault_are_delivered_and_none_after_it() -> None:
    found, error = outcome([GREETING, GREETING + b"nonsense\n\n" + GREETING])
    assert [frame.content_type for frame in found] == ["auth/request", "auth/request"]
    assert error == "a header line without a name and a colon"


def test_a_broken_framer_stays_broken() -> None:
    framer = Framer()
    for data in (b"nonsense\n\n", GREETING, b""):
        with pytest.raises(FramingError, match="without a name"):
            list(framer.feed(data))


@pytest.mark.parametrize("encoding", ["json", "plain"])
def test_notice_in_the_middle_of_a_frame_never_yields_an_event(encoding: str) -> None:
    name = {"json": "05-event-json-hb1", "plain": "06-event-plain-hb1"}[encoding]
    heartbeat = captures.raw_frames(name)[3]
    for at in range(1, len(heartbeat)):
        found, error = outcome([heartbeat[:at] + NOTICE + heartbeat])
        if error is None:
            pytest.fail(f"cut at {at}: no framing error")
        events = [wire.decode_event(frame) for frame in found]
        assert not any(events), f"cut at {at}"


# Events


def test_json_and_plain_say_the_same() -> None:
    json_event = wire.decode_event(captures.frames(FIRST_HEARTBEAT)[0])
    plain_event = wire.decode_event(captures.frames(captures.raw_frames("06-event-plain-hb1")[3])[0])
    assert json_event is not None
    assert plain_event is not None
    assert json_event.name == plain_event.name == "HEARTBEAT"
    assert list(json_event.headers) == list(plain_event.headers)
    assert len(json_event.headers) == 27
    assert json_event.headers["freeswitch-ipv6"] == plain_event.headers["freeswitch-ipv6"] == "fd00::2"
    assert plain_event.headers["up-time"].startswith("0 years, 0 days, 0 hours, 1 minute, 14 seconds")


def test_odd_header_values_of_a_real_node_are_read() -> None:
    frames = captures.frames(captures.from_node("49-encodings"))
    first, invalid_utf8, plain = [event for frame in frames if (event := wire.decode_event(frame))]
    assert first.headers["x-utf8"] == plain.headers["x-utf8"] == "café"
    assert invalid_utf8.headers["x-utf8"] == "caf\N{REPLACEMENT CHARACTER}"
    assert first.headers["x-dup"] == plain.headers["x-dup"] == "3"  # three times, in two spellings: the last
    assert first.headers["x-plus"] == plain.headers["x-plus"] == "a+b c"
    assert first.headers["x-pct"] == "%41%zz 100%"


def test_plain_event_ends_at_its_blank_line_and_empty_values_are_empty() -> None:
    body = b"Event-Name: CUSTOM\nX-Empty: _undef_\n\nEvent-Name: HEARTBEAT\n"
    event = wire.decode_event(Frame(wire.EVENT_PLAIN, {}, body))
    assert event == wire.Event("CUSTOM", {"event-name": "CUSTOM", "x-empty": ""})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'["Event-Name","HEARTBEAT"]',
        b'{"Event-Name":1}',
        b'{"Event-Name":["HEARTBEAT"]}',
        b'{"Event-Name":"HEARTBEAT"',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
        b"\xff\xfe",
    ],
)
def test_json_that_is_no_event_is_none(body: bytes) -> None:
    assert wire.decode_event(Frame(wire.EVENT_JSON, {}, body)) is None


def test_json_oddities_leave_the_text_headers() -> None:
    body = b'{"Event-Name":"heartbeat","A":["1","2"],"B":{"C":"D"},"E":1,"F":"\\ud800","f":"\\ud83d\\ude00"}'
    event = wire.decode_event(Frame(wire.EVENT_JSON, {}, body))
    assert event == wire.Event("HEARTBEAT", {"event-name": "heartbeat", "f": "\N{GRINNING FACE}"})


def test_lone_surrogates_do_not_get_through() -> None:
    event = wire.decode_event(Frame(wire.EVENT_JSON, {}, b'{"Event-Name":"X","Core-UUID":"a\\udc00b"}'))
    assert event is not None
    assert event.headers["core-uuid"].encode() == b"a?b"


def test_replies_are_no_events() -> None:
    assert wire.decode_event(Frame(wire.API_RESPONSE, {}, b"true")) is None


# Commands


def test_commands_are_byte_for_byte_those_of_the_captures() -> None:
    assert captures.from_client("01-auth-ok") == wire.login_command(Credentials("ClueCon")) + wire.command("exit")
    userauth = wire.login_command(Credentials("lbpass", user="lb@127.0.0.2"))
    assert captures.from_client("45-userauth").startswith(userauth)


@pytest.mark.parametrize("bad", ["\n", "\r", "\0", "a\nb", "\ud800"])
@pytest.mark.parametrize("field", ["user", "password"])
def test_credentials_that_leave_their_line_are_refused_by_name_not_value(field: str, bad: str) -> None:
    values = {"user": "somebody", "password": "hidden"} | {field: f"secret{bad}"}
    with pytest.raises(ValueError, match=f"the Event Socket {field} ") as caught:
        Credentials(values["password"], user=values["user"])
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_user_with_a_colon_is_refused() -> None:
    with pytest.raises(ValueError, match="user must not hold a colon"):
        Credentials("secret", user="a:b@c")


def test_password_may_hold_colons_at_signs_spaces_and_any_script() -> None:
    assert wire.login_command(Credentials("p:a@s s é")) == "auth p:a@s s é\n\n".encode()


def test_password_is_in_no_representation() -> None:
    assert "secret" not in repr(Credentials("secret", user="lb@x"))
    assert "secret" not in str(Credentials("secret"))


def test_command_of_more_than_one_line_is_refused() -> None:
    with pytest.raises(ValueError, match="one line"):
        wire.command("status\n\napi fsctl shutdown now")


# Properties

_LINES = st.sampled_from(
    [
        b"Content-Type: auth/request\n",
        b"Content-Type: text/event-json\n",
        b"content-length: 12\n",
        b"Content-Length: 99999999999\n",
        b"Reply-Text: +OK\n",
        b"\n",
        b"\r\n",
        b'{"Event-Name":"HEARTBEAT"}',
        NOTICE,
        FIRST_HEARTBEAT,
    ]
)
_STREAMS = st.lists(st.one_of(_LINES, st.binary(max_size=40)), max_size=12).map(b"".join)


@given(_STREAMS, st.lists(st.integers(0, 3000), max_size=6))
def test_any_bytes_cut_anywhere_give_the_same_and_nothing_but_framing_errors(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    assert outcome(pieces) == outcome([data])


@given(st.sampled_from([wire.EVENT_JSON, wire.EVENT_PLAIN]), st.binary(max_size=300))
def test_any_event_body_decodes_to_an_event_or_none(content_type: str, body: bytes) -> None:
    event = wire.decode_event(Frame(content_type, {}, body))
    assert event is None or event.name


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)


@given(_JSON)
def test_any_json_decodes_to_an_event_or_none(document: object) -> None:
    event = wire.decode_event(Frame(wire.EVENT_JSON, {}, json.dumps(document).encode()))
    assert event is None or all(isinstance(value, str) for value in event.headers.values())
