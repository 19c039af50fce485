"""A password is in the model and nowhere else: no text, dump or error made of it shows it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import string
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from switchtender_api.loader import load
from switchtender_api.problems import DocumentErrors, Finding
from switchtender_api.static_members import resolved_members
from switchtender_api.v1alpha1 import BalancerGroup
from switchtender_api.v1alpha1.passwords import PasswordFrom, resolve

MARK = "q7Zx"
# Every password holds MARK, which stands nowhere else, so that finding it in a text means a leak.
secrets = st.text(string.printable.replace("\r", "").replace("\n", ""), max_size=20).map(lambda text: MARK + text)


def group(load_url: object, esl: object = None) -> dict[str, object]:
    member = {"name": "fs1", "sip": "sip:192.0.2.1", "load": load_url}
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerGroup",
        "metadata": {"name": "ivr"},
        "spec": {"members": {"static": [member]}, "esl": esl or {}},
    }


def shown(value: object) -> str:
    return "\n".join((str(value), repr(value), f"{value}", f"{value!a}", format(value)))


@given(secrets)
def test_no_text_or_dump_of_a_group_shows_the_password(secret):
    model = BalancerGroup.model_validate(group(f"fs://:{quote(secret, safe='')}@192.0.2.1"))
    url = model.spec.members.static[0].load
    assert url is not None
    assert url.password is not None
    assert url.password.get_secret_value() == secret
    resolution = resolved_members(model, environ={}, read_file=str)
    for text in (
        shown(model),
        shown(url),
        shown(resolution),
        str(model.model_dump()),
        repr(model.model_dump(mode="json")),
        model.model_dump_json(),
        json.dumps(model.model_dump(), default=str),
        resolution.members[0].member.model_dump_json(),
        logging.LogRecord("x", 0, "x", 0, "%s %r", (model, url), None).getMessage(),
    ):
        assert MARK not in text


def test_a_copy_keeps_the_password():
    model = BalancerGroup.model_validate(group(f"fs://:{MARK}@192.0.2.1"))
    assert copy.deepcopy(model) == model
    assert pickle.loads(pickle.dumps(model)) == model


@given(
    secrets,
    st.sampled_from(
        ["fs://:{}192.0.2.1", "fs://:{}@192.0.2.1:99999", "fs:/{}", "{}", "fs://{}@x@192.0.2.1", "fs://:{}%zz@h"]
    ),
)
def test_no_error_about_a_url_shows_it(secret, form):
    with pytest.raises(ValidationError) as caught:
        BalancerGroup.model_validate(group(form.format(secret) + "\n"))
    assert MARK not in shown(caught.value)
    assert MARK not in "".join(traceback.format_exception(caught.value))


@given(
    secrets,
    st.sampled_from(["fs://:{}@192.0.2.1:99999", "fs://{}", "{}", "x{}@y@z"]),
    st.sampled_from(["load", "sip", "name", "laod"]),
)
def test_no_problem_of_a_file_shows_a_misplaced_url(secret, form, field):
    document = group("fs://x:y@192.0.2.1")
    document["spec"]["members"]["static"][0][field] = "fs:" + form.format(secret) + "\n"
    with pytest.raises(DocumentErrors) as caught:
        load(json.dumps(document), "file.yaml")
    assert MARK not in shown(caught.value) + repr(caught.value.problems)


@given(st.text(string.printable, max_size=30), st.text(string.printable, max_size=30))
def test_no_problem_of_any_text_shows_what_stands_at_load(before, after):
    text = f"spec:\n  members:\n    static:\n    - load: {before}{MARK}{after}\n"
    with pytest.raises(DocumentErrors) as caught:
        load(text, "file.yaml")
    for problem in caught.value.problems:
        if MARK in problem.render():
            # Only a text that became a field of its own, an unknown one, may be named.
            assert problem.message.startswith("unknown field") or problem.path == "kind"
            assert "fs:" not in problem.render()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ({"env": "PW"}, "hunter2"),
        ({"file": "/run/pw"}, "hunter3"),
        ({"file": "/run/crlf"}, "hunter4"),
        ({"file": "/run/space"}, " hunter5 "),
    ],
)
def test_a_password_from_elsewhere(source, found):
    files = {"/run/pw": "hunter3\n", "/run/crlf": "hunter4\r\n", "/run/space": " hunter5 "}
    outcome = resolve(PasswordFrom(**source), environ={"PW": "hunter2"}, read_file=files.__getitem__, path=("x",))
    assert not isinstance(outcome, Finding)
    assert outcome.get_secret_value() == found
    assert found not in repr(outcome)


def unreadable(path: str) -> str:
    raise {
        "/missing": FileNotFoundError(2, "No such file or directory"),
        "/latin1": UnicodeDecodeError("utf-8", b"q7Zx", 0, 1, ""),
    }[path]


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        ({"env": "UNSET"}, "env", "the environment variable UNSET is not set"),
        ({"env": "EMPTY"}, "env", "the environment variable EMPTY: the password is empty"),
        ({"env": "LINES"}, "env", "the environment variable LINES: the password holds a line break or NUL"),
        ({"file": "/missing"}, "file", "cannot read /missing: No such file or directory"),
        ({"file": "/latin1"}, "file", "/latin1 is not UTF-8"),
        ({"secretKeyRef": {"name": "esl"}}, "secretKeyRef", "a Secret is read in Kubernetes only"),
    ],
)
def test_a_password_that_cannot_be_had(source, path, message):
    environ = {"EMPTY": "", "LINES": f"{MARK}\n{MARK}"}
    outcome = resolve(PasswordFrom.model_validate(source), environ=environ, read_file=unreadable, path=("esl",))
    assert isinstance(outcome, Finding)
    assert (outcome.path, outcome.message) == (("esl", path), message)
    assert MARK not in repr(outcome)
