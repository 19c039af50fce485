"""The operator's credentials in the shape that kopf takes. Reads what the operator's own client reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import kopf

from switchtender_kube.credentials import Credentials, find

Login = Callable[[], Awaitable[kopf.ConnectionInfo]]


def login_with(kubeconfig: str | None, context: str | None) -> Login:
    """Return a function that gives the credentials as they are when it is called.

    They are found anew each time, which happens at the start and whenever the API server says 401: so a token that
    rotated is taken up. The function raises ConfigurationError.
    """

    async def login() -> kopf.ConnectionInfo:
        return await connection(await find(kubeconfig=kubeconfig, context=context, server=None, token=None))

    return login


async def connection(credentials: Credentials) -> kopf.ConnectionInfo:
    """Return kopf's notion of the credentials."""
    configuration = credentials.configuration
    scheme, _, token = (await credentials.authorization() or "").partition(" ")
    return kopf.ConnectionInfo(
        server=str(configuration.host),
        ca_path=configuration.ssl_ca_cert or None,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file or None,
        private_key_path=configuration.key_file or None,
        scheme=scheme or None,
        token=token or None,
        proxy_url=configuration.proxy or None,
    )
