"""The HTTP interface over TLS: what of a certificate is refused, how it is exchanged while serving, who trusts it."""

import asyncio
import ipaddress
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from serve_stand import config_of, eventually, served, write

from switchtender.cli import main
from switchtender.config import http_files
from switchtender.config.certificate import CertificateError, read_pair, read_trust, timeliness
from switchtender.serve import certificates
from switchtender_api.loader import load
from switchtender_api.problems import DocumentErrors
from switchtender_api.v1alpha1.http import HttpTls

NOW = datetime.now(UTC).replace(microsecond=0)
ADDRESS = "127.0.0.87"


def key_of():
    return ec.generate_private_key(ec.SECP256R1())


def certificate_of(key, name="switchtender", begins=-1.0, ends=30.0):
    """A certificate of its own making, in PEM, valid from and until so many days from now."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=begins))
        .not_valid_after(NOW + timedelta(days=ends))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def key_pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture
def files(tmp_path):
    """Put a pair in place, each file at once; gives what `spec.http.tls` says of it."""

    def put(certificate, key):
        for name, text in (("tls.crt", certificate), ("tls.key", key)):
            fresh = tmp_path / "fresh"
            fresh.write_bytes(text)
            fresh.replace(tmp_path / name)
        return HttpTls.model_validate(document)

    document = {"certificateFile": str(tmp_path / "tls.crt"), "keyFile": str(tmp_path / "tls.key")}
    put.document = document
    return put


@pytest.fixture
def pair(files):
    key = key_of()
    return files(certificate_of(key), key_pem(key))


def test_a_good_pair_says_when_it_is_valid(pair):
    found = read_pair(pair)
    assert (found.begins, found.expires) == (NOW - timedelta(days=1), NOW + timedelta(days=30))
    assert found.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert timeliness(found, NOW) is None
    assert "not valid before" in timeliness(found, NOW - timedelta(days=2))
    assert "expired at" in timeliness(found, NOW + timedelta(days=30))


def test_a_chain_expires_with_the_first_of_it(files):
    key = key_of()
    chain = certificate_of(key) + certificate_of(key_of(), "issuer", ends=7)
    assert read_pair(files(chain, key_pem(key))).expires == NOW + timedelta(days=7)


def bad_pairs():
    key, other = key_of(), key_of()
    good = certificate_of(key)
    secret = key_pem(key, BestAvailableEncryption(b"hunter2"))
    return [
        pytest.param(good, key_pem(other), "keyFile", "is not the certificate's", id="mismatch"),
        pytest.param(good, secret, "keyFile", "is encrypted", id="encrypted"),
        pytest.param(good, b"nothing", "keyFile", "holds no private key", id="no key"),
        pytest.param(good, good, "keyFile", "holds no private key", id="certificate for a key"),
        pytest.param(b"", key_pem(key), "certificateFile", "holds no certificate", id="no certificate"),
        pytest.param(good[:200], key_pem(key), "certificateFile", "holds no certificate", id="half a certificate"),
    ]


@pytest.mark.parametrize(("certificate", "key", "field", "said"), bad_pairs())
def test_a_bad_pair_is_named_by_its_field(files, certificate, key, field, said):
    with pytest.raises(CertificateError, match=said) as refused:
        read_pair(files(certificate, key))
    assert refused.value.field == field
    assert "PRIVATE" not in str(refused.value)


def test_files_that_are_not_there_are_named(pair, tmp_path):
    for field, name in (("certificate_file", "certificateFile"), ("key_file", "keyFile")):
        with pytest.raises(CertificateError, match="No such file") as refused:
            read_pair(pair.model_copy(update={field: str(tmp_path / "absent")}))
        assert refused.value.field == name
    with pytest.raises(CertificateError, match="No such file"):
        read_trust(pair.model_copy(update={"ca_file": str(tmp_path / "absent")}))
    with pytest.raises(CertificateError, match="holds no certificate"):
        read_trust(pair.model_copy(update={"ca_file": pair.key_file}))


def checked(path, documents):
    return CliRunner().invoke(main, ["check", str(write(path, *documents)), "-o", "json"], prog_name="switchtender")


def test_check_reads_the_pair_and_says_what_is_wrong(files, tmp_path):
    key = key_of()
    config = config_of(tmp_path / "state", http={"address": "0.0.0.0", "port": 0, "tls": files.document})
    files(certificate_of(key), key_pem(key))
    result = checked(tmp_path / "c.yaml", [config])
    assert (result.exit_code, result.stderr) == (0, "")
    files(certificate_of(key, begins=-9, ends=-1), key_pem(key))
    [problem] = json.loads(checked(tmp_path / "c.yaml", [config]).stdout)["problems"]
    assert (problem["path"], "expired at" in problem["message"]) == ("spec.http.tls.certificateFile", True)
    documents = load((tmp_path / "c.yaml").read_text(), "c.yaml")
    http_files.require(documents, {})  # what expired is served: calls do not depend on it, and a metric tells
    files(certificate_of(key), key_pem(key_of()))
    with pytest.raises(DocumentErrors, match=r"spec\.http\.tls\.keyFile"):
        http_files.require(documents, {})
    [problem] = json.loads(checked(tmp_path / "c.yaml", [config]).stdout)["problems"]
    assert problem["path"] == "spec.http.tls.keyFile"


async def shown(serving, version=None):
    """The certificate that the balancer shows now, by a client that names no host."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    host, _, port = serving._serving().http.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()


def der(pem):
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


async def test_serving_over_tls_with_exchanged_files_peers_and_commands(files, tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "POLL", 0.01)
    key, later = key_of(), key_of()
    first, second = certificate_of(key), certificate_of(later, ends=60)
    (tmp_path / "ca.pem").write_bytes(first + second)
    files(first, key_pem(key))
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    tls = {**files.document, "caFile": str(tmp_path / "ca.pem")}
    http = {"address": ADDRESS, "port": port, "tls": tls}
    config = config_of(tmp_path / "state", address=ADDRESS, http=http, peers={"static": [f"{ADDRESS}:{port}"]})
    async with served(write(tmp_path / "c.yaml", config)) as serving:
        assert await shown(serving) == der(first)
        assert await shown(serving, ssl.TLSVersion.TLSv1_2) == der(first)
        trust = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        url = f"https://{ADDRESS}:{port}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            assert (await session.get(f"{url}/readyz")).status == 200
            text = await (await session.get(f"{url}/metrics")).text()
            expiry = (NOW + timedelta(days=30)).timestamp()
            told = [line for line in text.splitlines() if line.startswith("switchtender_certificate_expiry")]
            assert [line.split()[0] for line in told] == [
                'switchtender_certificate_expiry_timestamp_seconds{certificate="http"}'
            ]
            assert float(told[0].split()[1]) == expiry
        await eventually(lambda: "a peer is this process itself" in serving.messages())
        command = lambda *more: CliRunner().invoke(main, ["nodes", "--url", url, "-o", "json", *more])  # noqa: E731
        assert "is not trusted" in (await asyncio.to_thread(command)).stderr
        assert (await asyncio.to_thread(command, "--ca-file", str(tmp_path / "ca.pem"))).stdout == "[]\n"
        files(second, key_pem(key))
        await eventually(lambda: [said for said in serving.messages(40) if "stays as it is: the key" in said])
        assert await shown(serving) == der(first), "a bad pair never replaces a good one"
        files(second, key_pem(later))
        await eventually(lambda: "the certificate of the HTTP interface was exchanged" in serving.messages())
        assert await shown(serving) == der(second)
