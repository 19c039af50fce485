//! epoll, level-triggered: which of a worker's sockets have something to read or an error to tell.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

const MAX_EVENTS: usize = 16;

/// One ready descriptor, by the token it was added with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) error: bool,
}

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Watch a descriptor for input; errors are always told.
    pub(crate) fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        #[allow(clippy::cast_sign_loss, reason = "EPOLLIN is 1")]
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: `event` is valid for the call; the kernel refuses descriptors that are not ours.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Wait, rounding the time up to whole milliseconds; `None` waits for ever. A signal ends the wait with nothing.
    pub(crate) fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let timeout = match timeout {
            None => -1,
            Some(time) => i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MAX_EVENTS];
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "16")]
        // SAFETY: `events` has room for MAX_EVENTS entries and outlives the call.
        let count =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), MAX_EVENTS as libc::c_int, timeout) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        };
        #[allow(clippy::cast_sign_loss, reason = "bit masks")]
        let (input, trouble) = (libc::EPOLLIN as u32, (libc::EPOLLERR | libc::EPOLLHUP) as u32);
        ready.extend(events.iter().take(count).map(|event| {
            let (flags, token) = (event.events, event.u64);
            Ready { token, readable: flags & input != 0, error: flags & trouble != 0 }
        }));
        Ok(())
    }
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
        assert_eq!(ready, [Ready { token: 2, readable: true, error: false }]);
        second.drain();
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert_eq!(ready, []);
    }

    #[test]
    fn refuses_a_descriptor_that_is_not_open() {
        assert_eq!(Epoll::new().unwrap().add(-1, 0).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
