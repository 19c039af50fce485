"""Who may use the admin verbs of this process, from its configuration: the guard that the HTTP interface asks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from switchtender.config import admin_token
from switchtender.config.admin_token import NoTokenError, TokenFile
from switchtender.config.state_dir import StateDir
from switchtender.http.admin import Closed, ForbiddenError, Guard, OneToken
from switchtender_api.v1alpha1.http import HttpAdmin

log = logging.getLogger(__name__)

_NOWHERE = "no token can be kept in stateDir: set spec.http.admin.tokenFrom, or let the balancer write to stateDir"


def by_token(admin: HttpAdmin, state_dir: StateDir, environ: Mapping[str, str]) -> Guard:
    """Whoever shows the token that the configuration names; if it names none, the one that ``state_dir`` keeps."""
    if admin.token_from is not None:
        source = admin_token.named(admin.token_from, environ)
    else:
        file = state_dir.made_once(admin_token.FILE, admin_token.fresh)
        if file is None:
            log.warning("nobody may use the admin verbs: %s", _NOWHERE)
            return Closed(_NOWHERE)
        source = TokenFile(file)
    return OneToken(_or_forbidden(source), source.place)


def _or_forbidden(read: Callable[[], str]) -> Callable[[], str]:
    def known() -> str:
        try:
            return read()
        except NoTokenError as error:
            raise ForbiddenError(f"nobody may use the admin verbs: {error}") from None

    return known
