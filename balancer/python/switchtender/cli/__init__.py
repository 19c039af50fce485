"""The ``switchtender`` command."""

from switchtender.cli.main import main

__all__ = ["main"]
