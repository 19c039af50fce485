"""What a test needs of the machine: it is skipped where that is missing, and fails where nothing may be skipped."""

from __future__ import annotations

import os

import pytest


def needed(condition: object, reason: str) -> None:
    """Skip the test with ``reason`` unless the condition holds; under CI=true fail it."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; under CI=true nothing is skipped")
    pytest.skip(reason)
