"""The kubelet of simulated FreeSWITCH (provider sim): for each pod that kwok plays, a node at the pod's address.

Deployments and StatefulSets make and delete the pods, through the real controllers. Here a pod gets what a container
would bring: a process that is started, a readiness that says when it listens, the preStop hook of the product's pods,
SIGTERM and SIGKILL in their time, and the end of the pod when the process is gone. Knows nothing of who scales or why.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.e2e.providers.cluster import ApiError, Json, UnreachableError
from tests.e2e.switches import ROOMY
from tests.e2e.voice import APP, Voice
from tests.stand import drain_hook
from tests.stand.nodes import Nodes
from tests.stand.process import StandError, child, command

CONTROL = 9100
"""Port of the simulator's control interface, at each pod's address."""
_LOOK = 0.2
"""Seconds between two looks at the pods and at a node that is about to end."""
_LAST_WORDS = 3.0
"""Of a pod's grace, what is kept for the end of the process after its preStop hook."""


def workload(
    kind: str, replicas: int, *, name: str = APP, grace: int = 120, spec: Json | None = None, version: str = "1"
) -> Json:
    """A Deployment or StatefulSet of pods for a switchboard; another ``version`` is a roll-out."""
    labels = {"app": name}
    played = {"e2e.switchtender.dev/ready": "false", "e2e.switchtender.dev/hold": "yes", "version": version}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": played},
                "spec": {
                    "terminationGracePeriodSeconds": grace,
                    "containers": [{"name": "freeswitch", "image": "none"}],
                },
            },
            **(spec or {}),
        },
    }


@dataclass
class Life:
    """What became of one pod, by the times of `time.monotonic`."""

    name: str
    uid: str
    address: str
    ready: float | None = None
    deleted: float | None = None
    """When its deletion was seen."""
    ended: float | None = None
    """When its process was gone."""
    cut: int = 0
    """Calls that stood when it was last seen, just before it ended."""
    last: Json = field(default_factory=dict)
    """The node, as its simulator showed it last."""


