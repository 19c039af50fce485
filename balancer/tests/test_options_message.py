"""OPTIONS as text: what we send, and which answers are answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.drivers.options.message import Answer, Question, accepts, request, response

QUESTION = Question(
    branch="z9hG4bKabc",
    call_id="0123",
    tag="t1",
    sent_by="192.0.2.1:40000",
    target="[2001:db8::7]:5080",
    transport="UDP",
    sender="sip:probe@example.com",
)

ANSWER = (
    b"SIP/2.0 200 OK\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:40000;rport=40000;branch=z9hG4bKabc;received=192.0.2.1\r\n"
    b"From: <sip:probe@example.com>;tag=t1\r\n"
    b"To: <sip:[2001:db8::7]:5080>;tag=x\r\n"
    b"Call-ID: 0123\r\n"
    b"CSeq: 1 OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def test_the_request_has_what_rfc_3261_section_8_1_1_asks_for():
    head, end, body = request(QUESTION).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert (end, body) == (b"\r\n\r\n", b"")
    assert lines[0] == "OPTIONS sip:[2001:db8::7]:5080 SIP/2.0"
    fields = dict(line.split(": ", 1) for line in lines[1:])
    assert fields["Via"] == "SIP/2.0/UDP 192.0.2.1:40000;rport;branch=z9hG4bKabc"
    assert fields["Max-Forwards"] == "70"
    assert fields["From"] == "<sip:probe@example.com>;tag=t1"
    assert fields["To"] == "<sip:[2001:db8::7]:5080>"
    assert (fields["Call-ID"], fields["CSeq"], fields["Content-Length"]) == ("0123", "1 OPTIONS", "0")


def test_over_tcp_every_place_says_so():
    lines = request(Question(**{name: getattr(QUESTION, name) for name in Question.__slots__} | {"transport": "TCP"}))
    text = lines.decode()
    assert "OPTIONS sip:[2001:db8::7]:5080;transport=tcp SIP/2.0" in text
    assert "Via: SIP/2.0/TCP " in text
    assert "Contact: <sip:switchtender@192.0.2.1:40000;transport=tcp>" in text


def test_an_answer_is_read():
    assert response(ANSWER) == Answer(200, "OK", "z9hG4bKabc", "0123")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ((b"Via:", b"v :"), Answer(200, "OK", "z9hG4bKabc", "0123")),
        ((b"Call-ID:", b"i:"), Answer(200, "OK", "z9hG4bKabc", "0123")),
        ((b";branch=", b"\r\n ; branch = "), Answer(200, "OK", "z9hG4bKabc", "0123")),
        (
            (b"SIP/2.0 200 OK", b"SIP/2.0 503 Maximum Calls In Progress"),
            Answer(503, "Maximum Calls In Progress", "z9hG4bKabc", "0123"),
        ),
        ((b"SIP/2.0 200 OK", b"SIP/2.0 404 \xff\x00\x1b[31m"), Answer(404, "\ufffd??[31m", "z9hG4bKabc", "0123")),
        ((b"SIP/2.0 200 OK", b"SIP/2.0 200"), Answer(200, "", "z9hG4bKabc", "0123")),
        (
            (b"From:", b"Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKother\r\nFrom:"),
            Answer(200, "OK", "z9hG4bKabc", "0123"),
        ),
    ],
)
def test_spellings_of_an_answer(change, found):
    assert response(ANSWER.replace(*change, 1)) == found


@pytest.mark.parametrize(
    "change",
    [
        (b"SIP/2.0 200 OK", b"SIP/2.0 99 Low"),
        (b"SIP/2.0 200 OK", b"SIP/2.0 700 High"),
        (b"SIP/2.0 200 OK", b"SIP/2.0 2000 Long"),
        (b"SIP/2.0 200 OK", b"SIP/3.0 200 OK"),
        (b"SIP/2.0 200 OK", b"OPTIONS sip:a SIP/2.0"),
        (b"SIP/2.0 200 OK", b"HTTP/1.1 200 OK"),
        (b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE"),
        (b"CSeq: 1 OPTIONS\r\n", b""),
        (b"Call-ID: 0123\r\n", b""),
        (b";branch=z9hG4bKabc", b""),
        (b"To:", b"no colon here\r\nTo:"),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\r\n\r\n" + b"x" * 65_535),
    ],
)
def test_what_is_no_answer(change):
    assert response(ANSWER.replace(*change, 1)) is None


@given(st.binary(max_size=400))
def test_noise_is_no_answer_and_hurts_nobody(noise):
    assert response(noise) is None
    cut = len(noise) % len(ANSWER)
    mixed = response(ANSWER[:cut] + noise + ANSWER[cut:])
    assert mixed is None or 100 <= mixed.status < 700


@pytest.mark.parametrize(
    ("codes", "status", "counts"),
    [
        ((), 503, True),
        ((), 404, True),
        (("200",), 200, True),
        (("200",), 202, False),
        (("2xx", "404"), 202, True),
        (("2xx", "404"), 404, True),
        (("2xx",), 503, False),
    ],
)
def test_which_codes_count(codes, status, counts):
    assert accepts(codes, status) is counts
