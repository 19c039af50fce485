"""A Kubernetes as the scenarios see it, whoever provides it: kubectl, helm, the raw API, namespaces, tokens, a dump.

Every method works from anywhere, since it enters the cluster's network for itself; sockets and processes of a
scenario's own belong in ``with cluster.inside():``. Knows nothing of the product.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_kube_config

from tests.e2e.providers.pki import write_kubeconfig

if TYPE_CHECKING:
    from tests.e2e.providers.control_plane import ControlPlane

Json = dict[str, Any]
T = TypeVar("T")

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
FIELD_MANAGER = "e2e"


class CommandError(AssertionError):
    """kubectl or helm refused; the text is what it said."""


class ApiError(Exception):
    """The API server's answer is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class UnreachableError(Exception):
    """The API server did not answer at all."""


class Cluster:
    """A running cluster with an administrator's kubeconfig."""

    def __init__(
        self,
        provider: str,
        binaries: Path,
        kubeconfig: Path,
        folder: Path,
        *,
        context: str | None = None,
        inside: Callable[[], AbstractContextManager[None]] = nullcontext,
        control_plane: ControlPlane | None = None,
        calls: bool = False,
    ) -> None:
        """``folder`` takes what is written on the way; ``control_plane`` is there where faults can be made.

        ``calls``: simulated nodes can live at the addresses of pods, so SIP can be spoken with them.
        """
        self.provider = provider
        self.binaries = binaries
        self.kubeconfig = kubeconfig
        self.context = context
        self.folder = folder
        self.inside = inside
        self.control_plane = control_plane
        self.calls = calls
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration = Configuration()
        load_kube_config(str(kubeconfig), context=context, client_configuration=self._configuration)  # type: ignore[no-untyped-call]
        # A scenario that takes the API server away wants to know, not to wait.
        self._configuration.retries = False
        self._client = ApiClient(self._configuration)
        self._logs: list[Path] = []

    def close(self) -> None:
        """Let go of connections; whoever made the cluster ends it."""
        self._client.rest_client.pool_manager.clear()

    # --- commands -----------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True, patience: float = 90.0) -> str:  # noqa: A002
        """Run kubectl and return its output; raises CommandError (``check=False``: returns what it said instead)."""
        context = ["--context", self.context] if self.context else []
        return self._run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *context, *arguments], input, patience, check
        )

    def helm(self, *arguments: str, input: str | None = None, check: bool = True, patience: float = 180.0) -> str:  # noqa: A002
        """Run helm and return its output; raises CommandError."""
        context = ["--kube-context", self.context] if self.context else []
        return self._run(["helm", "--kubeconfig", str(self.kubeconfig), *context, *arguments], input, patience, check)

    def _run(self, arguments: Sequence[str], text: str | None, patience: float, check: bool) -> str:
        program, *rest = arguments
        state = self.folder / "home"
        state.mkdir(exist_ok=True)
        with self.inside():
            done = subprocess.run(
                [str(self.binaries / program), *rest],
                input=text or "",
                capture_output=True,
                text=True,
                timeout=patience,
                check=False,
                # Neither the user's plugins nor the user's caches.
                env={"PATH": "/usr/bin:/bin", "HOME": str(state), "KUBECACHEDIR": str(state / "kube")},
            )
        if done.returncode and check:
            raise CommandError(f"{program} {' '.join(rest)}: exit {done.returncode}\n{done.stderr}{done.stdout}")
        return done.stdout if check else done.stdout + done.stderr

    # --- objects ------------------------------------------------------------------------------------------------

    def api(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
        patience: float = 15.0,
    ) -> Json:
        """One request to the API server as its administrator; raises ApiError, UnreachableError."""
        url = f"{self._configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": "switchtender-e2e"}
        settings: dict[str, Any] = dict(self._configuration.auth_settings())
        headers |= {setting["key"]: setting["value"] for setting in settings.values()}
        try:
            with self.inside():
                request = self._client.rest_client.request
                answer: Any = request(method, url, headers=headers, body=body, _request_timeout=patience)  # type: ignore[no-untyped-call]
                content = answer.read() or b"{}"
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise UnreachableError(str(error)) from None
        if answer.status >= 300:
            raise ApiError(answer.status, _message(content))
        found: Json = json.loads(content)
        return found

    def get(self, path: str) -> Json | None:
        """An object; None when there is none."""
        try:
            return self.api("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, selector: str | None = None) -> list[Json]:
        """A list, by label selector."""
        found: list[Json] = self.api("GET", path, query={"labelSelector": selector} if selector else None)["items"]
        return found

    def merge(self, path: str, patch: Json) -> Json:
        """A JSON merge patch."""
        return self.api("PATCH", path, patch, content_type=MERGE)

    def delete(self, path: str, *, grace: int | None = None) -> None:
        """Delete an object; nothing happens when there is none."""
        try:
            self.api("DELETE", path, {} if grace is None else {"gracePeriodSeconds": grace})
        except ApiError as error:
            if error.status != 404:
                raise

    def apply(self, *documents: Json | str, namespace: str | None = None) -> str:
        """Server-side apply of objects or YAML text; raises CommandError."""
        texts = [document if isinstance(document, str) else yaml.safe_dump(document) for document in documents]
        where = ["--namespace", namespace] if namespace else []
        return self.kubectl(
            "apply", "--server-side", f"--field-manager={FIELD_MANAGER}", *where, "-f", "-", input="\n---\n".join(texts)
        )

    # --- waiting ------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], T], what: str, patience: float = 30.0, pause: float = 0.05) -> T:
        """Ask until the answer is something true and return it; raises AssertionError after ``patience`` seconds.

        An API server that is busy (429), ill (5xx) or away is asked again, as a person would.
        """
        deadline = time.monotonic() + patience
        last: object = None
        while time.monotonic() < deadline:
            try:
                if found := condition():
                    return found
                last = found
            except UnreachableError as error:
                last = error
            except ApiError as error:
                if error.status != 429 and error.status < 500:
                    raise
                last = error
            except OSError as error:
                last = error
            time.sleep(pause)
        raise AssertionError(f"{what} did not come about within {patience:g} s; last seen: {last!r}")

    # --- namespaces and accounts --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def namespace(self, prefix: str = "e2e") -> Iterator[str]:
        """A namespace of a random name with its default ServiceAccount; deleted, without waiting, with the block."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.create_namespace(name)
        try:
            yield name
        finally:
            self.until(lambda: self._end_namespace(name), f"the end of {name}")

    def _end_namespace(self, name: str) -> bool:
        # Nobody runs these pods, so nobody needs their grace, and a held one would keep the namespace.
        self.api("DELETE", f"/api/v1/namespaces/{name}/pods", {"gracePeriodSeconds": 0})
        self.delete(f"/api/v1/namespaces/{name}")
        return True

    def create_namespace(self, name: str) -> None:
        """Make a namespace and wait until pods can be created in it."""
        self.api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        self.until(lambda: self.get(account), f"the default ServiceAccount of {name}")

    def service_account_token(
        self, namespace: str, name: str, seconds: int = 7200, audiences: Sequence[str] = ()
    ) -> str:
        """A fresh token of a ServiceAccount (TokenRequest); each has an id of its own in the audit log. It is for the
        API server, or for ``audiences`` instead.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.api("POST", path, {"spec": {"expirationSeconds": seconds, "audiences": list(audiences)}})
        token: str = answer["status"]["token"]
        return token

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path) -> Path:
        """Write a kubeconfig that is that ServiceAccount and nobody else; returns ``path``."""
        authority = path.with_suffix(".ca")
        authority.write_bytes(Path(str(self._configuration.ssl_ca_cert)).read_bytes())
        user = {"token": self.service_account_token(namespace, name)}
        write_kubeconfig(path, self._configuration.host, authority, user, namespace)
        return path

    # --- diagnosis ----------------------------------------------------------------------------------------------

    def watch_log(self, path: Path) -> None:
        """Show the end of this file when a scenario fails."""
        if path not in self._logs:
            self._logs.append(path)

    def dump(self, folder: Path) -> str:
        """Write what is in the cluster to ``folder``; returns a page for a person: groups, events, ends of logs."""
        folder.mkdir(parents=True, exist_ok=True)
        everything = "bg,destinationsets,pods,services,endpointslices,configmaps,leases,deployments,statefulsets"
        asked = {
            "objects.yaml": ("get", everything, "-A", "-o", "yaml", "--show-managed-fields"),
            "events.txt": ("get", "events", "-A", "--sort-by=.lastTimestamp"),
            "groups.txt": ("get", "bg,destinationsets", "-A", "-o", "wide"),
        }
        pages = [f"dump in {folder}"]
        for name, arguments in asked.items():
            try:
                text = self.kubectl(*arguments, check=False, patience=20)
            except (CommandError, subprocess.TimeoutExpired) as error:
                text = str(error)
            (folder / name).write_text(text)
            if name != "objects.yaml":
                pages.append(f"--- {name}\n{text[-3000:]}")
        for log in self._logs[-6:]:
            if log.exists():
                pages.append(f"--- {log}\n{log.read_text(errors='replace')[-4000:]}")
        return "\n".join(pages)


def _message(body: Any) -> str:
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(body)[:300]
