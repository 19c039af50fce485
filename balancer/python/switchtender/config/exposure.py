"""What of the configuration lets others read along: said when it is checked and when it is served."""

from __future__ import annotations

from switchtender_api.v1alpha1.http import Http


def http_exposure(http: Http) -> str | None:
    """Why the admin token may be overheard on its way; None where it may not."""
    if http.tls is not None or http.address.is_loopback:
        return None
    return (
        f"spec.http: {http.address} is reached from other hosts, and without TLS whoever is on the way reads the admin "
        "token: set spec.http.tls, or spec.http.address to 127.0.0.1"
    )
