"""How long to wait after a failure. Pure but for the randomness it is given."""

import random
from dataclasses import dataclass

LONGEST_RETRY_AFTER = 120.0


@dataclass(slots=True)
class Backoff:
    """Exponential with jitter: the n-th failure in a row waits ``base × 2ⁿ``, at most ``cap`` seconds, of it 50–100 %.

    The jitter keeps the replicas of an outage from coming back in step.
    """

    rng: random.Random
    base: float = 0.5
    cap: float = 30.0
    failures: int = 0

    def next(self, *, retry_after: float | None = None, cap: float | None = None) -> float:
        """Count one more failure; the seconds to wait, never less than the server asked for (within reason)."""
        ceiling = self.cap if cap is None else min(cap, self.cap)
        # 2.0**1024 overflows, and an outage may last.
        delay = min(ceiling, self.base * 2.0 ** min(self.failures, 32)) * self.rng.uniform(0.5, 1.0)
        self.failures += 1
        if retry_after is None:
            return delay
        # Everybody was told the same number of seconds.
        return max(delay, min(retry_after, LONGEST_RETRY_AFTER) + self.rng.uniform(0.0, self.base))

    def reset(self) -> None:
        """It worked."""
        self.failures = 0
