"""How commands end: one table for both programs, their tests and their reference page. Knows no command."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitStatus(IntEnum):
    """What a command tells the shell."""

    DONE = 0
    UNWELL = 1
    FAILED = 2
    TIMED_OUT = 3
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitStatus.DONE: "Done. Of `serve` and `run`, too, after a stop by SIGTERM or SIGINT; and of any command when "
    "whoever read its output had enough of it, as `head` has.",
    ExitStatus.UNWELL: "What was asked about is not well: a file or node that `check` finds fault with, a call that no "
    "node would take (`explain`), rows that `import` left out, a drain that somebody ended"
    " while `drain --wait` waited. `serve` and `run`: a part of it failed for good.",
    ExitStatus.FAILED: "The command could not be carried out: bad options, nobody answers, the balancer refused it. "
    "`serve` and `run`: it could not start as configured.",
    ExitStatus.TIMED_OUT: "What was waited for did not come within `--timeout`; what was ordered stands "
    "(`drain --wait`).",
    ExitStatus.INTERRUPTED: "Interrupted by Ctrl-C, or a question was not answered with yes.",
}
"""The same for people; Markdown."""
