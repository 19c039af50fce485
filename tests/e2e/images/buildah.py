"""Drives buildah: no daemon, no network, nothing mounted once a command has ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class BuildError(RuntimeError):
    """buildah failed; the message has its last words."""


@dataclass(frozen=True)
class Buildah:
    """buildah with its images in ``storage`` (kept: layers are a cache) and its locks in ``state`` (of this run)."""

    storage: Path
    state: Path

    def has(self, reference: str) -> bool:
        """Whether the image ``reference`` is in the storage."""
        return bool(self._run("images", "--quiet", "--filter", f"reference={reference}").strip())

    def import_root(self, archive: Path, reference: str, command: tuple[str, ...]) -> None:
        """Make the image ``reference`` of one layer, the root file system in ``archive``, that runs ``command``."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        container = self._run("from", "scratch").strip()
        self._run("add", "--quiet", container, str(archive), "/")
        self._run("config", "--env", f"PATH={path}", "--cmd", " ".join(command), container)
        self._run("commit", "--quiet", "--rm", container, reference)

    def build(self, dockerfile: Path, context: Path, reference: str, arguments: Mapping[str, str]) -> None:
        """Build ``dockerfile`` over the folder ``context``; its steps have no network."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        self._run("bud", "--isolation", "chroot", "--layers", "--format", "docker", "--pull-never", *given,
                  "--file", str(dockerfile), "--tag", reference, str(context))  # fmt: skip

    def export(self, reference: str, archive: Path, name: str) -> None:
        """Write the image ``reference`` as a docker archive in which it is called ``name``."""
        self._run("push", "--quiet", reference, f"docker-archive:{archive}:{name}")

    def prune(self, name: str, kept: str) -> None:
        """Forget the images called ``name`` but for the tag ``kept``, and layers that no image uses any more."""
        listed = self._run("images", "--format", "{{.Name}}:{{.Tag}}", "--filter", f"reference={name}").split()
        if old := [each for each in listed if each != f"{name}:{kept}"]:
            self._run("rmi", "--force", *old)
        self._run("rmi", "--prune", "--force")

    def _run(self, *arguments: str) -> str:
        # A network namespace of its own, because chroot isolation has none to offer; a mount namespace, because an
        # interrupted build leaves its mounts.
        place = ("--root", str(self.storage), "--runroot", str(self.state))
        command = ["unshare", "--mount", "--net", "buildah", *place, *arguments]
        # Nor may it make a folder for networks in /etc.
        configuration = self.state / "containers.conf"
        configuration.write_text(f'[network]\nnetwork_config_dir = "{self.state}/networks"\n')
        environment = {
            **os.environ,
            "STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "overlay"),
            "CONTAINERS_CONF": str(configuration),
        }
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise BuildError(f"buildah {arguments[0]}: exit {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout
