"""Credentials: where they come from, that they are read again, and that they never get into a text."""

import base64
import datetime as dt
import ipaddress
import json
import logging
import ssl
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kube_serving import serving
from tests.stand.kube_api import KubeApi

from switchtender_kube import ApiError, Client, ConfigurationError, Resource, Unreachable
from switchtender_kube.credentials import Credentials

PODS = Resource("", "v1", "pods")
SECRET = "c2VjcmV0LXRva2Vu"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with KubeApi() as api:
        yield api


@asynccontextmanager
async def connected(credentials: Credentials) -> AsyncIterator[Client]:
    client = Client(credentials)
    try:
        yield client
    finally:
        await client.close()


# --- credentials ------------------------------------------------------------------------------------------------


def account(folder: Path, token: str, port: int) -> dict[str, Any]:
    """What a pod's ServiceAccount looks like on disk."""
    (folder / "token").write_text(token + "\n")
    (folder / "ca.crt").write_text("unused")
    (folder / "namespace").write_text("voice\n")
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    return {"token_file": str(folder / "token"), "ca_file": str(folder / "ca.crt"), "environ": environ}


async def test_a_service_account_token_is_read_again_each_minute(tmp_path: Path) -> None:
    clock = [0.0]
    found = await Credentials.in_cluster(**account(tmp_path, "first", 443), clock=lambda: clock[0])
    assert found.namespace == "voice"
    assert found.configuration.host == "https://127.0.0.1:443"
    assert await found.authorization() == "Bearer first"
    (tmp_path / "token").write_text("second")
    clock[0] = 59
    assert await found.authorization() == "Bearer first"
    clock[0] = 61
    assert await found.authorization() == "Bearer second"
    (tmp_path / "token").write_text("")
    clock[0] = 200
    assert await found.authorization() == "Bearer second", "a token that is being replaced does not end us"


async def test_a_401_makes_the_token_be_read_at_once(api: KubeApi, tmp_path: Path) -> None:
    clock = [100.0]
    found = await Credentials.in_cluster(**account(tmp_path, "old", 443), clock=lambda: clock[0])
    found.configuration.host = api.url
    found.configuration.ssl_ca_cert = None
    api.token = "new"
    async with connected(found) as client:
        (tmp_path / "token").write_text("new")
        with pytest.raises(ApiError, match="401"):
            await client.get(PODS.path())  # just read: not again, however often a server says 401
        clock[0] += 6
        assert (await client.get(PODS.path()))["items"] == []


async def test_outside_of_a_pod_there_is_no_service_account(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ServiceAccount"):
        await Credentials.in_cluster(**{**account(tmp_path, "t", 1), "environ": {}})


async def test_a_kubeconfig_with_its_context_and_namespace(api: KubeApi, tmp_path: Path) -> None:
    api.token = SECRET
    file = api.kubeconfig(tmp_path / "config", namespace="voice")
    client = await Client.connect(kubeconfig=str(file))
    assert client.namespace == "voice"
    assert client.server == api.url
    assert (await client.get(PODS.path()))["items"] == []
    await client.close()


async def test_a_kubeconfig_from_the_environment(api: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config")))
    client = await Client.connect(context="scripted")
    assert (await client.get(PODS.path()))["items"] == []
    await client.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("current-context"),
        lambda document: document.update({"current-context": "other"}),
        lambda document: document["clusters"].clear(),
        lambda document: document["users"][0].update(user={"exec": {"args": [SECRET]}}),
        lambda document: document["users"][0].update(
            user={"exec": {"apiVersion": "v1", "command": "true", "args": [SECRET], "env": [{"value": SECRET}]}}
        ),
        lambda document: document["users"].append({"user": {"token": SECRET}}),
    ],
)
async def test_what_is_wrong_with_a_kubeconfig_is_said_without_its_secrets(
    api: KubeApi, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Any], Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    file = api.kubeconfig(tmp_path / "config", token=SECRET)
    document = json.loads(file.read_text())
    spoil(document)
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigurationError) as caught:
        await Client.connect(kubeconfig=str(file))
    assert str(file) in str(caught.value)
    assert SECRET not in f"{caught.value} {caught.value.__cause__} {caught.getrepr()} {caplog.text}"


async def test_no_kubeconfig_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere: there is no such file"):
        await Client.connect(kubeconfig=str(tmp_path / "nowhere"))


async def test_a_token_file_of_a_kubeconfig_is_read_again_each_minute(api: KubeApi, tmp_path: Path) -> None:
    file = api.kubeconfig(tmp_path / "config")
    document = json.loads(file.read_text())
    document["users"][0]["user"] = {"tokenFile": "token"}
    file.write_text(json.dumps(document))
    clock = [0.0]
    for n, token in enumerate(("first", "second")):
        (tmp_path / "token").write_text(token)
        clock[0] += 61
        if n == 0:
            found = await Credentials.of_kubeconfig(str(file), None, clock=lambda: clock[0])
        assert await found.authorization() == f"Bearer {token}"


