//! UDP sockets with the options a SIP element needs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Asked of the kernel for both directions; it gives what `net.core.{r,w}mem_max` allow.
const BUFFER_BYTES: usize = 4 << 20;

/// A bound, non-blocking UDP socket that tells each datagram's local address and queues the network's errors. One of
/// IPv6 that is not `only_v6` serves IPv4 peers as well, if it is bound to `::`.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
}

impl UdpSocket {
    /// Bind alone: fails where any other socket, of another process too, holds the address.
    ///
    /// # Errors
    /// The address is taken or not this machine's, or no socket can be had.
    pub fn bind(address: SocketAddr, only_v6: bool) -> io::Result<Self> {
        Self::open(address, only_v6, false)
    }

    /// Bind together with the other workers' sockets of this process (`SO_REUSEPORT`).
    pub(crate) fn bind_shared(address: SocketAddr, only_v6: bool) -> io::Result<Self> {
        Self::open(address, only_v6, true)
    }

    /// One that sends to this address, from wherever the kernel likes, and hears nothing: neither datagrams nor what the
    /// network says of those it sent.
    pub(crate) fn only_sending(to: IpAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address((to, 0).into()), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_send_buffer_size(BUFFER_BYTES)?;
        // What strangers send to it stays unread: the least there is.
        socket.set_recv_buffer_size(0)?;
        let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        Ok(Self { socket, local: (any, 0).into() })
    }

    fn open(address: SocketAddr, only_v6: bool, shared: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        // Less than asked is given without an error; an error here would be one of the kernel's memory.
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
        socket.set_send_buffer_size(BUFFER_BYTES)?;
        if address.is_ipv6() {
            socket.set_only_v6(only_v6)?;
            switch_on(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
            switch_on(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)?;
            if !only_v6 {
                // ICMP errors about datagrams to IPv4 peers.
                switch_on(&socket, libc::IPPROTO_IP, libc::IP_RECVERR)?;
            }
        } else {
            switch_on(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO)?;
            switch_on(&socket, libc::IPPROTO_IP, libc::IP_RECVERR)?;
        }
        socket.bind(&SockAddr::from(address))?;
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a UDP socket without an IP address"))?;
        Ok(Self { socket, local })
    }

    /// The address as bound, with the port that the kernel picked.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams that the kernel dropped at this socket so far, mostly for a full receive buffer.
    pub fn dropped(&self) -> u64 {
        const DROPS: usize = 8; // SK_MEMINFO_DROPS in linux/sock_diag.h
        const SO_MEMINFO: libc::c_int = 55;
        let mut figures = [0_u32; DROPS + 1];
        let mut length = libc::socklen_t::try_from(size_of_val(&figures)).unwrap_or(0);
        // SAFETY: `figures` has `length` bytes and outlives the call.
        let result = unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_MEMINFO,
                figures.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result < 0 { 0 } else { u64::from(figures[DROPS]) }
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

pub(super) fn switch_on(socket: &Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(0);
    // SAFETY: `on` is a live c_int of `length` bytes.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The local address from which the kernel would send to `peer` (no packet is sent).
pub(crate) fn source_towards(peer: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect((peer, 9))?; // discard: the port plays no part in the route
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    #[test]
    fn port_zero_is_resolved_and_shared_by_workers() {
        let first = UdpSocket::bind_shared(loopback(0), true).unwrap();
        assert_ne!(first.local().port(), 0);
        assert_eq!(UdpSocket::bind_shared(first.local(), true).unwrap().local(), first.local());
    }

    #[test]
    fn a_bind_alone_finds_the_address_taken_by_a_sharing_socket() {
        let first = UdpSocket::bind_shared(loopback(0), true).unwrap();
        assert_eq!(UdpSocket::bind(first.local(), true).unwrap_err().raw_os_error(), Some(libc::EADDRINUSE));
    }

    #[test]
    fn the_source_towards_loopback_is_loopback() {
        assert_eq!(source_towards(Ipv4Addr::new(127, 0, 0, 9).into()).unwrap(), IpAddr::from(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn datagrams_past_the_receive_buffer_are_known() {
        let socket = UdpSocket::bind(loopback(0), true).unwrap();
        socket.socket.set_recv_buffer_size(1).unwrap();
        let sender = std::net::UdpSocket::bind(loopback(0)).unwrap();
        assert_eq!(socket.dropped(), 0);
        for _ in 0..64 {
            sender.send_to(&[0; 2048], socket.local()).unwrap();
        }
        assert!(socket.dropped() > 0);
    }
}
