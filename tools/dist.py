"""What images are made of, in dist/: wheels of our own, the pinned third-party ones, and for each image a requirements
file with the hashes of both, so that an image installs without a network (`make dist`).

Building the packet core needs Rust here, so that no image needs it. Third-party wheels are those of the image's Python
and of this machine's platform.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON_OF_IMAGES = "3.11"

IMAGES: dict[str, tuple[str, ...]] = {
    "operator": ("api", "kube", "operator"),
    "balancer": ("api", "kube", "balancer"),
    "simulator": ("tests/simulator",),
}
"""The packages of ours in each image; the pinned requirements beside them stand in requirements/<image>.txt."""


def main() -> int:
    """Fill the folder; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder to fill")
    parser.add_argument("--profile", default="release", help="Cargo profile of the packet core")
    parser.add_argument("images", nargs="*", choices=[*IMAGES, []], default=[], help="images to prepare; all if none")
    arguments = parser.parse_args()
    images = arguments.images or list(IMAGES)
    wheels = arguments.out / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    own: dict[str, str] = {}
    for package in dict.fromkeys(package for image in images for package in IMAGES[image]):
        own[package] = requirement(build(package, wheels, arguments.profile))
    for image in images:
        pinned = ROOT / "requirements" / f"{image}.txt"
        download(pinned, wheels)
        lines = [pinned.read_text(), *(own[package] + "\n" for package in IMAGES[image])]
        (arguments.out / f"{image}.txt").write_text("".join(lines))
    return 0


def build(package: str, wheels: Path, profile: str) -> Path:
    """Build the wheel of one of our packages and return it. Raises CalledProcessError where it does not build."""
    before = set(wheels.iterdir())
    committed = ["git", "log", "-1", "--format=%ct"]
    epoch = subprocess.run(committed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SOURCE_DATE_EPOCH": epoch,
        "MATURIN_PEP517_ARGS": f"--profile {profile}",
    }
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT / package), environment=environment)
    (wheel,) = set(wheels.iterdir()) - before
    return wheel


def requirement(wheel: Path) -> str:
    """The line of a requirements file that takes exactly this wheel."""
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}"


def download(pinned: Path, wheels: Path) -> None:
    """Fetch the wheels of a pinned requirements file. Raises CalledProcessError where one cannot be had."""
    target = ("--python-version", PYTHON_OF_IMAGES, "--implementation", "cp", "--only-binary", ":all:")
    _pip("download", "--require-hashes", "--no-deps", *target, "-d", str(wheels), "-r", str(pinned))


def _pip(command: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", command, *quiet, *arguments], check=True, env=environment)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
