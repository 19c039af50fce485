//! recvmmsg: up to 32 datagrams in one call, each with its source and the local address it was sent to.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;

use super::{BATCH, address};

/// No UDP datagram is longer, so none is ever cut.
const SLOT: usize = 1 << 16;

/// Room for either family's packet information (32 and 40 bytes), aligned as a control message must be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 64]);

/// One datagram. Addresses of IPv4 stand in their own shape, whatever the socket's family.
#[derive(Debug)]
pub struct Received<'a> {
    /// The whole of it.
    pub bytes: &'a [u8],
    /// Where it came from.
    pub source: SocketAddr,
    /// The local address it was sent to.
    pub local_ip: Option<IpAddr>,
}

/// What the kernel reads and writes with one call: headers that lead into the other arrays and into the slots.
struct Room {
    headers: [libc::mmsghdr; BATCH],
    pieces: [libc::iovec; BATCH],
    names: [libc::sockaddr_storage; BATCH],
    controls: [Control; BATCH],
}

/// Reusable room for one batch (2 MiB, touched only as far as datagrams reach). The headers are written once: a call
/// changes only those of the datagrams it takes.
pub struct ReceiveBatch {
    /// From a `Box`, owned by this value; a raw pointer, so that those in the headers stay good when it is moved.
    room: NonNull<Room>,
    /// `BATCH` slots of `SLOT` bytes, owned in the same way.
    slots: NonNull<[[u8; SLOT]]>,
    /// Datagrams of the last batch.
    count: usize,
}

// SAFETY: `room` and `slots` are owned by this value alone, and all pointers in them lead into themselves.
unsafe impl Send for ReceiveBatch {}

impl Drop for ReceiveBatch {
    fn drop(&mut self) {
        // SAFETY: both came from a `Box` of the same layout in `new`, and nothing that borrows them outlives this value.
        unsafe {
            drop(Box::from_raw(self.room.as_ptr()));
            drop(Box::from_raw(self.slots.as_ptr()));
        }
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveBatch {
    /// Room for one batch.
    pub fn new() -> Self {
        // As bytes, for these come zeroed from the system and stay untouched.
        let bytes: &mut [u8] = Box::leak(vec![0; BATCH * SLOT].into_boxed_slice());
        let slots = NonNull::slice_from_raw_parts(NonNull::from(bytes).cast::<[u8; SLOT]>(), BATCH);
        // SAFETY: all-zero bytes are a valid `Room` (integers, padding, null pointers with zero lengths).
        let room = NonNull::from(Box::leak(Box::new(unsafe { zeroed::<Room>() })));
        let (place, first) = (room.as_ptr(), slots.as_ptr().cast::<[u8; SLOT]>());
        for index in 0..BATCH {
            // SAFETY: `index` is below the length of every array of the room and of the slots; both are alive, and
            // borrowed by nobody. Every pointer is made from theirs, so that it stays good as long as they do.
            unsafe {
                let piece = (&raw mut (*place).pieces).cast::<libc::iovec>().add(index);
                (*piece).iov_base = first.add(index).cast();
                (*piece).iov_len = SLOT;
                let header = (&raw mut (*place).headers).cast::<libc::mmsghdr>().add(index);
                (*header).msg_hdr.msg_name =
                    (&raw mut (*place).names).cast::<libc::sockaddr_storage>().add(index).cast();
                (*header).msg_hdr.msg_iov = piece;
                (*header).msg_hdr.msg_iovlen = 1;
                (*header).msg_hdr.msg_control = (&raw mut (*place).controls).cast::<Control>().add(index).cast();
                make_ready(header);
            }
        }
        Self { room, slots, count: 0 }
    }

    /// Take what waits at the socket, at most one batch; 0 when nothing does.
    ///
    /// # Errors
    /// What `recvmmsg` says of the socket, or of an earlier datagram's way.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        // SAFETY: a place inside the room, which lives as long as this value.
        let headers = unsafe { (&raw mut (*self.room.as_ptr()).headers).cast::<libc::mmsghdr>() };
        // One more than were taken: whether the kernel wrote to that of a datagram that failed is not told.
        for index in 0..BATCH.min(self.count + 1) {
            // SAFETY: below the number of headers, which this value borrows exclusively here.
            unsafe { make_ready(headers.add(index)) };
        }
        self.count = 0;
        self.count = receive_many(socket.as_raw_fd(), headers)?.min(BATCH);
        Ok(self.count)
    }

    /// The datagrams of the last batch.
    pub fn datagrams(&self) -> impl Iterator<Item = Received<'_>> {
        // SAFETY: alive as long as this value, and written only by what borrows it exclusively.
        let (room, slots) = unsafe { (self.room.as_ref(), self.slots.as_ref()) };
        room.headers.iter().zip(&room.names).zip(slots).take(self.count).filter_map(|((header, name), slot)| {
            // A datagram of another family cannot arrive on an IP socket; port 0 would be refused as a destination.
            let source = address::read(name).unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
            let local_ip = local_address(&header.msg_hdr).map(|ip| ip.to_canonical());
            let bytes = slot.get(..header.msg_len as usize)?;
            Some(Received { bytes, source: address::canonical(source), local_ip })
        })
    }
}

/// Give a header the lengths of what it leads to, which the kernel overwrites with those of what it wrote.
///
/// # Safety
/// `header` is that of a live `mmsghdr` that nobody else borrows.
unsafe fn make_ready(header: *mut libc::mmsghdr) {
    // SAFETY: the caller's.
    unsafe {
        (*header).msg_hdr.msg_namelen = NAME_BYTES;
        (*header).msg_hdr.msg_controllen = size_of::<Control>() as _;
    }
}

