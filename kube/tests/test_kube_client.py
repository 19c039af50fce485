"""The client on real sockets: what is sent, what is raised, and what never gets into a text."""

import asyncio
import base64
import datetime as dt
import ipaddress
import json
import logging
import ssl
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.stand.kube_api import KubeApi

from switchtender_kube import ApiError, Client, ConfigurationError, Conflict, NotLeader, Resource, Silence, Unreachable
from switchtender_kube.client import MERGE_PATCH
from switchtender_kube.credentials import Credentials

PODS = Resource("", "v1", "pods")
SETS = Resource("switchtender.dev", "v1alpha1", "destinationsets")
SET = {
    "apiVersion": "switchtender.dev/v1alpha1",
    "kind": "DestinationSet",
    "metadata": {"name": "ivr"},
    "spec": {"x": 1},
}
SECRET = "c2VjcmV0LXRva2Vu"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with KubeApi() as api:
        yield api


@pytest_asyncio.fixture
async def client(api: KubeApi) -> AsyncIterator[Client]:
    client = await Client.connect(server=api.url, user_agent="switchtender-operator/0.1.0")
    yield client
    await client.close()


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Any], context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server of the test's own making, for what no API server would do. Gives its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(credentials: Credentials) -> AsyncIterator[Client]:
    client = Client(credentials)
    try:
        yield client
    finally:
        await client.close()


# --- requests ---------------------------------------------------------------------------------------------------


async def test_who_asks_is_said_in_the_user_agent(api: KubeApi, client: Client) -> None:
    await client.list(PODS.path())
    assert api.requests[-1].user_agent == "switchtender-operator/0.1.0"
    assert api.requests[-1].query == {"limit": "500"}


async def test_selectors_arrive_as_they_were_meant(api: KubeApi, client: Client) -> None:
    query = {"labelSelector": "a in (x, y),b!=c+d", "fieldSelector": "metadata.name=ü&limit=1"}
    await client.get(PODS.path(), query)
    assert api.requests[-1].query == query


async def test_a_whole_list_is_put_together_and_begun_again_when_its_token_expired(
    api: KubeApi, client: Client
) -> None:
    for n in range(5):
        api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{n}"}})
    api.fail("pods", "list", 410, times=1, when=lambda request: "continue" in request.query)
    listed = await client.list(PODS.path(), {"limit": 2})
    assert [raw["metadata"]["name"] for raw in listed["items"]] == [f"p{n}" for n in range(5)]
    assert len(api.calls("list")) == 2 + 3


async def test_create_apply_replace_patch_delete(api: KubeApi, client: Client) -> None:
    path = SETS.path("voice", "ivr")
    made = await client.create(SETS.path("voice"), SET)
    applied = await client.apply(path, {**SET, "spec": {"x": 2}}, field_manager="switchtender-operator")
    assert applied["metadata"]["generation"] == 2
    replaced = await client.replace(path, {**applied, "spec": {"x": 3}})
    patched = await client.patch(path, {"spec": {"y": 4}}, MERGE_PATCH)
    assert patched["spec"] == {"x": 3, "y": 4}
    with pytest.raises(Conflict):
        await client.delete(path, uid=made["metadata"]["uid"], resource_version=replaced["metadata"]["resourceVersion"])
    await client.delete(path, uid=made["metadata"]["uid"], propagation="Background")
    assert api.objects("destinationsets") == []
    assert api.calls("apply")[0].query == {"fieldManager": "switchtender-operator", "force": "true"}
    assert api.calls("delete")[-1].body["propagationPolicy"] == "Background"


async def test_errors_carry_status_reason_message_and_retry_after(api: KubeApi, client: Client) -> None:
    api.fail("pods", "list", 429, retry_after=7, message="too many", times=1)
    with pytest.raises(ApiError) as caught:
        await client.get(PODS.path())
    error = caught.value
    assert (error.status, error.reason, error.message, error.retry_after) == (429, "TooManyRequests", "too many", 7.0)
    assert str(error) == "429 TooManyRequests: too many"
    assert error.throttled
    assert not error.expired


async def test_an_error_page_of_a_proxy_is_an_error_without_its_text(api: KubeApi, client: Client) -> None:
    api.fail("pods", "list", 502, body=b"<html>Bad Gateway</html>")
    with pytest.raises(ApiError, match=r"^502$"):
        await client.get(PODS.path())


async def test_a_success_that_is_no_json_object_is_no_answer(api: KubeApi, client: Client) -> None:
    for body in (b"<html>Welcome</html>", b"[]"):
        api.fail("pods", "list", 200, body=body, times=1)
        with pytest.raises(Unreachable, match="the answer is no"):
            await client.get(PODS.path())


async def test_a_redirect_is_an_error_and_is_not_followed() -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/login"})

    async with serving(elsewhere) as port:
        client = await Client.connect(server=f"http://127.0.0.1:{port}", token=SECRET)
        with pytest.raises(ApiError, match="302"):
            await client.get(PODS.path())
        await client.close()
    assert seen == ["/api/v1/pods"]


