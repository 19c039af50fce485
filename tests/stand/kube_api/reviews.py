"""Who is who, and who may what: TokenReview and SubjectAccessReview as an API server answers them. Stores nothing."""

from dataclasses import dataclass, field

from tests.stand.kube_api.kinds import Json, Kind

KINDS = (
    Kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False),
    Kind("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False),
)


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a token belongs to, and for which audiences it was made out."""

    username: str
    audiences: tuple[str, ...]
    groups: tuple[str, ...] = ("system:authenticated",)
    uid: str = "uid-of-the-account"


@dataclass(slots=True)
class Reviews:
    """``accounts`` by token; ``allowed``: user, path and verb of what is no resource."""

    accounts: dict[str, Account] = field(default_factory=dict)
    allowed: set[tuple[str, str, str]] = field(default_factory=set)

    def answer(self, kind: Kind, body: Json) -> Json:
        """The object with its status."""
        spec = body["spec"]
        status = self._who(spec) if kind.plural == "tokenreviews" else self._may(spec)
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}, "spec": spec, "status": status}

    def _who(self, spec: Json) -> Json:
        account = self.accounts.get(spec["token"])
        audiences = [] if account is None else [name for name in spec["audiences"] if name in account.audiences]
        if account is None or not audiences:
            return {"user": {}, "error": "[invalid bearer token, token audiences are not the ones asked for]"}
        user = {"username": account.username, "uid": account.uid, "groups": list(account.groups)}
        return {"authenticated": True, "user": user, "audiences": audiences}

    def _may(self, spec: Json) -> Json:
        asked = spec["nonResourceAttributes"]
        return {"allowed": (spec["user"], asked["path"], asked["verb"]) in self.allowed}
