"""The base image: a minimal Debian with its Python, made by debootstrap from the mirror that apt uses."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "python3", "python3-venv")
_MIRROR = "http://deb.debian.org/debian"
# What no process in a container reads.
_LEFT_OUT = ("dev", "var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man")
_FORMAT = 2  # raise it when the making below changes


def key() -> str:
    """Identifies the recipe, not the day: packages that the mirror has renewed since do not make a new base."""
    recipe = repr((SUITE, _PACKAGES, _LEFT_OUT, _FORMAT))
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


def mirror(sources: Path = Path("/etc/apt")) -> str:
    """The Debian mirror among apt's sources, else Debian's own."""
    files = sorted((*sources.glob("sources.list"), *sources.glob("sources.list.d/*")))
    for file in files:
        for line in file.read_text(errors="replace").splitlines():
            found = re.match(r"(?:deb(?:\s+\[[^]]*\])?|URIs:)\s+(https?://\S*/debian/?)(?:\s|$)", line)
            if found:
                return found[1].rstrip("/")
    return _MIRROR


def root_filesystem(cache: Path) -> Path:
    """The base's root file system as a tar archive in ``cache``; about a minute and 90 MB of packages the first time.

    Raises subprocess.CalledProcessError with what debootstrap said.
    """
    archive = cache / f"base-{SUITE}-{key()}.tar"
    if archive.exists():
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="switchtender-base-") as folder:
        root, fresh = Path(folder, "root"), archive.with_suffix(f".{os.getpid()}")
        # In a mount namespace of its own: debootstrap mounts /proc in there, and an interrupted one leaves it.
        options = ("--variant=minbase", f"--include={','.join(_PACKAGES)}")
        _run("unshare", "--mount", "debootstrap", *options, SUITE, str(root), mirror())
        left_out = [f"--exclude=./{folder}/*" for folder in _LEFT_OUT]
        _run("tar", "-C", str(root), "--numeric-owner", "--sort=name", *left_out, "-cf", str(fresh), ".")
        fresh.rename(archive)
    return archive


def _run(*command: str) -> None:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