async def test_nobody_there_a_cut_connection_and_no_answer_in_time(api: KubeApi, client: Client) -> None:
    frozen = asyncio.create_task(client.get(PODS.path()))
    api.freeze()
    with pytest.raises(Unreachable, match="no answer in time"):
        await client.get(PODS.path(), timeout=0.1)
    api.thaw(drop=True)
    await asyncio.gather(frozen, return_exceptions=True)
    await api.stop()
    with pytest.raises(Unreachable, match="Cannot connect"):
        await client.get(PODS.path())
    await api.start()
    assert (await client.get(PODS.path()))["items"] == []


async def test_a_closed_client_says_so(client: Client) -> None:
    await client.close()
    with pytest.raises(Unreachable, match="closed"):
        await client.get(PODS.path())


async def test_more_watches_than_any_pool_do_not_stop_requests(api: KubeApi, client: Client) -> None:
    tasks = [asyncio.create_task(follow(client)) for _ in range(110)]
    await api.watched("pods", 110)
    assert (await client.get(PODS.path(), timeout=5))["items"] == []
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- streams ----------------------------------------------------------------------------------------------------


async def test_a_watch_gives_lines_of_any_length(api: KubeApi, client: Client) -> None:
    long = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "long", "annotations": {"x": "y" * (5 << 20)}}}
    api.put(long)
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "short"}})
    found = []
    async with aclosing(client.watch(PODS.path(), {})) as lines:
        async for line in lines:
            found.append(json.loads(line)["object"]["metadata"]["name"])
            if len(found) == 2:
                break
    assert found == ["long", "short"]


async def follow(client: Client, **options: Any) -> None:
    async with aclosing(client.watch(PODS.path(), {}, **options)) as lines:
        async for _ in lines:
            pass


async def test_a_watch_that_is_cut_is_unreachable(api: KubeApi, client: Client) -> None:
    task = asyncio.create_task(follow(client))
    await api.watched("pods")
    api.drop_connections()
    with pytest.raises(Unreachable) as caught:
        await task
    assert not isinstance(caught.value, Silence)


async def test_a_watch_that_is_silent_for_too_long_is_given_up(api: KubeApi, client: Client) -> None:
    with pytest.raises(Silence, match=r"not a byte in 0\.1 s"):
        await follow(client, silence=0.1)


async def test_a_watch_that_is_refused_raises_what_the_server_said(api: KubeApi, client: Client) -> None:
    api.fail("pods", "watch", 403, message="no")
    with pytest.raises(ApiError, match="403 Forbidden: no"):
        await follow(client)


async def test_a_watch_that_is_left_leaves_no_connection(api: KubeApi, client: Client) -> None:
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})
    async with aclosing(client.watch(PODS.path(), {})) as lines:
        async for _ in lines:
            break
    for _ in range(1000):
        if not api.watches("pods"):
            break
        await asyncio.sleep(0.002)
    assert api.watches("pods") == 0


# --- the fence --------------------------------------------------------------------------------------------------


class Gate:
    """A fence that is open for so many questions."""

    def __init__(self, opened: int, remaining: float = 15.0) -> None:
        self.left = opened
        self._remaining = remaining

    def __call__(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def remaining(self) -> float:
        return self._remaining


@pytest.mark.parametrize("opened", [0, 1])
async def test_behind_a_closed_fence_nothing_is_sent(api: KubeApi, client: Client, opened: int) -> None:
    """The second question is asked where the bytes go to the socket: what closed in between sends nothing either."""
    path = SETS.path("voice", "ivr")
    writes = (
        lambda fence: client.create(SETS.path("voice"), SET, fence=fence),
        lambda fence: client.replace(path, SET, fence=fence),
        lambda fence: client.patch(path, {"spec": {}}, MERGE_PATCH, fence=fence),
        lambda fence: client.apply(path, SET, field_manager="m", fence=fence),
        lambda fence: client.delete(path, fence=fence),
    )
    for write in writes:
        with pytest.raises(NotLeader):
            await write(Gate(opened))
    assert api.requests == []
    assert api.objects("destinationsets") == []
    await client.apply(path, SET, field_manager="m", fence=Gate(2))
    assert len(api.objects("destinationsets")) == 1


async def test_a_write_lasts_no_longer_than_the_lease(api: KubeApi, client: Client) -> None:
    api.freeze()
    with pytest.raises(Unreachable, match="no answer in time"):
        await client.create(SETS.path("voice"), SET, fence=Gate(9, remaining=0.1), timeout=3600)
    with pytest.raises(NotLeader):
        await client.create(SETS.path("voice"), SET, fence=Gate(9, remaining=0.0))
    with pytest.raises(Unreachable):
        await client.create(SETS.path("voice"), SET, fence=lambda: True, timeout=0.1)


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
    with pytest.raises(ConfigurationError, match="nowhere"):
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
