"""Where a command finds the token of a balancer, to whom it is sent, and what is said when there is none."""

import pytest
from click.testing import CliRunner

from switchtender.cli import main
from switchtender.cli.client import ApiError, BalancerApi
from switchtender.cli.token import Token, TokenError, find_token

HERE = "http://127.0.0.1:8080"


@pytest.fixture
def file(tmp_path):
    def holding(text, name="token"):
        path = tmp_path / name
        path.write_bytes(text)
        return path

    return holding


def test_the_option_wins_over_the_environment_and_both_over_the_default(file):
    named, default = file(b"named-token\n"), file(b"default-token\n", "default")
    variable = {"SWITCHTENDER_TOKEN": "variable-token", "SWITCHTENDER_TOKEN_FILE": str(file(b"filed", "filed"))}
    assert find_token(named, HERE, environ=variable, default=default).value == "named-token"
    assert find_token(None, HERE, environ=variable, default=default).value == "variable-token"
    del variable["SWITCHTENDER_TOKEN"]
    assert find_token(None, HERE, environ=variable, default=default).value == "filed"
    assert find_token(None, HERE, environ={}, default=default).value == "default-token"


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://127.0.0.1:8080", True),
        ("https://127.0.0.9", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://192.0.2.1:8080", False),
        ("http://localhost.example.com", False),
        ("http://example.com", False),
        ("http://[::1", False),
    ],
)
def test_the_token_of_this_host_goes_to_no_other(file, url, sent):
    found = find_token(None, url, environ={}, default=file(b"default-token"))
    assert (found.value is not None) is sent
    assert "default-token" not in found.advice + repr(found)


def test_a_token_that_was_named_goes_wherever_it_is_told_to(file):
    assert find_token(file(b"named-token"), "http://192.0.2.1", environ={}).value == "named-token"


def test_no_token_is_no_failure_and_the_advice_says_what_to_do(tmp_path):
    found = find_token(None, HERE, environ={}, default=tmp_path / "admin-token")
    assert found.value is None
    assert str(tmp_path / "admin-token") in found.advice
    assert "--token-file" in found.advice


def test_a_file_of_somebody_else_is_said_to_be_so(file, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    default = file(b"default-token")
    monkeypatch.setattr(type(default), "read_text", refused)
    assert "may not be read by this user" in find_token(None, HERE, environ={}, default=default).advice


@pytest.mark.parametrize("text", [b"", b"\n", b"two words", b"two\nlines", "schlüssel".encode(), b"nul\0"])
def test_what_is_no_token_is_refused_and_not_shown(file, text):
    with pytest.raises(TokenError, match="holds no token") as refused:
        find_token(file(text), HERE, environ={})
    assert "words" not in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_named(file, tmp_path):
    with pytest.raises(TokenError, match=r"--token-file: cannot read .*absent: No such file"):
        find_token(tmp_path / "absent", HERE, environ={})
    with pytest.raises(TokenError, match="is not text"):
        find_token(file(b"\xff\xfe"), HERE, environ={})
    with pytest.raises(TokenError, match="SWITCHTENDER_TOKEN_FILE: cannot read"):
        find_token(None, HERE, environ={"SWITCHTENDER_TOKEN_FILE": str(tmp_path / "absent")})


class Recorded(BalancerApi):
    """Asks nobody, and keeps what it would have sent."""

    def __init__(self, token):
        super().__init__(HERE, token=token)
        self.sent = []
        self._opener = self

    def open(self, request, timeout):
        self.sent.append((request.full_url, dict(request.header_items())))
        raise OSError("nobody")


def test_the_token_is_sent_with_admin_verbs_alone():
    api = Recorded(Token("s3cret-token", "from a test"))
    for ask in (api.nodes, lambda: api.explain({}), lambda: api.order("fs1", "drain", {})):
        with pytest.raises(ApiError):
            ask()
    assert [headers.get("Authorization") for _, headers in api.sent] == [None, None, "Bearer s3cret-token"]


def test_a_token_that_cannot_be_had_is_one_line(tmp_path):
    result = CliRunner().invoke(main, ["drain", "fs1", "--token-file", str(tmp_path / "absent")], prog_name="x")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "absent" in result.stderr


def test_a_file_of_certificates_that_is_none_is_one_line(file):
    for text in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        arguments = ["nodes", "--url", "https://127.0.0.1:1", "--ca-file", str(file(text, "ca.pem"))]
        result = CliRunner().invoke(main, arguments, prog_name="x")
        assert (result.exit_code, "holds no certificate" in result.stderr) == (2, True)
    result = CliRunner().invoke(main, ["nodes", "--url", "https://127.0.0.1:1", "--ca-file", "/absent"], prog_name="x")
    assert (result.exit_code, result.stdout, "cannot be read" in result.stderr) == (2, "", True)
