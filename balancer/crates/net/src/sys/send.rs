//! sendmmsg: datagrams gathered in one arena, sent 32 to a call.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

use super::{BATCH, UdpSocket, address};

/// Past this many bytes the arena asks to be flushed, whatever the number of datagrams.
const ARENA_BYTES: usize = 256 << 10;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 64]);

struct Outgoing {
    bytes: Range<usize>,
    to: SocketAddr,
    /// The local address to send from, on a socket bound to a wildcard.
    from: Option<IpAddr>,
}

/// A datagram that the kernel would not send, twice.
#[derive(Debug)]
pub struct SendFailure {
    /// Where it was going.
    pub to: SocketAddr,
    /// The whole of it.
    pub bytes: Vec<u8>,
    /// Why it did not leave.
    pub error: io::Error,
}

/// Datagrams waiting to leave through one socket.
#[derive(Default)]
pub struct SendBatch {
    arena: Vec<u8>,
    waiting: Vec<Outgoing>,
}

/// What became of a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Taken by the kernel.
    pub sent: u64,
    /// Dropped because the send buffer was full: to SIP the same as loss on the way, repaired the same way.
    pub dropped: u64,
}

impl SendBatch {
    /// A datagram that is copied. `from`: the local address to send from, on a socket bound to a wildcard.
    pub fn push(&mut self, to: SocketAddr, from: Option<IpAddr>, bytes: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.waiting.push(Outgoing { bytes: start..self.arena.len(), to, from });
    }

    /// A datagram that is written in place. `compose` appends to what is there, or says that it did not; then there is
    /// none. `from`: as in [`Self::push`].
    pub fn compose(
        &mut self,
        to: SocketAddr,
        from: Option<IpAddr>,
        compose: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let start = self.arena.len();
        let composed = compose(&mut self.arena);
        if composed {
            self.waiting.push(Outgoing { bytes: start..self.arena.len(), to, from });
        }
        composed
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Time to flush.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH || self.arena.len() >= ARENA_BYTES
    }

