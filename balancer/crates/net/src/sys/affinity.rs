//! Which processor a thread runs on: for measurements.

use std::io;
use std::mem::{size_of, zeroed};

/// Keep the calling thread, and the threads it will start, on one processor.
///
/// # Errors
/// `EINVAL` where there is no such processor, or this process may not use it.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    // The macro behind CPU_SET would write past the set's end.
    if cpu >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: all-zero bytes are a valid, empty cpu_set_t.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: `cpu` is within the set, as just seen.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is a live cpu_set_t of the size that is said; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_and_a_processor_that_is_not_there_refused() {
        std::thread::spawn(|| {
            // SAFETY: no pointers.
            let here = usize::try_from(unsafe { libc::sched_getcpu() }).unwrap();
            pin_to_cpu(here).unwrap();
            assert_eq!(std::thread::available_parallelism().unwrap().get(), 1);
            for missing in [1023, 1024, usize::MAX] {
                assert_eq!(pin_to_cpu(missing).unwrap_err().raw_os_error(), Some(libc::EINVAL));
            }
        })
        .join()
        .unwrap();
    }
}