def plugin(folder: Path, status: str) -> dict[str, Any]:
    """An exec credential plugin that counts its runs."""
    script = folder / "plugin"
    script.write_text(f"#!/bin/sh\necho run >> {folder}/runs\ntoken=$(cat {folder}/token)\n{status}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}}


async def test_an_exec_plugin_is_run_again_when_the_server_says_401(api: KubeApi, tmp_path: Path) -> None:
    answer = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}'
    user = plugin(tmp_path, f"printf '{answer}' $token")
    file = api.kubeconfig(tmp_path / "config")
    document = json.loads(file.read_text())
    document["users"][0]["user"] = user
    file.write_text(json.dumps(document))
    (tmp_path / "token").write_text("first")
    api.token = "first"
    clock = [0.0]
    found = await Credentials.of_kubeconfig(str(file), None, clock=lambda: clock[0])
    async with connected(found) as client:
        await client.get(PODS.path())
        clock[0] = 3600
        await client.get(PODS.path())
        (tmp_path / "token").write_text("second")
        api.token = "second"
        await client.get(PODS.path())
    assert (tmp_path / "runs").read_text().count("run") == 2


async def test_an_exec_plugin_that_fails_is_an_error_without_what_it_said(api: KubeApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    file = api.kubeconfig(tmp_path / "config")
    document = json.loads(file.read_text())
    document["users"][0]["user"] = plugin(tmp_path, "exit 3")
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigurationError, match="gave no credential"):
        await Client.connect(kubeconfig=str(file))


async def test_a_token_never_gets_into_the_text_of_an_error(api: KubeApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = await Client.connect(server=api.url, token=SECRET)
    texts = []
    api.token = "another"
    for prepare in (lambda: None, api.freeze):
        prepare()
        with pytest.raises((ApiError, Unreachable)) as caught:
            await client.get(PODS.path(), timeout=0.1)
        texts.append(f"{caught.value!r} {caught.value} {caught.getrepr(chain=True)}")
    await client.close()
    assert SECRET not in "".join(texts) + caplog.text
    assert SECRET not in repr(client)


# --- the environment --------------------------------------------------------------------------------------------


async def test_a_netrc_is_none_of_our_business(api: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client = await Client.connect(server=api.url, token=SECRET)
    await client.get(PODS.path())
    await client.close()
    assert api.requests[-1].authorization == f"Bearer {SECRET}"


async def test_a_proxy_of_the_environment_is_used_but_for_what_it_excepts(
    api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        asked.append(str(request.url))
        return web.json_response({"items": []})

    async with serving(proxy) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        for excepted in ("", "127.0.0.1"):
            monkeypatch.setenv("no_proxy", excepted)
            client = await Client.connect(server=api.url)
            await client.get(PODS.path())
            await client.close()
    assert asked == [f"{api.url}/api/v1/pods"]
    assert len(api.requests) == 1


# --- TLS --------------------------------------------------------------------------------------------------------


def authority(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A CA's file, and a server's context with a certificate of it for 127.0.0.1."""
    key, ca_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    start = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def certificate(subject: x509.Name, public: Any, *, ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .issuer_name(issuer)
            .subject_name(subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        if ca:
            usage = x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(usage, critical=True)
        else:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(ca_key, hashes.SHA256())

    pem = serialization.Encoding.PEM
    ca_file, chain = folder / "ca.crt", folder / f"{name}.pem"
    ca_file.write_bytes(certificate(issuer, ca_key.public_key(), ca=True).public_bytes(pem))
    server = certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]), key.public_key(), ca=False)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(server.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return ca_file, context


async def test_the_server_is_verified_and_a_new_ca_is_taken_without_a_restart(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"items": []}, headers={"Connection": "close"})

    _, old = authority(tmp_path, "old")
    ca = (tmp_path / "ca.crt").read_bytes()
    async with serving(answer, old) as port:
        places = account(tmp_path, "token", port)
        (tmp_path / "ca.crt").write_bytes(ca)
        async with connected(await Credentials.in_cluster(**places)) as client:
            assert await client.get(PODS.path()) == {"items": []}
            _, new = authority(tmp_path, "new")
            renewed = (tmp_path / "ca.crt").read_bytes()
            (tmp_path / "ca.crt").write_bytes(ca)
            async with serving(answer, new) as other:
                client._credentials.configuration.host = f"https://127.0.0.1:{other}"
                with pytest.raises(Unreachable, match="certificate verify failed"):
                    await client.get(PODS.path())
                with pytest.raises(Unreachable, match="certificate verify failed"):
                    await client.get(PODS.path())
                (tmp_path / "ca.crt").write_bytes(renewed)
                with pytest.raises(Unreachable, match="certificate verify failed"):
                    await client.get(PODS.path())
                assert await client.get(PODS.path()) == {"items": []}


def test_the_secret_of_these_tests_is_one() -> None:
    assert base64.b64decode(SECRET) == b"secret-token"
