"""The record of the custom resources' revisions: a released schema never changes under its number."""

import json

import pytest
from tools.generate import __main__ as command
from tools.generate.__main__ import CRDS, REVISIONS, generated
from tools.generate.revisions import RevisionError, digest, updated

from switchtender_api.constants import CRD_REVISION
from switchtender_api.crd import KINDS, custom_resource


def definition(name="things.example.com", **spec):
    return {"metadata": {"name": name, "annotations": {"revision": "1"}}, "spec": {"group": "example.com", **spec}}


OLD, NEW = definition(), definition(scope="Namespaced")


def record(*entries):
    digests = {name: {"things.example.com": digest(body)} for name, body in (("OLD", OLD), ("NEW", NEW))}
    each = [{"revision": number, "released": released, "sha256": digests[body]} for number, released, body in entries]
    return json.dumps(each, indent=2) + "\n"


def test_the_first_record_begins_with_one():
    assert updated("", 1, [OLD]) == record((1, False, "OLD"))
    with pytest.raises(RevisionError, match=r"to 1$"):
        updated("", 2, [OLD])


def test_a_revision_that_is_not_released_follows_the_schemas():
    assert updated(record((1, False, "OLD")), 1, [NEW]) == record((1, False, "NEW"))


def test_a_released_revision_never_changes():
    assert updated(record((1, True, "OLD")), 1, [OLD]) == record((1, True, "OLD"))
    with pytest.raises(RevisionError, match=r"released with other schemas: raise CRD_REVISION in .* to 2"):
        updated(record((1, True, "OLD")), 1, [NEW])


def test_after_a_release_the_next_revision_takes_the_change():
    assert updated(record((1, True, "OLD")), 2, [NEW]) == record((1, True, "OLD"), (2, False, "NEW"))


@pytest.mark.parametrize(
    ("recorded", "revision", "wanted"),
    [
        (record((1, False, "OLD")), 2, 1),
        (record((1, True, "OLD")), 3, 2),
        (record((1, True, "OLD"), (2, True, "NEW")), 1, 3),
        (record((1, True, "OLD"), (2, False, "NEW")), 1, 2),
    ],
)
def test_no_revision_is_left_out_or_taken_back(recorded, revision, wanted):
    with pytest.raises(RevisionError, match=f"to {wanted}$"):
        updated(recorded, revision, [NEW])


def test_a_release_is_marked_once_and_stays():
    released = updated(record((1, False, "OLD")), 1, [OLD], release=True)
    assert released == record((1, True, "OLD"))
    assert updated(released, 1, [OLD]) == released


def test_the_digest_is_of_what_a_definition_says():
    assert digest(OLD) == digest({**OLD, "metadata": {"name": "other"}})
    assert digest(OLD) != digest(NEW)


def test_the_record_and_the_definitions_are_fresh():
    texts = dict(generated())
    assert json.loads(texts[REVISIONS])[-1]["revision"] == CRD_REVISION
    for path in (REVISIONS, *(CRDS / f"{custom_resource(kind)['metadata']['name']}.yaml" for kind in KINDS)):
        assert path.read_text() == texts[path], f"{path} is stale: make generate"


def test_the_developer_is_told_what_to_do(tmp_path, monkeypatch, capsys):
    recorded = json.dumps([{"revision": CRD_REVISION, "released": True, "sha256": {"things.example.com": "0"}}])
    (tmp_path / "revisions.json").write_text(recorded)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "REVISIONS", tmp_path / "revisions.json")
    for arguments in ([], ["--check"]):
        monkeypatch.setattr("sys.argv", ["generate", *arguments])
        assert command.main() == 1
        assert (
            f"raise CRD_REVISION in api/src/switchtender_api/constants.py to {CRD_REVISION + 1}"
            in capsys.readouterr().err
        )
    assert [path.name for path in tmp_path.iterdir()] == ["revisions.json"]
    assert (tmp_path / "revisions.json").read_text() == recorded