#[allow(clippy::cast_possible_truncation, reason = "128")]
const NAME_BYTES: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// `headers`: the first of `BATCH`, in a room that the caller borrows exclusively.
fn receive_many(fd: RawFd, headers: *mut libc::mmsghdr) -> io::Result<usize> {
    loop {
        #[allow(clippy::cast_possible_truncation, reason = "32")]
        // SAFETY: there are `BATCH` headers, and their pointers lead into memory that `ReceiveBatch::receive` borrows
        // exclusively for longer than this call, with the lengths they say.
        let count = unsafe { libc::recvmmsg(fd, headers, BATCH as _, libc::MSG_DONTWAIT as _, std::ptr::null_mut()) };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Ok(0),
            _ => return Err(error),
        }
    }
}

/// The local address a datagram was sent to (`IP_PKTINFO`, `IPV6_PKTINFO`).
fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel filled the control buffer that `header` points to and set its length; the buffer is still
    // borrowed by the caller. CMSG_FIRSTHDR and CMSG_NXTHDR stay inside it.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: not null, so a whole cmsghdr inside the buffer, aligned as `Control` is.
        let (level, kind) = unsafe { ((*control).cmsg_level, (*control).cmsg_type) };
        // SAFETY: the data of this message, inside the buffer.
        let data = unsafe { libc::CMSG_DATA(control) };
        if level == libc::IPPROTO_IP && kind == libc::IP_PKTINFO {
            // SAFETY: this level and type carry an in_pktinfo; read unaligned, for its place is only 4-aligned.
            let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
            return Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
        }
        if level == libc::IPPROTO_IPV6 && kind == libc::IPV6_PKTINFO {
            // SAFETY: as above, an in6_pktinfo.
            let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
            return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
        }
        // SAFETY: both pointers are of this message.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::UdpSocket;

    #[test]
    fn a_batch_keeps_order_sources_and_local_addresses() {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into(), true).unwrap();
        let first = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        let second = std::net::UdpSocket::bind("127.0.0.3:0").unwrap();
        first.send_to(b"one", ("127.0.0.4", socket.local().port())).unwrap();
        second.send_to(b"", ("127.0.0.5", socket.local().port())).unwrap();
        first.send_to(&vec![7; 65507], ("127.0.0.4", socket.local().port())).unwrap();
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(&socket).unwrap(), 3);
        let got: Vec<_> = batch.datagrams().map(|d| (d.bytes.to_vec(), d.source, d.local_ip)).collect();
        let (from_first, from_second) = (first.local_addr().unwrap(), second.local_addr().unwrap());
        let (fourth, fifth) = (Some("127.0.0.4".parse().unwrap()), Some("127.0.0.5".parse().unwrap()));
        assert_eq!(got[0], (b"one".to_vec(), from_first, fourth));
        assert_eq!(got[1], (Vec::new(), from_second, fifth));
        assert_eq!((got[2].0.len(), got[2].1, got[2].2), (65507, from_first, fourth));
        assert_eq!(batch.receive(&socket).unwrap(), 0);
        assert_eq!(batch.datagrams().count(), 0);
    }

    #[test]
    fn version_six_tells_its_local_address_too() {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0).into(), true).unwrap();
        let sender = std::net::UdpSocket::bind("[::1]:0").unwrap();
        sender.send_to(b"six", ("::1", socket.local().port())).unwrap();
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(&socket).unwrap(), 1);
        let datagram = batch.datagrams().next().unwrap();
        assert_eq!(datagram.local_ip, Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(datagram.source, sender.local_addr().unwrap());
    }

    #[test]
    fn at_most_one_batch_is_taken() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..=BATCH {
            sender.send_to(b"x", socket.local()).unwrap();
        }
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(&socket).unwrap(), BATCH);
        assert_eq!(batch.receive(&socket).unwrap(), 1);
    }

    #[test]
    fn a_header_is_whole_again_after_a_shorter_name() {
        let (four, six) = (
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into(), true).unwrap(),
            UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0).into(), true).unwrap(),
        );
        let mut batch = ReceiveBatch::new();
        for round in 0..3 {
            for (socket, ip) in [(&four, "127.0.0.1"), (&six, "::1")] {
                let ip: IpAddr = ip.parse().unwrap();
                let sender = std::net::UdpSocket::bind((ip, 0)).unwrap();
                // The batch works the same wherever it lies.
                let mut moved = Box::new(batch);
                for part in 0..=round {
                    sender.send_to(&[part], (ip, socket.local().port())).unwrap();
                }
                assert_eq!(moved.receive(socket).unwrap(), usize::from(round) + 1);
                for (received, part) in moved.datagrams().zip(0..) {
                    let expected = (&[part][..], sender.local_addr().unwrap(), Some(ip));
                    assert_eq!((received.bytes, received.source, received.local_ip), expected);
                }
                batch = *moved;
            }
        }
    }

    #[test]
    fn both_families_come_in_at_a_wildcard_and_show_their_own_addresses() {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0).into(), false).unwrap();
        for ip in ["127.0.0.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let sender = std::net::UdpSocket::bind((ip, 0)).unwrap();
            sender.send_to(b"hello", (ip, socket.local().port())).unwrap();
            let mut batch = ReceiveBatch::new();
            assert_eq!(batch.receive(&socket).unwrap(), 1);
            let datagram = batch.datagrams().next().unwrap();
            assert_eq!((datagram.source, datagram.local_ip), (sender.local_addr().unwrap(), Some(ip)));
        }
    }
}
