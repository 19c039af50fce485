//! The clocks: the one behind Python's `time.monotonic()`, so that times can cross the border as they are, and the time
//! of day, for others to read.

use std::time::Duration;

use switchtender_select::Time;

/// Now, in nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic() -> Time {
    Time::ZERO + read(libc::CLOCK_MONOTONIC)
}

/// The time of day, since the epoch: it may jump, so nothing is reckoned with it.
pub(crate) fn wall_clock() -> Duration {
    read(libc::CLOCK_REALTIME)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the whole call; both clocks exist on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
