"""The certificate of the HTTP interface and its private key, in files: read, judged, put into TLS contexts. Knows no
socket.

No text made here holds anything of a key.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from switchtender_api.v1alpha1.http import HttpTls


class CertificateError(Exception):
    """A file that cannot be used; ``field`` of ``spec.http.tls`` names it."""

    def __init__(self, field: str, message: str, accepted: str) -> None:
        super().__init__(message)
        self.field = field
        self.accepted = accepted


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key: for servers, and from when until when all of its chain is valid."""

    context: ssl.SSLContext
    begins: datetime
    expires: datetime


def read_pair(tls: HttpTls) -> Pair:
    """The pair in the files that ``tls`` names; one that is not valid now is read all the same. Raises
    CertificateError.
    """
    chain = _chain(tls.certificate_file)
    _match(chain[0], tls.key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate_file, tls.key_file, password=_no_pass_phrase)
    except (ssl.SSLError, OSError) as error:  # changed meanwhile, or too weak for OpenSSL's taste
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise CertificateError("certificateFile", f"TLS refuses {tls.certificate_file}: {reason}", "another") from None
    begins = max(certificate.not_valid_before_utc for certificate in chain)
    expires = min(certificate.not_valid_after_utc for certificate in chain)
    return Pair(context, begins, expires)


def read_trust(tls: HttpTls) -> ssl.SSLContext:
    """What peers must show: certificates that those in ``caFile`` vouch for, else those of the system. Raises
    CertificateError.
    """
    accepted = "one or more certificates, in PEM"
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except ssl.SSLError:
        raise CertificateError("caFile", f"{tls.ca_file} holds no certificate", accepted) from None
    except OSError as error:
        raise CertificateError("caFile", f"cannot read {tls.ca_file}: {error.strerror or error}", accepted) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def timeliness(pair: Pair, now: datetime) -> str | None:
    """Why the certificate is not valid at ``now``; None when it is."""
    if now >= pair.expires:
        return f"expired at {pair.expires:%Y-%m-%dT%H:%M:%SZ}"
    if now < pair.begins:
        return f"is not valid before {pair.begins:%Y-%m-%dT%H:%M:%SZ}"
    return None


def _chain(file: str) -> list[x509.Certificate]:
    accepted = "a certificate and those of its chain, in PEM"
    try:
        return x509.load_pem_x509_certificates(_read(file, "certificateFile", accepted))
    except ValueError:
        raise CertificateError("certificateFile", f"{file} holds no certificate", accepted) from None


def _match(certificate: x509.Certificate, file: str) -> None:
    accepted = "the private key of the certificate, in PEM, without a pass phrase"
    text = _read(file, "keyFile", accepted)
    try:
        key = load_pem_private_key(text, password=None)
        same = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        told = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except TypeError:
        raise CertificateError("keyFile", f"the key in {file} is encrypted", accepted) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("keyFile", f"{file} holds no private key that can be used", accepted) from None
    if same != told:
        raise CertificateError("keyFile", f"the key in {file} is not the certificate's", accepted)


def _read(file: str, field: str, accepted: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CertificateError(field, f"cannot read {file}: {error.strerror or error}", accepted) from None


def _no_pass_phrase() -> str:
    """OpenSSL would ask at the terminal."""
    return ""
