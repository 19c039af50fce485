"""The certificate in use by the HTTP interface: exchanged when its files change, and kept when what came is no good."""

from __future__ import annotations

import asyncio
import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path

from switchtender.config.certificate import CertificateError, read_pair, read_trust, timeliness
from switchtender.sources.file import Identity, identity
from switchtender.telemetry.journal import Journal, Severity
from switchtender_api.v1alpha1.http import HttpTls

log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two looks at the files, and for which they must have been as they are to be read."""


class HttpCertificate:
    """What ``spec.http.tls`` names. Raises CertificateError.

    ``context`` is for the server, for its whole life: each handshake goes on with the pair of that moment.
    """

    def __init__(self, tls: HttpTls) -> None:
        self._tls = tls
        self._read_at = self._identities()
        self._pair = read_pair(tls)
        self._trust = read_trust(tls)
        self.context = self._pair.context
        self.context.sni_callback = self._choose
        if (untimely := timeliness(self._pair, datetime.now(UTC))) is not None:
            log.warning("spec.http.tls: the certificate in %s %s", tls.certificate_file, untimely)

    def expires(self) -> float:
        """When the pair in use does, in seconds of the epoch."""
        return self._pair.expires.timestamp()

    def trust(self) -> ssl.SSLContext:
        """What peers must show now."""
        return self._trust

    async def follow(self, journal: Journal) -> None:
        """Take changed files up, for ever."""
        before = self._read_at
        while True:
            await asyncio.sleep(POLL)
            now = self._identities()
            if now == before and now != self._read_at and None not in now:
                await self._take_up(now, journal)
            before = now

    async def _take_up(self, now: tuple[Identity, ...], journal: Journal) -> None:
        self._read_at = now
        try:
            pair, trust = await asyncio.to_thread(lambda: (read_pair(self._tls), read_trust(self._tls)))
        except CertificateError as error:
            said = f"the certificate of the HTTP interface stays as it is: {error}"
            journal.record(
                "Configuration", "CertificateRefused", said, severity="error", details={"field": error.field}
            )
            return
        self._pair, self._trust = pair, trust
        details = {"expires": f"{pair.expires:%Y-%m-%dT%H:%M:%SZ}"}
        untimely = timeliness(pair, datetime.now(UTC))
        said = "the certificate of the HTTP interface was exchanged" + ("" if untimely is None else f": it {untimely}")
        severity: Severity = "info" if untimely is None else "warning"
        journal.record("Configuration", "CertificateExchanged", said, severity=severity, details=details)

    def _identities(self) -> tuple[Identity, ...]:
        files = (self._tls.certificate_file, self._tls.key_file, self._tls.ca_file)
        return tuple(identity(Path(file)) for file in files if file is not None)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        connection.context = self._pair.context
