"""The project's images as docker archives: from its own Dockerfiles, built anew when what they are made of has changed.

    python -m tests.e2e.images.build

builds them ahead and prints where they are. Archives, wheels and layers stay in the cache of the end-to-end tests.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools import dist

from tests.e2e.images import base
from tests.e2e.images.buildah import Buildah
from tests.e2e.tools import binaries

ROOT = Path(__file__).parents[3]
IMAGES = ("operator", "balancer", "simulator")
TAG = "e2e"
SANDBOX = "docker.io/switchtender/sandbox:e2e"
"""The image of a pod's own container: the base, asleep."""

# The profile that the checkout is built with anyway; `make dist` for a release takes minutes more.
_PROFILE = "quick"
_BASE = "localhost/switchtender-base"
_KEPT = 3  # archives of each image


def reference(image: str) -> str:
    """What the image is called in a pod."""
    return f"docker.io/switchtender/{image}:{TAG}"


def archives() -> dict[str, Path]:
    """Image → docker archive, with ``sandbox`` for pods themselves; built where the cache has none.

    Cold it takes some three minutes, most of it debootstrap and the packet core. Raises BuildError, CalledProcessError.
    """
    cache = binaries.cache() / "images"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = {image: cache / f"{image}-{_key(image)}.tar" for image in IMAGES}
    wanted["sandbox"] = cache / f"sandbox-{base.key()}.tar"
    with _alone(cache / "lock"):
        if absent := [image for image, archive in wanted.items() if not archive.exists()]:
            _build(absent, wanted, cache)
    return wanted


def _build(absent: list[str], wanted: dict[str, Path], cache: Path) -> None:
    started = time.monotonic()
    root = base.root_filesystem(cache)
    base_reference = f"{_BASE}:{base.key()}"
    with tempfile.TemporaryDirectory(prefix="switchtender-images-") as state:
        buildah = Buildah(cache / "buildah", Path(state))
        if not buildah.has(base_reference):
            buildah.import_root(root, base_reference, ("sleep", "infinity"))
        if products := [image for image in absent if image != "sandbox"]:
            _say(f"wheels for {', '.join(products)}")
            command = [
                sys.executable,
                "-m",
                "tools.dist",
                "--out",
                str(cache / "dist"),
                "--profile",
                _PROFILE,
                *products,
            ]
            subprocess.run(command, cwd=ROOT, check=True)
        for image in absent:
            source, name = base_reference, SANDBOX
            if image != "sandbox":
                source, name = f"localhost/switchtender-{image}:{TAG}", reference(image)
                dockerfile = ROOT / "deploy" / "images" / f"{image}.Dockerfile"
                buildah.build(dockerfile, cache / "dist", source, {"BASE": base_reference})
            fresh = wanted[image].with_suffix(".new")
            fresh.unlink(missing_ok=True)
            buildah.export(source, fresh, name)
            fresh.rename(wanted[image])
            _forget_old(cache, image)
        buildah.prune(_BASE, base.key())
    _say(f"{', '.join(absent)} built in {time.monotonic() - started:.0f} s")


def _key(image: str) -> str:
    """A hash over what the image is made of: its Dockerfile, the base, pinned requirements and our sources."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", *dist.IMAGES[image]],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    tests = [f"{package}/tests/" for package in dist.IMAGES[image]]
    sources = [name for name in listed.split("\0") if name and not name.startswith(tuple(tests))]
    fixed = [f"deploy/images/{image}.Dockerfile", f"requirements/{image}.txt", "tools/dist.py"]
    digest = hashlib.sha256(f"{base.key()} {TAG} {_PROFILE}".encode())
    for name in sorted({*sources, *fixed}):
        file = ROOT / name
        if file.is_file():
            digest.update(f"\0{name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _forget_old(cache: Path, image: str) -> None:
    found = sorted(cache.glob(f"{image}-*.tar"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in found[_KEPT:]:
        file.unlink()


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    sys.stderr.write(f"== e2e images: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    for place in archives().values():
        sys.stdout.write(f"{place}\n")
