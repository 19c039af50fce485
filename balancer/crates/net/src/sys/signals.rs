//! Signals belong to the process's main thread: a worker that took one would leave the main thread asleep.

use std::mem::zeroed;

/// Keep signals away from the calling thread, but for those that its own faults raise.
pub(crate) fn leave_to_main_thread() {
    // SAFETY: all-zero bytes are a valid sigset_t, which sigfillset then sets up.
    let mut signals: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: `signals` is a live sigset_t, and the numbers are valid signals.
    unsafe {
        libc::sigfillset(&raw mut signals);
        for own in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT] {
            libc::sigdelset(&raw mut signals, own);
        }
    }
    // SAFETY: a live, set-up sigset_t; the old mask is not asked for. It cannot fail with SIG_BLOCK.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_has_them_blocked() {
        let blocked = std::thread::spawn(|| {
            leave_to_main_thread();
            // SAFETY: all-zero bytes are a valid sigset_t; the call fills it in.
            let mut mask: libc::sigset_t = unsafe { zeroed() };
            // SAFETY: no new mask, a live place for the present one.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask) };
            // SAFETY: a set-up sigset_t.
            [libc::SIGINT, libc::SIGTERM, libc::SIGSEGV]
                .map(|signal| unsafe { libc::sigismember(&raw const mask, signal) })
        });
        assert_eq!(blocked.join().unwrap(), [1, 1, 0]);
    }
}
