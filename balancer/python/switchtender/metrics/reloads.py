"""How the last attempts to take up the configuration went."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Reloads:
    """Counts of attempts, the first start included; ``last_success_at`` is wall-clock seconds."""

    successes: int = 0
    failures: int = 0
    last_ok: bool = True
    last_success_at: float = 0.0

    def succeeded(self, at: float) -> None:
        """A configuration was put in force."""
        self.successes += 1
        self.last_ok = True
        self.last_success_at = at

    def failed(self) -> None:
        """A configuration was refused; the one before stays in force."""
        self.failures += 1
        self.last_ok = False
