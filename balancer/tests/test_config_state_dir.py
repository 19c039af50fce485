"""The directory that outlives a restart: keys stay, strangers are kept out, trouble is said once."""

import json
import logging
import stat

import pytest

from switchtender.config.state_dir import StateDir, StateDirCorruptError, StateDirInUseError, TokenKey


def test_keys_survive_and_only_their_owner_may_read_them(tmp_path):
    first = StateDir(tmp_path / "state")
    keys = first.keys
    first.close()
    second = StateDir(tmp_path / "state")
    assert second.keys == keys
    assert stat.S_IMODE((tmp_path / "state" / "keys.json").stat().st_mode) == 0o600
    second.close()


def test_a_second_process_is_refused(tmp_path):
    first = StateDir(tmp_path)
    with pytest.raises(StateDirInUseError, match=r"spec\.stateDir"):
        StateDir(tmp_path)
    first.close()
    StateDir(tmp_path).close()


def test_a_directory_that_cannot_be_made_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        state = StateDir(tmp_path / "file" / "state")
    assert len(caplog.records) == 1
    assert not state.writable
    assert len(state.keys) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 1}',
        '{"format": 1, "keys": []}',
        '{"format": 2, "keys": []}',
        '{"format": 1, "keys": [{"id": 1, "secret": "AAAA"}]}',
        '{"format": 1, "keys": [{"id": 1, "secret": "***"}]}',
        json.dumps({"format": 1, "keys": [{"id": 300, "secret": TokenKey(1, bytes(64)).as_json()["secret"]}]}),
    ],
)
def test_a_file_that_is_none_of_ours_is_not_overwritten(tmp_path, text):
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(StateDirCorruptError):
        StateDir(tmp_path)
    assert (tmp_path / "keys.json").read_text() == text


def test_a_corrupt_file_gives_the_lock_back(tmp_path):
    (tmp_path / "keys.json").write_text("")
    with pytest.raises(StateDirCorruptError):
        StateDir(tmp_path)
    (tmp_path / "keys.json").unlink()
    StateDir(tmp_path).close()


def test_a_key_never_shows_its_secret():
    key = TokenKey(3, b"s" * 64)
    assert "s" * 4 not in repr(key).replace("secret", "")
    assert TokenKey.fresh(frozenset(range(1, 255))).id == 255
