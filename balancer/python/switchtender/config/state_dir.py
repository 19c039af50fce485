"""``stateDir``: the token keys, kept across restarts so that established dialogs go on being routed.

One process owns a directory at a time (an advisory lock for the life of the process). A directory that cannot be
written costs one warning: the keys then live in memory.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import logging
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

KEY_BYTES = 64
"""AES-SIV with two 256-bit halves (RFC 5297)."""

_FORMAT = 1


class StateDirInUseError(Exception):
    """Another process holds this ``stateDir``: two balancers must not share one."""


class StateDirCorruptError(Exception):
    """The key file cannot be read as one.

    Replacing it would cut every established dialog, so a person decides.
    """


@dataclass(frozen=True)
class TokenKey:
    """A key of the Record-Route token: the first of a list signs, all verify."""

    id: int
    secret: bytes = field(repr=False)

    @staticmethod
    def fresh(taken: frozenset[int] = frozenset()) -> TokenKey:
        """A random key whose id is none of ``taken``."""
        key_id = secrets.choice([i for i in range(1, 256) if i not in taken])
        return TokenKey(key_id, secrets.token_bytes(KEY_BYTES))

    def as_json(self) -> dict[str, object]:
        """The shape of the key file and of the core's snapshot."""
        return {"id": self.id, "secret": base64.b64encode(self.secret).decode()}


class StateDir:
    """An open ``stateDir``; ``keys`` are usable whether or not the directory is.

    Raises StateDirInUseError, StateDirCorruptError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take_lock()
            self.keys = self._load_or_create()
            self.writable = True
        except StateDirCorruptError:
            self.close()
            raise
        except OSError as error:
            log.warning(
                "stateDir cannot be used, token keys live in memory: a restart will cut established dialogs",
                extra={"stateDir": str(path), "error": error.strerror or str(error)},
            )
            self.keys = (TokenKey.fresh(),)
            self.writable = False

    def close(self) -> None:
        """Give the directory free for the next process."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> IO[str]:
        handle = (self.path / "lock").open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise StateDirInUseError(
                f"spec.stateDir: {self.path} is in use by another process; each needs one of its own"
            ) from None
        return handle

    def _load_or_create(self) -> tuple[TokenKey, ...]:
        file = self.path / "keys.json"
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            keys = (TokenKey.fresh(),)
            _write_private(file, json.dumps({"format": _FORMAT, "keys": [key.as_json() for key in keys]}))
            return keys
        return _parse_keys(file, text)


def _parse_keys(file: Path, text: bytes) -> tuple[TokenKey, ...]:
    try:
        document = json.loads(text)
        keys = tuple(
            TokenKey(int(key["id"]), base64.b64decode(key["secret"], validate=True)) for key in document["keys"]
        )
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise StateDirCorruptError(
            f"{file}: not a key file; move it away to start with new keys (established dialogs will be lost)"
        ) from None
    if document.get("format") != _FORMAT:
        raise StateDirCorruptError(f"{file}: format {document.get('format')!r}, this version reads {_FORMAT}")
    if not keys or any(len(key.secret) != KEY_BYTES or not 0 <= key.id <= 255 for key in keys):
        raise StateDirCorruptError(f"{file}: each key needs an id of 0-255 and {KEY_BYTES} bytes")
    return keys


def _write_private(file: Path, text: str) -> None:
    """Write whole or not at all, readable by this user alone."""
    temporary = file.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(file)
