//! TCP sockets, all of them non-blocking: listening ones, accepted ones, outgoing ones.

use std::io::{self, Read as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::address::{canonical, for_family};
use super::socket::switch_on;

/// Connections that wait to be accepted; the kernel takes less where `net.core.somaxconn` says so.
const BACKLOG: i32 = 1024;
/// A peer that takes or acknowledges nothing for so long is gone (`TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// A silent peer is asked for a sign of life after this, so often, at this interval; it also keeps NATs open.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct TcpAcceptor {
    socket: Socket,
    local: SocketAddr,
}

impl TcpAcceptor {
    /// Bind and listen alone: fails where any other socket listens there, of another process too.
    pub(crate) fn bind(address: SocketAddr, only_v6: bool) -> io::Result<Self> {
        Self::open(address, only_v6, false)
    }

    /// Bind and listen together with the other workers' sockets of this process (`SO_REUSEPORT`).
    pub(crate) fn bind_shared(address: SocketAddr, only_v6: bool) -> io::Result<Self> {
        Self::open(address, only_v6, true)
    }

    fn open(address: SocketAddr, only_v6: bool, shared: bool) -> io::Result<Self> {
        let socket = new_socket(address)?;
        // Connections of our former life may linger at the port; one that listens there is refused even so.
        socket.set_reuse_address(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        // What is accepted inherits the options.
        set_options(&socket)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        Ok(Self { local: address_of(&socket.local_addr()?)?, socket })
    }

    /// The address as bound, with the port that the kernel picked.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Take one connection with its peer's address; `None` when none waits.
    pub(crate) fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            match self.socket.accept() {
                Ok((socket, peer)) => {
                    socket.set_nonblocking(true)?;
                    return Ok(Some((TcpStream { socket }, canonical(address_of(&peer)?))));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // The peer went away while it waited.
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for TcpAcceptor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct TcpStream {
    socket: Socket,
}

impl TcpStream {
    /// Begin to connect, from this address where one is given, always from a port that the kernel picks. Writable once
    /// it is decided; then [`TcpStream::connected`] tells how.
    pub(crate) fn connect(from: Option<IpAddr>, to: SocketAddr) -> io::Result<Self> {
        let to = for_family(to, from.map_or(to.is_ipv6(), |from| from.is_ipv6()));
        let socket = new_socket(to)?;
        set_options(&socket)?;
        if let Some(from) = from {
            // The port is picked with the peer in view, so that ports are not used up by one peer's connections.
            switch_on(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)?;
            socket.bind(&SockAddr::from(for_family(SocketAddr::new(from, 0), to.is_ipv6())))?;
        }
        match socket.connect(&SockAddr::from(to)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(Self { socket }),
        }
    }

    #[cfg(test)]
    pub(crate) fn into_std(self) -> std::net::TcpStream {
        self.socket.into()
    }

    /// The outcome of a connect, once the socket is writable.
    pub(crate) fn connected(&self) -> io::Result<()> {
        self.socket.take_error()?.map_or(Ok(()), Err)
    }

    /// Our own address of the connection.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        Ok(canonical(address_of(&self.socket.local_addr()?)?))
    }

    /// Read what is there; `None` when nothing is, 0 when the peer will send no more.
    pub(crate) fn read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        patiently((&self.socket).read(room))
    }

    /// Write as much as the kernel takes; `None` when it takes nothing now.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        patiently(self.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL))
    }

    /// Tell the peer that nothing more will come. A peer that is gone already needs no telling.
    pub(crate) fn finish(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// An interrupted call is as one that found nothing: the socket stays ready, so it is tried again.
fn patiently(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn set_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES),
    )
}

fn address_of(address: &SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a TCP socket without an IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// Non-blocking calls until one finds something.
    fn eventually<T>(mut call: impl FnMut() -> io::Result<Option<T>>) -> T {
        for _ in 0..5000 {
            if let Some(found) = call().unwrap() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("never came");
    }

    #[test]
    fn what_is_accepted_has_the_options_and_says_where_from() {
        let acceptor = TcpAcceptor::bind_shared(loopback(), false).unwrap();
        assert!(acceptor.accept().unwrap().is_none());
        let mut client = std::net::TcpStream::connect(acceptor.local()).unwrap();
        let (stream, peer) = eventually(|| acceptor.accept());
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(stream.local().unwrap().ip(), IpAddr::from([127, 0, 0, 1]));
        assert!(stream.socket.tcp_nodelay().unwrap() && stream.socket.keepalive().unwrap());
        assert_eq!(stream.socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
        let mut room = [0; 8];
        assert_eq!(stream.read(&mut room).unwrap(), None);
        client.write_all(b"abc").unwrap();
        assert_eq!(eventually(|| stream.read(&mut room)), 3);
        drop(client);
        assert_eq!(eventually(|| stream.read(&mut room)), 0);
    }

    #[test]
    fn listening_alone_finds_the_port_taken_and_workers_share_it() {
        let first = TcpAcceptor::bind_shared(loopback(), false).unwrap();
        assert_eq!(TcpAcceptor::bind_shared(first.local(), false).unwrap().local(), first.local());
        let error = TcpAcceptor::bind(first.local(), false).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    }

    #[test]
    fn a_port_with_a_lingering_connection_can_be_bound_again() {
        let acceptor = TcpAcceptor::bind(loopback(), false).unwrap();
        let mut client = std::net::TcpStream::connect(acceptor.local()).unwrap();
        let (stream, _) = eventually(|| acceptor.accept());
        let address = acceptor.local();
        // We close first, so TIME_WAIT is on our side.
        drop((stream, acceptor));
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        drop(client);
        TcpAcceptor::bind(address, false).unwrap();
    }

    #[test]
    fn connects_from_the_address_it_is_told() {
        for (bound, from) in [("127.0.0.1:0", "127.0.0.7"), ("[::1]:0", "::1")] {
            let acceptor = TcpAcceptor::bind(bound.parse().unwrap(), false).unwrap();
            let from: IpAddr = from.parse().unwrap();
            let stream = TcpStream::connect(Some(from), acceptor.local()).unwrap();
            let (accepted, peer) = eventually(|| acceptor.accept());
            assert_eq!(peer.ip(), from);
            stream.connected().unwrap();
            assert_eq!(stream.local().unwrap().ip(), from);
            assert_eq!(eventually(|| stream.write(b"hi")), 2);
            stream.finish();
            let mut room = [0; 8];
            assert_eq!(eventually(|| accepted.read(&mut room)), 2);
            assert_eq!(eventually(|| accepted.read(&mut room)), 0);
        }
    }

    #[test]
    fn a_refused_connect_is_told_when_it_is_decided() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let outcome = TcpStream::connect(None, closed).and_then(|stream| {
            eventually(|| match stream.connected() {
                Ok(()) => Ok(None),
                Err(error) => Ok(Some(error)),
            })
            .raw_os_error()
            .map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
        });
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::ECONNREFUSED));
    }

    #[test]
    fn both_families_come_in_at_a_wildcard_and_show_their_own_addresses() {
        let acceptor = TcpAcceptor::bind("[::]:0".parse().unwrap(), false).unwrap();
        for ip in ["127.0.0.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let client = std::net::TcpStream::connect((ip, acceptor.local().port())).unwrap();
            let (stream, peer) = eventually(|| acceptor.accept());
            assert_eq!((peer, stream.local().unwrap().ip()), (client.local_addr().unwrap(), ip));
        }
        let alone = TcpAcceptor::bind("[::]:0".parse().unwrap(), true).unwrap();
        let refused = std::net::TcpStream::connect(("127.0.0.1", alone.local().port())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
