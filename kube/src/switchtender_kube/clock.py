"""The clock by which this package judges ages and leases: never the wall clock, which people and NTP move."""

import time


def boottime() -> float:
    """Seconds since boot, a suspend of the machine included where the kernel can tell (CLOCK_BOOTTIME, Linux).

    The monotonic clock stands still in a suspended machine: a leader that sleeps an hour would take its lease for
    fresh.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
