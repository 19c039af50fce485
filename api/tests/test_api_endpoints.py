"""Hosts, SIP URIs and fs:// URLs: what is read, what it means, what is written back."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.endpoints import (
    Endpoint,
    EslUrl,
    SipUri,
    parse_endpoint,
    parse_esl_url,
    parse_host,
    parse_sip_uri,
)

WIRE_BREAKERS = "\r\n\0"
hosts = st.one_of(
    st.ip_addresses(v=4).filter(lambda a: not (a.is_unspecified or a.is_multicast)).map(str),
    st.ip_addresses(v=6).filter(lambda a: not (a.is_unspecified or a.is_multicast or a.ipv4_mapped)).map(str),
    st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,10}[a-z0-9])?){0,3}", fullmatch=True),
)
ports = st.one_of(st.none(), st.integers(1, 65535))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=WIRE_BREAKERS), min_size=1, max_size=40)
users = st.one_of(st.none(), texts.filter(lambda text: ":" not in text))
passwords = st.one_of(st.none(), texts.map(SecretStr))


@given(st.builds(EslUrl, hosts, ports, users, passwords))
def test_an_fs_url_survives_writing_and_reading(url):
    assert parse_esl_url(url.reveal()) == url


@given(st.builds(SipUri, hosts, ports, st.sampled_from([None, "UDP", "TCP"])))
def test_a_sip_uri_survives_writing_and_reading(uri):
    assert parse_sip_uri(str(uri)) == uri


@given(st.builds(Endpoint, hosts, st.integers(1, 65535)))
def test_an_endpoint_survives_writing_and_reading(endpoint):
    assert parse_endpoint(str(endpoint)) == (endpoint.host, endpoint.port)


@given(st.text(max_size=60))
def test_any_text_is_an_fs_url_or_refused(text):
    for candidate in (text, f"fs://{text}"):
        try:
            url = parse_esl_url(candidate)
        except Refusal:
            continue
        assert parse_esl_url(url.reveal()) == url


@given(st.text(max_size=60))
def test_any_text_is_a_sip_uri_or_refused(text):
    for candidate in (text, f"sip:{text}"):
        try:
            uri = parse_sip_uri(candidate)
        except Refusal:
            continue
        assert parse_sip_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "host", "port", "user", "password"),
    [
        ("fs://:ClueCon@192.168.1.38", "192.168.1.38", None, None, "ClueCon"),
        ("fs://:ClueCon@192.168.1.38:8022", "192.168.1.38", 8022, None, "ClueCon"),
        ("fs://admin:ClueCon@fs1.example.com", "fs1.example.com", None, "admin", "ClueCon"),
        ("fs://admin%40example.com:ClueCon@10.0.0.1", "10.0.0.1", None, "admin@example.com", "ClueCon"),
        ("fs://:p%40ss%3Aw%25rd@10.0.0.1", "10.0.0.1", None, None, "p@ss:w%rd"),
        ("fs://:a:b@10.0.0.1", "10.0.0.1", None, None, "a:b"),
        ("fs://:a/b?c#d@10.0.0.1", "10.0.0.1", None, None, "a/b?c#d"),
        ("fs://:gr%C3%BC%C3%9Fe@10.0.0.1", "10.0.0.1", None, None, "grüße"),
        ("fs://:grüße@10.0.0.1", "10.0.0.1", None, None, "grüße"),
        ("fs://:%2525@10.0.0.1", "10.0.0.1", None, None, "%25"),
        ("fs://:ClueCon@[2001:db8::1]", "2001:db8::1", None, None, "ClueCon"),
        ("fs://:ClueCon@[2001:DB8:0::1]:8022", "2001:db8::1", 8022, None, "ClueCon"),
        ("fs://192.0.2.1", "192.0.2.1", None, None, None),
        ("fs://admin@192.0.2.1:8022", "192.0.2.1", 8022, "admin", None),
        ("fs://FS1.Example.COM.", "fs1.example.com", None, None, None),
    ],
)
def test_fs_urls_as_people_write_them(text, host, port, user, password):
    url = parse_esl_url(text)
    assert (url.host, url.port, url.user) == (host, port, user)
    assert (url.password and url.password.get_secret_value()) == password


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fs:",
        "fs://",
        "fs://@192.0.2.1",
        "fs://:@192.0.2.1",
        "fs://:pw@",
        "fs://:pw@192.0.2.1:",
        "fs://:pw@192.0.2.1:0",
        "fs://:pw@192.0.2.1:65536",
        "fs://:pw@192.0.2.1:+80",
        "fs://:pw@192.0.2.1:\uff18\uff10",
        "fs://:pw@192.0.2.1/",
        "fs://:pw@192.0.2.1?HEARTBEAT",
        "fs://:pw@2001:db8::1",
        "fs://:pw@[2001:db8::1",
        "fs://:pw@[2001:db8::1]8021",
        "fs://:pw@[192.0.2.1]",
        "fs://:pw@[fs1.example.com]",
        "fs://:pw@[fe80::1%25eth0]",
        "fs://:pw@0.0.0.0",
        "fs://:pw@224.0.0.1",
        "fs://:pw@[::ffff:192.0.2.1]",
        "fs://:pw@192.0.2.300",
        "fs://:pw@fs_1",
        "fs://:pw@-fs1",
        "fs://:p%@192.0.2.1",
        "fs://:p%4@192.0.2.1",
        "fs://:p%0Dw@192.0.2.1",
        "fs://:p%0aw@192.0.2.1",
        "fs://:p%00w@192.0.2.1",
        "fs://:p\nw@192.0.2.1",
        "fs://:%FF@192.0.2.1",
        "fs://a%3Ab:pw@192.0.2.1",
        "fs://a%0Ab:pw@192.0.2.1",
        "fs://:p@w@192.0.2.1",
        "http://:pw@192.0.2.1",
        " fs://:pw@192.0.2.1",
        "fs://:pw@192.0.2.1 ",
    ],
)
def test_other_fs_urls_are_refused(text):
    with pytest.raises(Refusal):
        parse_esl_url(text)


@given(texts, st.sampled_from(WIRE_BREAKERS), texts)
def test_a_password_never_breaks_its_line(before, breaker, after):
    with pytest.raises(Refusal):
        parse_esl_url(f"fs://:{quote(before + breaker + after, safe='')}@192.0.2.1")


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:192.168.1.38", SipUri("192.168.1.38")),
        ("SIP:192.168.1.38:5080", SipUri("192.168.1.38", 5080)),
        ("sip:[2001:db8::7]", SipUri("2001:db8::7")),
        ("sip:[2001:db8::7]:5080;transport=tcp", SipUri("2001:db8::7", 5080, "TCP")),
        ("sip:fs1.example.com;transport=UDP", SipUri("fs1.example.com", None, "UDP")),
    ],
)
def test_sip_uris_as_people_write_them(text, uri):
    assert parse_sip_uri(text) == uri


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip:;transport=udp",
        "sip:192.0.2.1;transport=tls",
        "sip:192.0.2.1;transport=udp;transport=tcp",
        "sip:192.0.2.1;lr",
        "sip:192.0.2.1?Subject=x",
        "sip:100@192.0.2.1",
        "sip:192.0.2.1:70000",
        "sip://192.0.2.1",
        "sips:192.0.2.1",
        "tel:123",
        "sip:[::]",
    ],
)
def test_other_sip_uris_are_refused(text):
    with pytest.raises(Refusal):
        parse_sip_uri(text)


@pytest.mark.parametrize(
    "text", ["1", "10.1", "010.0.0.1", "1.2.3.4.5", "a..b", "a" * 64, "exa mple", "host:1", "::1%lo", "é"]
)
def test_hosts_that_are_none(text):
    with pytest.raises(Refusal):
        parse_host(text)
