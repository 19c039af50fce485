"""What the tests of `switchtender serve --kubernetes` share: sets, Secrets, and the command in this process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from switchtender.serve.kubernetes import KubernetesServer, Options

_ROOT = str(Path(__file__).parents[2])
if _ROOT not in sys.path:  # the stand belongs to the workspace, not to a package
    sys.path.insert(0, _ROOT)

from tests.stand.kube_api import KubeApi, eventually  # noqa: E402

__all__ = ["TOKEN", "KubeApi", "Pod", "eventually", "head", "key_file", "member", "secret", "served", "slice_of"]

OWN = "switchtender-system"
TOKEN = "t0ken-of-the-operator"
KEYS = "st-config-keys"
TOKENS = "st-config-token"
GROUP_UID = "11111111-0000-4000-8000-000000000001"


def member(name: str, address: str, *, uid: str | None = None, esl: bool = False, **more: Any) -> dict[str, Any]:
    """A member of a set, by default one without an Event Socket."""
    body: dict[str, Any] = {"uid": uid or f"uid-{name}", "name": name, "addresses": [address], "state": "Ready", **more}
    if esl:
        body["esl"] = {"host": address, "port": 8021}
    return body


def slice_of(
    group: str,
    number: int,
    *members: dict[str, Any],
    namespace: str = "voice",
    group_uid: str = GROUP_UID,
    generation: int = 1,
    **spec: Any,
) -> dict[str, Any]:
    """A DestinationSet; number 1 is the head, which needs a ``policy``."""
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "DestinationSet",
        "metadata": {
            "name": group if number == 1 else f"{group}.{number}",
            "namespace": namespace,
            "labels": {"switchtender.dev/group": group},
        },
        "spec": {
            "group": {"name": group, "uid": group_uid, "generation": generation},
            "members": list(members),
            **spec,
        },
    }


def head(group: str, *members: dict[str, Any], policy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The head of a group."""
    return slice_of(group, 1, *members, policy={"capacity": {"legsPerCall": 1}, **(policy or {})}, **more)


def secret(name: str, namespace: str = "voice", **data: str | bytes) -> dict[str, Any]:
    """A Secret with these texts."""
    encoded = {
        key.replace("_", "."): base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()
        for key, value in data.items()
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": encoded,
    }


def key_file(*ids: int) -> str:
    """A key file whose first key signs."""
    keys = [{"id": number, "secret": base64.b64encode(bytes([number]) * 64).decode()} for number in ids]
    return json.dumps({"format": 1, "keys": keys})


def config(state_dir: Path, *, address: str = "127.0.0.83", **spec: Any) -> dict[str, Any]:
    """A BalancerConfig whose every port the kernel picks."""
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerConfig",
        "metadata": {"name": "default"},
        "spec": {
            "listeners": [{"name": "public", "address": address, "port": 0}],
            "nodeSide": {"address": address, "port": 0, "workerPorts": "0-0"},
            "stateDir": str(state_dir),
            "http": {"address": address, "port": 0},
            **spec,
        },
    }


