//! epoll, level-triggered: which of a worker's descriptors have something to read, take something, or tell an error.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

const MAX_EVENTS: usize = 32;

/// One ready descriptor, by the token it was added with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// As given when the descriptor was added.
    pub token: u64,
    /// There is something to read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// There is an error to be told: of a datagram socket, in its error queue.
    pub error: bool,
}

/// What a descriptor is watched for; errors are always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Self = Self { read: true, write: false };

    #[allow(clippy::cast_sign_loss, reason = "bit masks")]
    const fn events(self) -> u32 {
        let read = if self.read { libc::EPOLLIN as u32 } else { 0 };
        let write = if self.write { libc::EPOLLOUT as u32 } else { 0 };
        read | write
    }
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    /// An epoll instance that watches nothing yet.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Watch a descriptor for input. It is forgotten when it is closed.
    ///
    /// # Errors
    /// The descriptor is not open, or watched already.
    pub fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, Interest::READ)
    }

    /// Watch a descriptor for this.
    pub(crate) fn watch(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Watch one that is watched already for something else.
    pub(crate) fn change(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.events(), u64: token };
        // SAFETY: `event` is valid for the call; the kernel refuses descriptors that are not ours.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Wait, rounding the time up to whole milliseconds; `None` waits for ever. A signal ends the wait with nothing.
    ///
    /// # Errors
    /// None with descriptors that are open.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = match timeout {
            None => -1,
            Some(time) => i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "32")]
        wait_with(ready, |events| {
            // SAFETY: `events` has room for MAX_EVENTS entries and outlives the call.
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), MAX_EVENTS as libc::c_int, timeout) }
        })
    }

    /// Wait, to the nanosecond as far as the kernel's timer slack allows: for what is due between milliseconds. A signal
    /// ends the wait with nothing. Before Linux 5.11 (`epoll_pwait2`), and under valgrind, it is as [`Epoll::wait`].
    ///
    /// # Errors
    /// None with descriptors that are open.
    pub fn wait_precisely(&self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        let limit = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "32")]
        let waited = wait_with(ready, |events| {
            // SAFETY: `events` has room for MAX_EVENTS entries; it and `limit` outlive the call; a null mask leaves the
            // signal mask as it is.
            unsafe {
                libc::epoll_pwait2(
                    self.fd.as_raw_fd(),
                    events.as_mut_ptr(),
                    MAX_EVENTS as libc::c_int,
                    &raw const limit,
                    std::ptr::null(),
                )
            }
        });
        match waited {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => self.wait(Some(timeout), ready),
            waited => waited,
        }
    }
}

type Events = [libc::epoll_event; MAX_EVENTS];

/// Fill `ready` from what a call of the `epoll_wait` family wrote.
fn wait_with(ready: &mut Vec<Ready>, wait: impl FnOnce(&mut Events) -> libc::c_int) -> io::Result<()> {
    ready.clear();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; MAX_EVENTS];
    let count = wait(&mut events);
    let Ok(count) = usize::try_from(count) else {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
    };
    #[allow(clippy::cast_sign_loss, reason = "bit masks")]
    let (input, output, trouble) =
        (libc::EPOLLIN as u32, libc::EPOLLOUT as u32, (libc::EPOLLERR | libc::EPOLLHUP) as u32);
    ready.extend(events.iter().take(count).map(|event| {
        let (flags, token) = (event.events, event.u64);
        Ready { token, readable: flags & input != 0, writable: flags & output != 0, error: flags & trouble != 0 }
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::EventFd;

    #[test]
    fn tells_which_descriptor_is_ready() {
        let (epoll, first, second) = (Epoll::new().unwrap(), EventFd::new().unwrap(), EventFd::new().unwrap());
        epoll.add(first.as_raw_fd(), 1).unwrap();
        epoll.add(second.as_raw_fd(), 2).unwrap();
        let mut ready = Vec::new();
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert_eq!(ready, []);
        second.signal();
        epoll.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [Ready { token: 2, readable: true, writable: false, error: false }]);
        second.drain();
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert_eq!(ready, []);
    }

    #[test]
    fn a_precise_wait_ends_in_time_or_with_what_is_ready() {
        let (epoll, counter) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(counter.as_raw_fd(), 1).unwrap();
        let mut ready = Vec::new();
        epoll.wait_precisely(Duration::from_nanos(1), &mut ready).unwrap();
        assert_eq!(ready, []);
        counter.signal();
        epoll.wait_precisely(Duration::MAX, &mut ready).unwrap();
        assert_eq!(ready, [Ready { token: 1, readable: true, writable: false, error: false }]);
    }

    #[test]
    fn what_is_watched_for_can_change() {
        let (epoll, counter) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.watch(counter.as_raw_fd(), 1, Interest::default()).unwrap();
        counter.signal();
        let mut ready = Vec::new();
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert_eq!(ready, []);
        epoll.change(counter.as_raw_fd(), 1, Interest { read: false, write: true }).unwrap();
        epoll.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [Ready { token: 1, readable: false, writable: true, error: false }]);
    }

    #[test]
    fn refuses_a_descriptor_that_is_not_open() {
        assert_eq!(Epoll::new().unwrap().add(-1, 0).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