class Switchboard:
    """Runs the pods of an app in a namespace, from entering the block to its end."""

    def __init__(self, voice: Voice, folder: Path, *, app: str = APP, password: str = "ClueCon", **settings: Any):
        """``settings`` as `switchtender-sim` names them, for every node."""
        wanted = ROOMY | {"heartbeat-interval": 1} | {name.replace("_", "-"): each for name, each in settings.items()}
        self._options = [f"--password={password}", *(f"--{name}={value}" for name, value in wanted.items())]
        self.voice = voice
        self.app = app
        self._password = password
        self._folder = folder
        tools = folder / "pod-tools"
        tools.mkdir()
        self._hook = drain_hook.put_into(tools, sys.executable)
        self.lives: dict[str, Life] = {}
        """Every pod that was ever run here, by uid, oldest first."""
        self.troubles: list[str] = []
        """What went wrong here; nothing may."""
        self._threads: list[threading.Thread] = []
        self._graces: dict[str, float] = {}
        self._there: set[str] = set()
        self._over = threading.Event()
        self._listening = threading.Thread(target=self._look, name="switchboard", daemon=True)

    def __enter__(self) -> Self:
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in [self._listening, *self._threads]:
            thread.join(30)

    # --- what a scenario asks and does --------------------------------------------------------------------------

    def running(self) -> dict[str, Life]:
        """Pods whose node takes calls or still holds some, by name."""
        return {life.name: life for life in list(self.lives.values()) if life.ready and not life.ended}

    def nodes(self) -> dict[str, Json]:
        """The nodes of running pods, as their simulators show them now, by the pods' names."""
        found = {}
        for name, life in self.running().items():
            # It may end just now.
            with contextlib.suppress(OSError):
                found[name] = self._shown(life)
        return found

    def live_calls(self) -> dict[str, int]:
        """Calls that stand on each running node."""
        return {name: int(node["live_calls"]) for name, node in self.nodes().items()}

    def change(self, name: str, **settings: Any) -> None:
        """Change settings of a node while it runs."""
        life = self.running()[name]
        with self.voice.cluster.inside():
            self._control(life).change(life.name, **settings)

    def do(self, name: str, action: str) -> None:
        """POST an action of the simulator: pause?direction=inbound …"""
        life = self.running()[name]
        with self.voice.cluster.inside():
            self._control(life).do(life.name, action)

    def counted(self, counter: str) -> dict[str, int]:
        """A counter of each node that ever ran, by name, as it was last."""
        self.nodes()
        return {life.name: int(life.last["counters"][counter]) for life in list(self.lives.values()) if life.last}

    def total(self, counter: str) -> int:
        """A counter over all nodes that ever ran."""
        return sum(self.counted(counter).values())

    def cut(self) -> int:
        """Calls that ended with a node's process, over all nodes that ended."""
        return sum(life.cut for life in self.lives.values())

    # --- the kubelet --------------------------------------------------------------------------------------------

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            try:
                pods = self.voice.cluster.items(self.voice.pod_path(), f"app={self.app}")
            except (ApiError, UnreachableError):
                continue
            self._there = {pod["metadata"]["uid"] for pod in pods}
            for pod in pods:
                metadata = pod["metadata"]
                if "deletionTimestamp" in metadata:
                    self._graces.setdefault(metadata["uid"], float(metadata["deletionGracePeriodSeconds"]))
                address = pod.get("status", {}).get("podIP")
                if address and metadata["uid"] not in self.lives:
                    self._run(Life(metadata["name"], metadata["uid"], address))

    def _run(self, life: Life) -> None:
        self.lives[life.uid] = life
        thread = threading.Thread(target=self._live, args=(life,), name=life.name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _live(self, life: Life) -> None:
        try:
            with self._process(life) as process:
                self._serve(life, process)
                self._stop(life, process)
            life.ended = time.monotonic()
            self._let_go(life)
        # A thread has nobody to raise it to.
        except (OSError, AssertionError, StandError, ApiError) as error:
            life.ended = life.ended or time.monotonic()
            if not self._over.is_set():
                self.troubles.append(f"{life.name}: {error!r}")

    @contextlib.contextmanager
    def _process(self, life: Life) -> Iterator[subprocess.Popen[bytes]]:
        log = self._folder / f"{life.name}-{life.uid[:8]}.log"
        arguments = [
            command("switchtender-sim"),
            f"--node=name={life.name},sip={life.address}:5060,esl={life.address}:8021",
            f"--http={life.address}:{CONTROL}",
            "--sigterm=freeswitch",
            *self._options,
        ]
        with self.voice.cluster.inside(), child(arguments, log, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            if not process.stdout.readline().startswith(b'{"ready"'):
                raise StandError(f"no simulator: {log.read_text(errors='replace')[-1000:]}")
            yield process

    def _leaves(self, life: Life) -> bool:
        return self._over.is_set() or life.uid in self._graces or life.uid not in self._there

    def _serve(self, life: Life, process: subprocess.Popen[bytes]) -> None:
        """Say that it is ready, then wait for the pod's deletion."""
        life.ready = time.monotonic()
        self._tell(life, lambda: self.voice.set_ready(life.name, ready=True))
        while not self._leaves(life):
            if process.poll() is not None:
                raise StandError(f"its simulator ended: {process.returncode}")
            time.sleep(_LOOK)

    def _stop(self, life: Life, process: subprocess.Popen[bytes]) -> None:
        """As a kubelet stops a container: preStop hook, SIGTERM, SIGKILL at the end of the grace."""
        if self._over.is_set():
            return
        life.deleted = time.monotonic()
        # Without an entry it was deleted without any grace.
        deadline = life.deleted + self._graces.get(life.uid, 0.0)
        self._pre_stop(life, deadline)
        life.cut = int(life.last.get("live_calls", 0))
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))

    def _pre_stop(self, life: Life, deadline: float) -> None:
        """Run the hook of the product's pods and look at the node as long as it does; the hook shuts the node down."""
        left = max(0, int(deadline - time.monotonic() - _LAST_WORDS))
        environment = {
            "PATH": f"{self._hook.parent}:/usr/bin:/bin",
            "POD_IP": life.address,
            "ESL_PASSWORD": self._password,
            "DRAIN_TIMEOUT": str(left),
            "DRAIN_LOG": str(self._folder / f"{life.name}-drain.log"),
        }
        with subprocess.Popen(["/bin/sh", str(self._hook)], stdin=subprocess.DEVNULL, env=environment) as hook:
            while hook.poll() is None:
                if self._over.is_set() or time.monotonic() > deadline:
                    hook.kill()
                # It ends the node, which then answers nobody.
                with contextlib.suppress(OSError, KeyError):
                    self._shown(life)
                time.sleep(_LOOK)

    def _let_go(self, life: Life) -> None:
        if not self._over.is_set():
            self._tell(life, lambda: self.voice.let_go(life.name))

    def _tell(self, life: Life, what: Callable[[], None]) -> None:
        """Write to the API server of a pod, once it can be reached and as long as there is that pod."""

        def told() -> bool:
            if life.uid in self._there:
                what()
            return True

        try:
            self.voice.cluster.until(told, f"a write about {life.name}", 60)
        except ApiError as error:
            if error.status != 404:
                raise

    @staticmethod
    def _control(life: Life) -> Nodes:
        return Nodes((), f"http://{life.address}:{CONTROL}", None)  # type: ignore[arg-type]

    def _shown(self, life: Life) -> Json:
        with self.voice.cluster.inside():
            life.last = self._control(life).all()[life.name]
        return life.last
