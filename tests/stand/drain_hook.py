"""The preStop hook of FreeSWITCH pods: switchtender-drain as the samples ship it, and an fs_cli for it to ask by.

Knows no pod: who runs the hook puts both where it finds them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

NAME: Final = "switchtender-drain"
FS_CLI: Final = Path(__file__).with_name("fs_cli.py")
_SAMPLE: Final = Path(__file__).parents[2] / "deploy" / "samples" / "freeswitch" / "configuration.yaml"


def script() -> str:
    """The hook, out of the samples' ConfigMap."""
    text: str = yaml.safe_load(_SAMPLE.read_text())["data"][NAME]
    return text


def fs_cli(python: str, program: Path = FS_CLI) -> str:
    """A program ``fs_cli`` that runs the stand-in by this ``python``; ``program`` is where that is then."""
    return f'#!/bin/sh\nexec {python} -I -S {program} "$@"\n'


def put_into(folder: Path, python: str) -> Path:
    """Write both into a folder, which is to stand in PATH; where the hook is."""
    hook, stand_in = folder / NAME, folder / "fs_cli"
    hook.write_text(script())
    stand_in.write_text(fs_cli(python))
    stand_in.chmod(0o755)
    return hook
