"""What people may see of a SIP message: all of it but its secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.telemetry.masking import masked

CREDENTIALS = ("Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info")
SECRETS = ("response", "nonce", "cnonce", "opaque", "nextnonce", "rspauth", "auts", "something-new")


def test_a_request_with_credentials():
    text = (
        "REGISTER sip:example.com SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        'Authorization: Digest username="bob", realm="example.com",\r\n'
        ' nonce="84a4cc6f3082121f32b42a2187831a9e", uri="sip:example.com",\r\n'
        '\tresponse="7587245234b3434cc3412213e5f113a5432", algorithm=MD5\r\n'
        "Content-Length: 0\r\n\r\n"
    )
    assert masked(text) == (
        "REGISTER sip:example.com SIP/2.0\n"
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\n"
        'Authorization: Digest username="bob", realm="example.com", nonce=***, uri="sip:example.com", response=***,'
        " algorithm=MD5\n"
        "Content-Length: 0\n\n"
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Authorization: Basic dXNlcjpzZWNyZXQ=", "Authorization: Basic ***"),
        ("Authorization: Basic dXNlcjpzZWNyZXQ", "Authorization: Basic ***"),
        ("Authorization: Bearer abc.def=.ghi", "Authorization: Bearer ***"),
        ("Authorization: c2VjcmV0", "Authorization: ***"),
        ("Authorization: Secret c2VjcmV0", "Authorization: ***"),
        ("Authorization:", "Authorization:"),
        ("authorization  :Digest nonce=abc", "authorization  :Digest nonce=***"),
        ('Proxy-Authorization: digest RESPONSE = "a\\"b,c"', "Proxy-Authorization: Digest RESPONSE=***"),
        (
            'WWW-Authenticate: Digest realm="a, b=\\"c\\"",nonce="x"',
            'WWW-Authenticate: Digest realm="a, b=\\"c\\"", nonce=***',
        ),
        ('Proxy-Authenticate: Digest realm="x", nonce="cut off', 'Proxy-Authenticate: Digest realm="x", nonce=***'),
        ('Proxy-Authenticate: Digest nonce="x", realm="cut off', "Proxy-Authenticate: Digest nonce=***, ***"),
        ('Authentication-Info: nextnonce="47364c23432d2e131a5fb210812c"', "Authentication-Info: nextnonce=***"),
        ("To: <sip:bob:secret@example.com>", "To: <sip:bob:***@example.com>"),
        ("To: <sip:bob@example.com:5060>", "To: <sip:bob@example.com:5060>"),
        ("Route: <sip:192.0.2.1:5060;lr>, <sip:bob@192.0.2.2>", "Route: <sip:192.0.2.1:5060;lr>, <sip:bob@192.0.2.2>"),
        (
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0c2VjcmV0|2^20|1:4",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 ***",
        ),
        ("a=crypto:1 inline:c2VjcmV0", "a=crypto:1 ***"),
        ("a=crypto:c2VjcmV0", "a=crypto:***"),
        ("k=base64:c2VjcmV0", "k=***"),
        ("a=key-mgmt:mikey AQAFgM0XflABAAAA", "a=key-mgmt:***"),
        ("a=ice-ufrag:8hhY", "a=ice-ufrag:8hhY"),
        ("a=ice-pwd:YH75Fviy6338Vbrhrlp8Yh", "a=ice-pwd:***"),
        ("To: <sip:bob;day=tuesday,x:secret@example.com>", "To: <sip:bob;day=tuesday,x:***@example.com>"),
        ("Refer-To: <sip:bob@x?Authorization=Digest%20nonce%3D1&a=b>", "Refer-To: <sip:bob@x?Authorization=***&a=b>"),
        ("Subject: Authorization: Digest is a word", "Subject: Authorization: Digest is a word"),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", ""])
def test_a_line(line, shown, end):
    assert masked(f"Via: x{end or chr(10)}{line}{end}") == f"Via: x\n{shown}" + ("\n" if end else "")


secret = st.text('0123456789abcdefXYZ+/"\\ ,=;', min_size=10, max_size=30).map(lambda text: "S3" + text + "T")
harmless = st.sampled_from(
    ['realm="example.com"', 'username="bob, \\"the\\" builder"', "algorithm=MD5", "qop=auth", "nc=00000001"]
)
space = st.sampled_from(["", " ", "\t", "\r\n ", "\n\t"])


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    st.sampled_from(CREDENTIALS),
    st.sampled_from([str, str.lower, str.upper]),
    st.lists(st.one_of(harmless, st.tuples(st.sampled_from(SECRETS), secret, space)), min_size=1, max_size=6),
    space,
    st.integers(0, 40),
)
def test_no_response_and_no_nonce_gets_through(header, spelled, parameters, comma, cut):
    words, secrets = [], []
    for parameter in parameters:
        if isinstance(parameter, str):
            words.append(parameter)
        else:
            name, value, around = parameter
            words.append(f"{name}{around}={around}{quoted(value)}")
            secrets.append(quoted(value)[1:-1])
    text = f"INVITE sip:x SIP/2.0\r\n{spelled(header)}: Digest {f',{comma}'.join(words)}\r\nX: y\r\n\r\n"
    for whole in (text, text[: len(text) - cut]):  # as it came, or cut off where a trace ends it
        shown = masked(whole)
        for value in secrets:
            assert value not in shown
            assert value[:8] not in shown
    assert masked(text).endswith("\nX: y\n\n")


@given(st.text())
def test_whatever_comes_is_shown_without_a_fault(text):
    assert masked(masked(text)) == masked(text)


def test_a_header_whose_name_is_folded_hides_as_much():
    assert masked("Authorization\r\n : Digest nonce=abc\r\nX: y") == "Authorization\n : Digest nonce=***\nX: y"


LONG = 64 * 1024


@pytest.mark.parametrize(
    ("before", "repeated", "after"),
    [
        ("Authorization: Digest ", "a", ""),
        ("Authorization: Digest a", " ", ""),
        ("Authorization: Digest ", 'a="\\', ""),
        ("Authorization", "\n ", ""),
        ("Authorization: a", "\n ", ""),
        ("To: <", "sip:a:", ">"),
        ("To: <sip:a?", "?Authorization=", ">"),
        ("", "a=crypto:1 a ", ""),
        ("a=crypto:", "\n1", ""),
        ("a=crypto:1", " ", ""),
    ],
)
def test_a_message_made_to_be_slow_is_not(before, repeated, after):
    """None of them takes the square of its length, which would be minutes here."""
    shown = masked(f"Via: x\n{before}{repeated * (LONG // len(repeated))}{after}\nX: y")
    assert shown.startswith("Via: x\n")
    assert shown.endswith("\nX: y")
