"""``stateDir``: what outlives the process. The token keys, so that established dialogs go on being routed, and the
admin token; in Kubernetes a copy of the shared keys and the last good snapshot.

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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

KEY_BYTES = 64
"""AES-SIV with two 256-bit halves (RFC 5297)."""

MOST_KEYS = 16
"""Keys that the packet core takes."""

_FORMAT = 1
_KEY_FILE = "keys.json"


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


class KeysUnreadableError(ValueError):
    """A text that is no key file; says why, never what it holds."""


class StateDir:
    """An open ``stateDir``; ``keys`` are usable whether or not the directory is.

    ``shared``: the keys come from elsewhere and this keeps a copy. Then none are made here, there may be none yet, and
    a copy that cannot be read costs a warning. Raises StateDirInUseError, StateDirCorruptError.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.path = path
        self.keys: tuple[TokenKey, ...] = ()
        self._lock: IO[str] | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take_lock()
            self.keys = self._load_copy() if shared else self._load_or_create()
            self.writable = True
        except StateDirCorruptError:
            self.close()
            raise
        except OSError as error:
            log.warning(
                "stateDir cannot be used, %s",
                "nothing is kept for a restart while the API server is away"
                if shared
                else "token keys live in memory: a restart will cut established dialogs",
                extra={"stateDir": str(path), "error": error.strerror or str(error)},
            )
            self.keys = () if shared else (TokenKey.fresh(),)
            self.writable = False

    def close(self) -> None:
        """Give the directory free for the next process."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def keep_keys(self, keys: tuple[TokenKey, ...]) -> None:
        """Go by these keys from now on, and keep a copy of them where that can be done."""
        self.keys = keys
        self.write(_KEY_FILE, json.dumps({"format": _FORMAT, "keys": [key.as_json() for key in keys]}))

    def read(self, name: str) -> bytes | None:
        """The file of that name; None where there is none or it cannot be read."""
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, text: str) -> None:
        """Replace the file of that name, whole or not at all; what cannot be written costs a warning."""
        if not self.writable:
            return
        try:
            _write_private(self.path / name, text)
        except OSError as error:
            where = {"file": str(self.path / name), "error": error.strerror or str(error)}
            log.warning("stateDir cannot be written to: what is in it grows old", extra=where)

    def made_once(self, name: str, text: Callable[[], str]) -> Path | None:
        """Where the file of that name is: as it was found, else made with this text for this user alone; None where
        there is none and none can be made.
        """
        file = self.path / name
        try:
            if self.writable and not file.exists():
                _write_private(file, text())
        except OSError as error:
            log.warning("%s cannot be made: %s", file, error.strerror or error)
        return file if file.is_file() else None

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
        file = self.path / _KEY_FILE
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            keys = (TokenKey.fresh(),)
            _write_private(file, json.dumps({"format": _FORMAT, "keys": [key.as_json() for key in keys]}))
            return keys
        try:
            return parse_keys(text)
        except KeysUnreadableError as error:
            raise StateDirCorruptError(f"{file}: {error}") from None

    def _load_copy(self) -> tuple[TokenKey, ...]:
        text = self.read(_KEY_FILE)
        try:
            return () if text is None else parse_keys(text)
        except KeysUnreadableError as error:
            log.warning("the copy of the token keys is left aside: %s", error, extra={"stateDir": str(self.path)})
            return ()


def parse_keys(text: bytes) -> tuple[TokenKey, ...]:
    """The keys of a key file: ``{"format": 1, "keys": [{"id", "secret": base64}]}``. Raises KeysUnreadableError."""
    try:
        document = json.loads(text)
        keys = tuple(
            TokenKey(int(key["id"]), base64.b64decode(key["secret"], validate=True)) for key in document["keys"]
        )
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise KeysUnreadableError(
            "not a key file; move it away to start with new keys (established dialogs will be lost)"
        ) from None
    if document.get("format") != _FORMAT:
        raise KeysUnreadableError(f"another format than {_FORMAT}, the one that this version reads")
    if len(keys) > MOST_KEYS:
        raise KeysUnreadableError(f"{len(keys)} keys, at most {MOST_KEYS} are taken")
    if not keys or any(len(key.secret) != KEY_BYTES or not 0 <= key.id <= 255 for key in keys):
        raise KeysUnreadableError(f"each key needs an id of 0-255 and {KEY_BYTES} bytes")
    if len({key.id for key in keys}) < len(keys):
        raise KeysUnreadableError("two keys have the same id")
    return keys


def succeeding(keys: tuple[TokenKey, ...], before: tuple[TokenKey, ...]) -> tuple[TokenKey, ...]:
    """The keys to go by once ``keys`` were told, ``before`` being those until now.

    Who rotates keys changes some of them. All of them at once means that their Secret was made anew: those before then
    verify on, or every established dialog would be cut.
    """
    if set(keys) & set(before):
        return keys
    taken = {key.id for key in keys}
    return (*keys, *(key for key in before if key.id not in taken))[:MOST_KEYS]


def _write_private(file: Path, text: str) -> None:
    """Write whole or not at all, readable by this user alone."""
    temporary = file.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(file)
