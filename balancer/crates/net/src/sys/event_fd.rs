//! eventfd: wakes a sleeping thread, or Python's event loop.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A counter that is readable while it is not zero. Non-blocking.
#[derive(Debug)]
pub(crate) struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Make it readable. A counter that is full (2^64 − 2) is readable already, so a failure means nothing.
    pub(crate) fn signal(&self) {
        let one = 1_u64;
        // SAFETY: 8 bytes are read from a live u64.
        unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Make it unreadable until the next signal.
    pub(crate) fn drain(&self) {
        let mut count = 0_u64;
        // SAFETY: 8 bytes are written to a live u64; EAGAIN (nothing there) leaves it alone.
        unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
