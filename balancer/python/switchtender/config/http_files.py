"""What the HTTP interface needs beside its document when a process starts: token and certificate in good order.

A later reload asks for none of it: the interface goes on with what it has, and follows those files by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from switchtender.config import admin_token
from switchtender.config.certificate import CertificateError, read_pair, read_trust, timeliness
from switchtender_api.loader import Documents
from switchtender_api.problems import DocumentErrors, Finding
from switchtender_api.v1alpha1.http import HttpTls


def require(documents: Documents, environ: Mapping[str, str], *, now: datetime | None = None) -> None:
    """Raise DocumentErrors where token or certificate cannot be used; with ``now``, where it is not valid then, too."""
    http = documents.config.spec.http
    findings = admin_token.findings(http.admin.token_from, environ)
    if http.tls is not None:
        findings += _of_certificate(http.tls, now)
    if findings:
        raise DocumentErrors(documents.problems(documents.config, findings))


def _of_certificate(tls: HttpTls, now: datetime | None) -> Iterator[Finding]:
    try:
        pair = read_pair(tls)
        if now is not None and (untimely := timeliness(pair, now)) is not None:
            message = f"the certificate in {tls.certificate_file} {untimely}"
            yield Finding(("spec", "http", "tls", "certificateFile"), message, accepted="one that is valid now")
    except CertificateError as error:
        yield Finding(("spec", "http", "tls", error.field), str(error), accepted=error.accepted)
    try:
        read_trust(tls)
    except CertificateError as error:
        yield Finding(("spec", "http", "tls", error.field), str(error), accepted=error.accepted)
