//! The error queue (`IP_RECVERR`): what the network says about datagrams we sent.

use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::address;

/// Room for a `sock_extended_err`, the offender's address and packet information.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// One ICMP error, or one of the local stack's.
#[derive(Debug)]
pub struct Complaint<'a> {
    /// Where the datagram was going.
    pub to: SocketAddr,
    /// As errno: `ECONNREFUSED` for ICMP port unreachable.
    pub errno: i32,
    /// The beginning of the datagram, as the network quoted it.
    pub quoted: &'a [u8],
}

/// Take the oldest complaint from the socket's error queue; `None` when there is no more.
///
/// # Errors
/// The socket is none that has such a queue.
pub fn next_complaint<'a>(socket: &impl AsRawFd, buffer: &'a mut [u8]) -> io::Result<Option<Complaint<'a>>> {
    // SAFETY: all-zero bytes are a valid sockaddr_storage and msghdr.
    let mut name: libc::sockaddr_storage = unsafe { zeroed() };
    // SAFETY: as above.
    let mut header: libc::msghdr = unsafe { zeroed() };
    let mut control = Control([0; 256]);
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = libc::socklen_t::try_from(size_of_val(&name)).unwrap_or(0);
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: the header points to live locals and to `buffer`, with their lengths.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        };
    };
    let errno = extended_errno(&header).unwrap_or(0);
    let to = address::read(&name)
        .map(address::canonical)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an error about no IP destination"))?;
    Ok(Some(Complaint { to, errno, quoted: buffer.get(..length).unwrap_or_default() }))
}

fn extended_errno(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: the kernel filled the control buffer that `header` points to and set its length.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: not null, so a whole cmsghdr inside the buffer.
        let kind = unsafe { ((*control).cmsg_level, (*control).cmsg_type) };
        if kind == (libc::IPPROTO_IP, libc::IP_RECVERR) || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) {
            // SAFETY: both carry a sock_extended_err.
            let error = unsafe { libc::CMSG_DATA(control).cast::<libc::sock_extended_err>().read_unaligned() };
            return i32::try_from(error.ee_errno).ok();
        }
        // SAFETY: both pointers are of this message.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Epoll, SendBatch, UdpSocket};

    #[test]
    fn a_closed_port_is_told_with_the_beginning_of_the_datagram() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = UdpSocket::bind(address.parse().unwrap(), true).unwrap();
            let closed = std::net::UdpSocket::bind(address).unwrap().local_addr().unwrap();
            let (mut batch, mut failures) = (SendBatch::default(), Vec::new());
            batch.push(closed, None, b"INVITE sip:1@example.com SIP/2.0\r\n");
            assert_eq!(batch.flush(&socket, &mut failures).sent, 1);

            let epoll = Epoll::new().unwrap();
            epoll.add(socket.as_raw_fd(), 7).unwrap();
            let mut ready = Vec::new();
            epoll.wait(Some(std::time::Duration::from_secs(5)), &mut ready).unwrap();
            assert!(ready[0].error);

            let mut buffer = [0; 2048];
            let complaint = next_complaint(&socket, &mut buffer).unwrap().unwrap();
            assert_eq!((complaint.to, complaint.errno), (closed, libc::ECONNREFUSED));
            assert_eq!(complaint.quoted, b"INVITE sip:1@example.com SIP/2.0\r\n");
            assert!(next_complaint(&socket, &mut buffer).unwrap().is_none());
        }
    }

    #[test]
    fn an_earlier_error_does_not_fail_the_next_datagram() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let open = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (mut batch, mut failures) = (SendBatch::default(), Vec::new());
        batch.push(closed, None, b"lost");
        assert_eq!(batch.flush(&socket, &mut failures).sent, 1);
        batch.push(open.local_addr().unwrap(), None, b"kept");
        assert_eq!(batch.flush(&socket, &mut failures).sent, 1);
        assert!(failures.is_empty());
        open.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        assert_eq!(open.recv_from(&mut [0; 8]).unwrap(), (4, socket.local()));
    }

    #[test]
    fn an_ipv6_wildcard_hears_of_ipv4_peers_too() {
        let socket = UdpSocket::bind("[::]:0".parse().unwrap(), false).unwrap();
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (mut batch, mut failures) = (SendBatch::default(), Vec::new());
        batch.push(closed, Some("127.0.0.9".parse().unwrap()), b"lost");
        assert_eq!(batch.flush(&socket, &mut failures).sent, 1);
        let mut buffer = [0; 2048];
        let complaint = next_complaint(&socket, &mut buffer).unwrap().unwrap();
        assert_eq!((complaint.to, complaint.errno, complaint.quoted), (closed, libc::ECONNREFUSED, &b"lost"[..]));
    }
}
