"""What the tests of the views need beside Python: skipped with a reason where it is missing, failing under CI=true."""

import os
import shutil

import pytest


def program(name, package):
    """A program of a Debian package is there."""
    if shutil.which(name) is not None:
        return
    reason = f"{name} is not installed (Debian: apt-get install {package})"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; under CI=true nothing is skipped")
    pytest.skip(reason)
