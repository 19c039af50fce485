"""The token of the admin verbs: what is one, where it is kept, what is said where there is none."""

import logging
import re
import stat

import pytest

from switchtender.config import admin_token, http_files
from switchtender.config.admin_token import NoTokenError, TokenFile, TokenVariable, findings, fresh, parse_token
from switchtender.config.exposure import http_exposure
from switchtender.config.plan import read_plan
from switchtender.config.state_dir import StateDir
from switchtender.http.admin import Closed, ForbiddenError, UnauthorizedError
from switchtender.serve.admission import by_token
from switchtender_api.problems import DocumentErrors
from switchtender_api.v1alpha1.http import Http, HttpAdmin, TokenFrom

GOOD = "0123456789abcdef"


def test_a_token_that_we_make_is_one_and_never_the_same():
    assert parse_token(fresh()) != parse_token(fresh())
    assert len(parse_token(fresh())) >= 43


@pytest.mark.parametrize("text", [GOOD, f" {GOOD}\n", "a.b-c_d~e+f/g0123==", "x" * 4096])
def test_what_is_a_token(text):
    assert parse_token(text) == text.strip()


@pytest.mark.parametrize("text", ["", "short", "x" * 4097, f"{GOOD} {GOOD}", f"{GOOD}\n{GOOD}", f"{GOOD}é", "=" * 20])
def test_what_is_no_token_is_not_repeated(text):
    with pytest.raises(NoTokenError, match="16 to 4096 letters") as refused:
        parse_token(text)
    assert GOOD not in str(refused.value)


def test_a_file_is_read_again_when_it_changes_and_admits_nobody_while_it_is_bad(tmp_path):
    path = tmp_path / "token"
    path.write_text(GOOD)
    source = TokenFile(path)
    assert (source(), source()) == (GOOD, GOOD)
    path.write_text("bad token")
    with pytest.raises(NoTokenError, match=re.escape(f"what file {path} holds is no token")):
        source()
    fresh_file = tmp_path / "new"
    fresh_file.write_text(GOOD[::-1])
    fresh_file.replace(path)
    assert source() == GOOD[::-1]
    path.unlink()
    with pytest.raises(NoTokenError, match="No such file"):
        source()
    assert GOOD[::-1] not in repr(source)


def test_a_variable_is_what_it_is():
    assert TokenVariable("A", {"A": GOOD})() == GOOD
    with pytest.raises(NoTokenError, match="environment variable A is not set"):
        TokenVariable("A", {})()
    assert GOOD not in repr(TokenVariable("A", {"A": GOOD}))


@pytest.mark.parametrize(
    ("source", "path"), [({"env": "NOT_SET"}, "tokenFrom.env"), ({"file": "/nowhere/token"}, "tokenFrom.file")]
)
def test_a_configuration_whose_token_cannot_be_had_is_refused(config_file, source, path):
    text = config_file.read_text().replace("spec:", f"spec:\n  http: {{admin: {{tokenFrom: {source}}}}}", 1)
    config_file.write_text(text)
    with pytest.raises(DocumentErrors) as refused:
        http_files.require(read_plan(config_file, environ={"ESL_PASSWORD": "geheim"}).documents, {})
    assert [problem.path for problem in refused.value.problems] == [f"spec.http.admin.{path}"]


def test_what_is_not_named_needs_no_finding():
    assert findings(None, {}) == []


async def test_the_token_made_at_the_first_start_is_kept(tmp_path):
    for _ in range(2):
        state = StateDir(tmp_path / "state")
        guard = by_token(HttpAdmin(), state, {})
        file = tmp_path / "state" / admin_token.FILE
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        token = file.read_text().strip()
        assert await guard.admit(token, "post") is None
        with pytest.raises(UnauthorizedError, match=re.escape(str(file))):
            await guard.admit(token[:-1], "post")
        state.close()
        assert file.read_text().strip() == token


async def test_where_no_token_can_be_kept_nobody_is_admitted_and_it_is_said_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    state = StateDir(tmp_path / "file" / "state")
    caplog.clear()
    guard = by_token(HttpAdmin(), state, {})
    assert isinstance(guard, Closed)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "spec.http.admin.tokenFrom" in record.getMessage()
    with pytest.raises(ForbiddenError, match=r"spec\.http\.admin\.tokenFrom"):
        await guard.admit(GOOD, "post")


async def test_a_token_that_is_named_leaves_the_state_directory_alone(tmp_path):
    state = StateDir(tmp_path)
    guard = by_token(HttpAdmin(token_from=TokenFrom(env="A")), state, {"A": GOOD})
    assert await guard.admit(GOOD, "post") is None
    assert not (tmp_path / admin_token.FILE).exists()
    state.close()


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ({}, False),
        ({"address": "::1"}, False),
        ({"address": "0.0.0.0"}, True),
        ({"address": "192.0.2.1"}, True),
        ({"address": "0.0.0.0", "tls": {"certificateFile": "/a", "keyFile": "/b"}}, False),
    ],
)
def test_a_wide_interface_without_tls_is_warned_of(http, said):
    warning = http_exposure(Http.model_validate(http))
    assert (warning is not None) is said
    assert not said or "spec.http.tls" in warning
