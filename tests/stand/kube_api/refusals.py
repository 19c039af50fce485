"""The answers of the scripted API server that are no success, in the words of the real one."""

from tests.stand.kube_api.kinds import Json, Kind

Key = tuple[str | None, str]


class Refused(Exception):  # noqa: N818 - what it is
    """An answer that is no success: the Status object of it."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            **({"details": details} if details else {}),
            "code": code,
        }


def _of(kind: Kind, key: Key) -> Json:
    return {"name": key[1], "group": kind.group, "kind": kind.plural}


def not_found(kind: Kind, key: Key) -> Refused:
    return Refused(404, "NotFound", f'{kind.qualified} "{key[1]}" not found', _of(kind, key))


def not_served() -> Refused:
    return Refused(404, "NotFound", "the server could not find the requested resource")


def exists(kind: Kind, key: Key) -> Refused:
    return Refused(409, "AlreadyExists", f'{kind.qualified} "{key[1]}" already exists', _of(kind, key))


def modified(kind: Kind, key: Key) -> Refused:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return _conflict(kind, key, why)


def precondition(kind: Kind, key: Key, what: str, wanted: str, found: str) -> Refused:
    why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found})."
    return _conflict(kind, key, f"{why} The object might have been deleted and then recreated")


def _conflict(kind: Kind, key: Key, why: str) -> Refused:
    message = f'Operation cannot be fulfilled on {kind.qualified} "{key[1]}": {why}'
    return Refused(409, "Conflict", message, _of(kind, key))


def managed_by_others(taken: list[tuple[str, str]]) -> Refused:
    """An apply without force against fields of others: pairs of (manager, path of the field)."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{other}"', "field": path}
        for other, path in taken
    ]
    listed = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    return Refused(409, "Conflict", f"Apply failed with {len(taken)} conflicts: {listed}", {"causes": causes})


def invalid(kind: Kind, key: Key, why: str) -> Refused:
    return Refused(422, "Invalid", f'{kind.qualified} "{key[1]}" is invalid: {why}', _of(kind, key))


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequest", message)


def expired(version: int, compacted: int) -> Refused:
    return Refused(410, "Expired", f"too old resource version: {version} ({compacted})")


def too_large(version: int, present: int) -> Refused:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Too large resource version: {version}, current: {present}"
    return Refused(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})