    /// Send everything. An error may belong to an earlier datagram (a queued ICMP error is told by the next call), so a
    /// datagram is tried again once before its failure counts.
    pub fn flush(&mut self, socket: &UdpSocket, failures: &mut Vec<SendFailure>) -> Flushed {
        let mut flushed = Flushed::default();
        let mut next = 0;
        let mut tried_again = false;
        while let Some(rest) = self.waiting.get(next..).filter(|rest| !rest.is_empty()) {
            match send_some(socket.as_raw_fd(), socket.local().is_ipv6(), &self.arena, rest) {
                Ok(count) => {
                    flushed.sent += count as u64;
                    next += count;
                    tried_again = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_congestion(&error) => {
                    flushed.dropped += 1;
                    next += 1;
                    tried_again = false;
                }
                Err(_) if !tried_again => tried_again = true,
                Err(error) => {
                    if let Some(datagram) = rest.first() {
                        let bytes = self.arena.get(datagram.bytes.clone()).unwrap_or_default().to_vec();
                        failures.push(SendFailure { to: datagram.to, bytes, error });
                    }
                    next += 1;
                    tried_again = false;
                }
            }
        }
        self.waiting.clear();
        self.arena.clear();
        flushed
    }
}

fn is_congestion(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Send the first of `datagrams`, as many as one call takes; how many left. An error is the first one's.
fn send_some(fd: RawFd, is_v6: bool, arena: &[u8], datagrams: &[Outgoing]) -> io::Result<usize> {
    // At most times one or two wait: only what they need is written.
    let mut pieces = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; BATCH];
    for ((((datagram, header), piece), name), control) in
        datagrams.iter().zip(&mut headers).zip(&mut pieces).zip(&mut names).zip(&mut controls)
    {
        let bytes = arena.get(datagram.bytes.clone()).unwrap_or_default();
        let piece = piece.write(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        // SAFETY: all-zero bytes are a valid sockaddr_storage.
        let name = name.write(unsafe { zeroed() });
        // SAFETY: all-zero bytes are a valid mmsghdr (null pointers with zero lengths).
        let header = header.write(unsafe { zeroed() });
        header.msg_hdr.msg_namelen = address::write(address::for_family(datagram.to, is_v6), name);
        header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        header.msg_hdr.msg_iov = piece;
        header.msg_hdr.msg_iovlen = 1;
        if let Some(from) = datagram.from {
            let from = address::for_family(SocketAddr::new(from, 0), is_v6).ip();
            set_source(&mut header.msg_hdr, control.write(Control([0; 64])), from);
        }
    }
    let count = datagrams.len().min(BATCH);
    #[allow(clippy::cast_possible_truncation, reason = "at most 32")]
    // SAFETY: the first `count` headers are written and point to names, pieces and controls of this frame, written too,
    // and, through the pieces, into `arena`, all alive and unmoved for the call; sendmmsg does not write through iov_base.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr().cast(), count as _, libc::MSG_DONTWAIT as _) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Have the datagram leave from this local address (`IP_PKTINFO`, `IPV6_PKTINFO`).
fn set_source(header: &mut libc::msghdr, control: &mut Control, from: IpAddr) {
    fn put<T>(header: &mut libc::msghdr, control: &mut Control, level: libc::c_int, kind: libc::c_int, info: T) {
        #[allow(clippy::cast_possible_truncation, reason = "12 and 20 bytes")]
        let bytes = size_of::<T>() as libc::c_uint;
        header.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: arithmetic only.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as _;
        // SAFETY: `control` is 8-aligned and, at 64 bytes, larger than either family's message (32 and 40), so the first
        // header and its data are inside it; the data's place is written unaligned.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(header);
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = libc::CMSG_LEN(bytes) as _;
            libc::CMSG_DATA(message).cast::<T>().write_unaligned(info);
        }
    }
    match from {
        IpAddr::V4(from) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            put(header, control, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(from) => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
            put(header, control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(address: &str) -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        socket
    }

    #[test]
    fn more_than_a_batch_leaves_in_order() {
        let (socket, peer) = (UdpSocket::bind("127.0.0.1:0".parse().unwrap(), true).unwrap(), receiver("127.0.0.1:0"));
        let (mut batch, mut failures) = (SendBatch::default(), Vec::new());
        // Two whole batches, and one more.
        let count = u8::try_from(2 * BATCH + 1).unwrap();
        for number in 0..count {
            batch.push(peer.local_addr().unwrap(), None, &[number]);
        }
        assert!(batch.is_full());
        let flushed = batch.flush(&socket, &mut failures);
        assert_eq!(flushed, Flushed { sent: u64::from(count), dropped: 0 });
        assert!(failures.is_empty() && batch.is_empty() && !batch.is_full());
        let mut buffer = [0; 8];
        for number in 0..count {
            assert_eq!(peer.recv_from(&mut buffer).unwrap(), (1, socket.local()));
            assert_eq!(buffer[0], number);
        }
    }

    #[test]
    fn however_many_wait_all_leave_in_order() {
        let (socket, peer) = (UdpSocket::bind("127.0.0.1:0".parse().unwrap(), true).unwrap(), receiver("127.0.0.1:0"));
        let (mut batch, mut failures) = (SendBatch::default(), Vec::new());
        let mut buffer = [0; 8];
        for count in 1..=6 {
            (0..count).for_each(|number| batch.push(peer.local_addr().unwrap(), None, &[number]));
            assert_eq!(batch.flush(&socket, &mut failures).sent, u64::from(count));
            for number in 0..count {
                assert_eq!(peer.recv_from(&mut buffer).unwrap(), (1, socket.local()));
                assert_eq!(buffer[0], number);
            }
        }
    }

    #[test]
    fn a_wildcard_socket_sends_from_the_address_it_is_told() {
        let cases = [
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.9"),
            ("[::]:0", "[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1:0", "127.0.0.9"),
        ];
        for (wildcard, peer, from) in cases {
            let (socket, peer) = (UdpSocket::bind(wildcard.parse().unwrap(), false).unwrap(), receiver(peer));
            let (mut batch, mut failures) = (SendBatch::default(), Vec::new());
            batch.push(peer.local_addr().unwrap(), Some(from.parse().unwrap()), b"hello");
            assert_eq!(batch.flush(&socket, &mut failures).sent, 1);
            let (_, source) = peer.recv_from(&mut [0; 8]).unwrap();
            assert_eq!(source, SocketAddr::new(from.parse().unwrap(), socket.local().port()));
        }
    }

    #[test]
    fn a_datagram_that_cannot_be_sent_fails_alone() {
        let (socket, peer) = (UdpSocket::bind("127.0.0.1:0".parse().unwrap(), true).unwrap(), receiver("127.0.0.1:0"));
        let (mut batch, mut failures) = (SendBatch::default(), Vec::new());
        batch.push(peer.local_addr().unwrap(), None, b"before");
        batch.push(peer.local_addr().unwrap(), None, &vec![0; 65508]);
        batch.push(peer.local_addr().unwrap(), None, b"after");
        assert_eq!(batch.flush(&socket, &mut failures), Flushed { sent: 2, dropped: 0 });
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].error.raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!((failures[0].to, failures[0].bytes.len()), (peer.local_addr().unwrap(), 65508));
    }
}
