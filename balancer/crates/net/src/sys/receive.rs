//! recvmmsg: up to 32 datagrams in one call, each with its source and the local address it was sent to.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

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

/// Reusable room for one batch (2 MiB, touched only as far as datagrams reach).
pub struct ReceiveBatch {
    bytes: Box<[u8]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[Control; BATCH]>,
    /// Of the last batch: length, source and local address by slot.
    taken: Vec<(usize, SocketAddr, Option<IpAddr>)>,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveBatch {
    /// Room for one batch.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * SLOT].into_boxed_slice(),
            // SAFETY: all-zero bytes are a valid sockaddr_storage (it is integers and padding).
            names: Box::new(unsafe { zeroed() }),
            controls: Box::new([Control([0; 64]); BATCH]),
            taken: Vec::with_capacity(BATCH),
        }
    }

    /// Take what waits at the socket, at most one batch; 0 when nothing does.
    ///
    /// # Errors
    /// What `recvmmsg` says of the socket, or of an earlier datagram's way.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.taken.clear();
        // SAFETY: all-zero bytes are valid iovecs and mmsghdrs (null pointers with zero lengths).
        let mut pieces: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for ((((header, piece), name), control), slot) in headers
            .iter_mut()
            .zip(&mut pieces)
            .zip(self.names.iter_mut())
            .zip(self.controls.iter_mut())
            .zip(self.bytes.chunks_exact_mut(SLOT))
        {
            piece.iov_base = slot.as_mut_ptr().cast();
            piece.iov_len = slot.len();
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = NAME_BYTES;
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.0.len() as _;
        }
        let count = receive_many(socket.as_raw_fd(), &mut headers)?;
        for (header, name) in headers.iter().zip(self.names.iter()).take(count) {
            // A datagram of another family cannot arrive on an IP socket; port 0 would be refused as a destination.
            let source = address::read(name).unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
            let local = local_address(&header.msg_hdr).map(|ip| ip.to_canonical());
            self.taken.push((header.msg_len as usize, address::canonical(source), local));
        }
        Ok(count)
    }

    /// The datagrams of the last batch.
    pub fn datagrams(&self) -> impl Iterator<Item = Received<'_>> {
        self.taken.iter().zip(self.bytes.chunks_exact(SLOT)).filter_map(|(&(length, source, local_ip), slot)| {
            Some(Received { bytes: slot.get(..length)?, source, local_ip })
        })
    }
}

#[allow(clippy::cast_possible_truncation, reason = "128")]
const NAME_BYTES: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

fn receive_many(fd: RawFd, headers: &mut [libc::mmsghdr; BATCH]) -> io::Result<usize> {
    loop {
        #[allow(clippy::cast_possible_truncation, reason = "32")]
        // SAFETY: each header's pointers lead into memory that `ReceiveBatch::receive` borrows exclusively for longer
        // than this call, with the lengths they say.
        let count = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), BATCH as _, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
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
