"""Builds the Kubernetes programs of the end-to-end tests once, and finds them again.

Standard library only: the build runs before, and without, the checkout's environment. It knows Go and the module beside
it, and nothing of clusters.

The binaries live in ``$XDG_CACHE_HOME/switchtender/e2e/<hash>/bin``; the hash is over what they are made of (go.mod,
go.sum, main.go, this file's build flags and the version of Go), so a checkout that changes none of it builds nothing.
``E2E_BIN`` names a folder of binaries to use instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
"""What hyperkube plays, by symbolic links."""


@dataclass(frozen=True)
class Module:
    """Go programs that are built together."""

    name: str
    duration: str
    """How long a cold build takes on 2 cores."""
    home: Path
    parts: tuple[str, ...]
    """What they are made of, below ``home``."""
    packages: tuple[str, ...]
    tools: tuple[str, ...]
    """What `go build` leaves."""
    links: tuple[str, ...] = ()
    """Further names of the first of the tools."""

    def complete(self, binaries: Path) -> bool:
        """Whether everything is in this folder."""
        return all((binaries / name).exists() for name in (*self.links, *self.tools))


KUBERNETES = Module(
    "Kubernetes",
    "6 to 10 minutes",
    HERE,
    ("go.mod", "go.sum", "hyperkube/main.go"),
    ("./hyperkube", "tool"),
    ("hyperkube", "helm", "kwok", "kubeconform", "crictl"),
    PROGRAMS,
)
ADAPTER = Module("prometheus-adapter", "2 minutes", HERE / "adapter", ("go.mod", "go.sum"), ("tool",), ("adapter",))
"""Apart, because it is made for an older Kubernetes and does not build with the libraries of this one."""
REPORT_EVERY = 15.0
"""Seconds between two lines of progress."""

# What Go says when a module cannot be had, as against one that does not compile.
_NETWORK = re.compile(
    r"dial tcp|no such host|connection refused|i/o timeout|network is unreachable|proxyconnect|TLS handshake timeout"
    r"|server misbehaving|module lookup disabled|502 Bad Gateway|503 Service UnavailableError|504 Gateway Time"
)


class UnavailableError(Exception):
    """The binaries can neither be found nor built here; the text says why."""


class BuildError(Exception):
    """The sources are there and do not build; the text holds the compiler's last words."""


def kubernetes_version() -> str:
    """The version of Kubernetes that go.mod names, with its "v"."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError("go.mod names no k8s.io/kubernetes")
    return found[1]


def _flags() -> list[str]:
    # `kubectl version` and a chart's kubeVersion look at these; without them everything is v0.0.0-master.
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "e2e",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    stamps = [f"-X {package}.{name}={value}" for package in packages for name, value in values.items()]
    return ["-trimpath", "-buildvcs=false", "-ldflags", " ".join(["-s -w", *stamps])]


def _go_version() -> str:
    """The version of Go on the path ("go1.26.8"); raises UnavailableError when it is missing or too old."""
    wanted = re.search(r"^go (\S+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    needed = wanted[1] if wanted else "?"
    if shutil.which("go") is None:
        raise UnavailableError(
            f"Go {needed} or newer is not installed (https://go.dev/dl), so Kubernetes cannot be built"
        )
    asked = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=HERE, env=_environment(), capture_output=True, text=True, check=False
    )
    # A Go older than the directive answers with an error here, because the toolchain is local.
    if asked.returncode != 0:
        raise UnavailableError(f"Go {needed} or newer is needed to build Kubernetes: {asked.stderr.strip()}")
    return asked.stdout.strip()


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


def cache() -> Path:
    """The folder of all builds."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "switchtender" / "e2e"


def folder(module: Module = KUBERNETES) -> Path:
    """Where the binaries of this checkout belong, built or not; raises UnavailableError when there is no Go to ask."""
    if (given := os.environ.get("E2E_BIN")) and (module is KUBERNETES or module.complete(Path(given))):
        return Path(given)
    digest = hashlib.sha256()
    for part in module.parts:
        digest.update((module.home / part).read_bytes() + b"\0")
    digest.update(" ".join([*_flags(), _go_version(), *module.links]).encode())
    return cache() / digest.hexdigest()[:16] / "bin"


def find(module: Module = KUBERNETES) -> Path:
    """The folder of the binaries, building them when they are not there. Raises UnavailableError, BuildError."""
    binaries = folder(module)
    if module.complete(binaries):
        return binaries
    if str(binaries) == os.environ.get("E2E_BIN"):
        raise UnavailableError(f"E2E_BIN={binaries} lacks some of {', '.join((*module.links, *module.tools))}")
    home = binaries.parent
    home.parent.mkdir(parents=True, exist_ok=True)
    with _alone(home.with_suffix(".lock")):
        if not module.complete(binaries):
            _build_into(home, module)
    return binaries


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build_into(home: Path, module: Module) -> None:
    # A folder appears under its final name only once everything is in it.
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".building-") as scratch:
        fresh = Path(scratch) / "new"
        binaries = fresh / "bin"
        binaries.mkdir(parents=True)
        _compile(binaries, module)
        for name in module.links:
            (binaries / name).symlink_to(module.tools[0])
        if home.exists():
            shutil.rmtree(home)
        fresh.rename(home)


def _compile(binaries: Path, module: Module) -> None:
    arguments = ["nice", "-n", "5", "go", "build", "-v", *_flags(), "-o", f"{binaries}/", *module.packages]
    started = time.monotonic()
    _say(f"building {module.name} from source (cold: {module.duration} on 2 cores)")
    compiled, told, last_words = 0, started, list[str]()
    with subprocess.Popen(
        arguments, cwd=module.home, env=_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("go: downloading") or re.fullmatch(r"[\w.\-/]+\n", line):
                compiled += 1
            else:
                last_words = [*last_words, line][-40:]
            if time.monotonic() - told > REPORT_EVERY:
                told = time.monotonic()
                _say(f"{told - started:4.0f} s, {compiled} modules and packages, now {line.strip()}")
    if process.returncode == 0:
        _say(f"built in {time.monotonic() - started:.0f} s")
        return
    words = "".join(last_words)
    if _NETWORK.search(words):
        raise UnavailableError(
            f"the Go modules of {module.name} cannot be downloaded: {words.strip().splitlines()[-1]}"
        )
    raise BuildError(f"{module.name} does not build:\n{words}")


def _say(text: str) -> None:
    sys.stderr.write(f"== e2e tools: {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Print the folder of the binaries; exit status 3 when they cannot be had and E2E_REQUIRED is not 1."""
    try:
        binaries = find()
    except UnavailableError as reason:
        _say(str(reason))
        return 1 if os.environ.get("E2E_REQUIRED") == "1" else 3
    except BuildError as error:
        _say(str(error))
        return 1
    sys.stdout.write(f"{binaries}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