class Pod:
    """`switchtender serve --kubernetes` within this process: its records so far, its answers, and its end."""

    def __init__(self, options: Options) -> None:
        self.records: list[logging.LogRecord] = []
        self.server = KubernetesServer(options)
        self.task = asyncio.create_task(self.server.run())

    def messages(self, level: int = logging.INFO) -> list[str]:
        """What was logged from this level on."""
        return [record.getMessage() for record in self.records if record.levelno >= level]

    @property
    def serving(self) -> bool:
        """Whether it takes calls."""
        if self.task.done():
            self.task.result()
        return self.server.running is not None

    async def get(self, path: str, token: str | None = TOKEN) -> tuple[int, Any]:
        """Status and JSON at this path of its HTTP interface."""
        await eventually(lambda: "starting" in self.messages())
        http = next(record.http for record in self.records if hasattr(record, "http"))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession() as session, session.get(f"http://{http}{path}", headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    @property
    def running(self) -> Any:
        """What it is made of, once it serves."""
        return self.server.running

    @property
    def balancer(self) -> Any:
        """The balancer within."""
        return self.running.cluster.balancer

    @property
    def peers(self) -> Any:
        """The peers that are asked."""
        return self.running.peers

    @property
    def spec(self) -> Any:
        """The BalancerConfig's spec as it is acted on."""
        return self.running.cluster.documents.config.spec

    def watch(self, uid: str) -> Any:
        """The watch over a node."""
        return self.balancer.watches[uid]

    async def state(self) -> dict[str, Any]:
        """What the operator is told, once the token is known."""
        async with asyncio.timeout(60):
            while (answer := await self.get("/api/v1/state"))[0] == 401:
                await asyncio.sleep(0.02)
        status, document = answer
        assert status == 200, document
        return document

    async def nodes(self) -> dict[str, tuple[str, str]]:
        """State and reason of each node by name."""
        return {node["name"]: (node["state"], node["reason"]) for node in (await self.state())["nodes"]}

    async def groups(self) -> dict[str, dict[str, Any]]:
        """The groups by name."""
        return {group["name"]: group for group in (await self.state())["groups"]}

    async def algorithms(self) -> dict[str, str]:
        """The algorithm of each group: what a test changes to see which policy is in force."""
        _, answer = await self.get("/api/v1/groups")
        return {entry["group"]: entry["algorithm"] for entry in answer["groups"]}

    async def readiness(self) -> tuple[int, str | None]:
        """Status of /readyz, and what is waited for."""
        status, answer = await self.get("/readyz")
        return status, answer.get("reason")

    async def metric(self, line: str) -> float | None:
        """The value of a series, by its name with labels; None where there is none."""
        _, text = await self.get("/metrics")
        found = [entry.rpartition(" ")[2] for entry in text.splitlines() if entry.rpartition(" ")[0] == line]
        return float(found[0]) if found else None

    async def until(self, wanted: Any, of: str = "nodes") -> None:
        """Wait until ``nodes()`` (or another question) answers this."""
        found: Any = None
        async with asyncio.timeout(60):
            while (found := await getattr(self, of)()) != wanted:
                try:
                    await asyncio.sleep(0.02)
                except asyncio.CancelledError:
                    raise AssertionError(f"{of}: {found}, not {wanted}; {self.messages(logging.WARNING)}") from None


@contextlib.asynccontextmanager
async def served(
    api: KubeApi,
    tmp_path: Path,
    *,
    wait: bool = True,
    secrets: bool = True,
    options: dict[str, Any] | None = None,
    **spec: Any,
) -> AsyncIterator[Pod]:
    """Serve what ``api`` says while the block lasts, then stop at once. ``secrets``: its own are there."""
    if secrets:
        api.put(secret(KEYS, OWN, keys_json=key_file(1)))
        api.put(secret(TOKENS, OWN, token=TOKEN))
    path = tmp_path / "balancer.yaml"
    path.write_text(yaml.safe_dump(config(tmp_path / "state", **spec)))
    kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
    given = {
        "config": path,
        "keys_secret": KEYS,
        "token_secret": TOKENS,
        "namespace": OWN,
        "kubeconfig": str(kubeconfig),
        "environ": {"POD_IP": "127.0.0.83"},
    }
    async with running(Options(**{**given, **(options or {})}), wait=wait) as pod:
        yield pod


@contextlib.asynccontextmanager
async def running(options: Options, *, wait: bool = True) -> AsyncIterator[Pod]:
    """The process with these options while the block lasts."""
    pod = Pod(options)
    handler = logging.Handler()
    handler.emit = pod.records.append  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("switchtender", "switchtender_kube")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        if wait:
            await eventually(lambda: pod.serving)
        yield pod
    finally:
        while not pod.task.done():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
    await pod.task
