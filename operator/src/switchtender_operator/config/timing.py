"""How often and how long: the operator's own times, in seconds, in one place. Tests shorten them; users do not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times in seconds.

    A changed group is planned once its changes have paused for `quiet`, at the latest `most_delay` after the first:
    a storm is planned twice a second, a single change is out well within one. `resync` heals what no event told.
    """

    quiet: float = 0.1
    most_delay: float = 0.4
    soonest_wake: float = 0.5
    """However soon a plan wants to be made again, so long it takes."""
    resync: float = 300.0
    backoff_first: float = 0.2
    backoff_most: float = 30.0
    poll: float = 1.0
    poll_timeout: float = 2.0
    autoscale: float = 2.0
    """Between two rounds over what is scaled and marked."""
    token_retry: float = 10.0
    crd_retry: float = 5.0
    secrets_retry: float = 15.0
    kopf_backoff_most: float = 60.0
    stop_grace: float = 5.0
    status_interval: float = 10.0
    """Least time between two writes of one group's status, but for what changes its state."""
    programmed_grace: float = 5.0
    poll_memory: float = 3.5
    written_trust: float = 10.0
    """How long the answer to a write stands in for the watch event about it."""
    pods_patience: float = 3.0
    """How long a group whose pods are not listed yet waits for them before it is planned without."""
    watch_silence: float = 70.0
    watch_confirm: float = 5.0
    watch_relist: float = 1200.0
    watch_backoff: float = 0.5
    watch_backoff_most: float = 30.0


DEFAULT = Timing()
