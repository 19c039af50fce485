"""``python -m switchtender`` is the ``switchtender`` command."""

from switchtender.cli import main

main(prog_name="switchtender")
