//! Binding every socket of every worker, before anything runs.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::settings::{Settings, Transports};
use crate::sys::{TcpAcceptor, UdpSocket};

/// Where the kernel picks the port, it may be free for datagrams and taken for connections: pick again so often.
const PICKS: usize = 32;

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be bound to {address}: {source}")]
pub struct BindError {
    /// Which socket.
    pub what: String,
    /// Where; port 0 where the kernel was to pick.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// One address of one worker, at the same port for both transports.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    pub(crate) udp: Option<UdpSocket>,
    pub(crate) tcp: Option<TcpAcceptor>,
}

/// One worker's sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) listeners: Vec<Bound>,
    pub(crate) node_side: Option<Bound>,
    pub(crate) worker: Bound,
}

/// Bind for every worker.
pub(crate) fn bind(settings: &Settings) -> Result<Vec<Sockets>, BindError> {
    let workers = usize::from(settings.workers);
    let mut by_worker: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in &settings.listeners {
        let place = Place::of(settings, listener.address, listener.transports);
        let shared = place.bind_shared(&format!("listener {}", listener.name), workers)?;
        by_worker.iter_mut().zip(shared).for_each(|(sockets, bound)| sockets.push(bound));
    }
    let node_side = match &settings.node_side {
        None => (0..workers).map(|_| None).collect(),
        Some(side) => {
            let place = Place::of(settings, side.address, Transports::BOTH);
            place.bind_shared("node side", workers)?.into_iter().map(Some).collect::<Vec<_>>()
        }
    };
    let mut next_port = *settings.worker_ports.start();
    by_worker
        .into_iter()
        .zip(node_side)
        .map(|(listeners, node_side)| {
            let worker = bind_worker(settings, &mut next_port)?;
            Ok(Sockets { listeners, node_side, worker })
        })
        .collect()
}

/// An address and what is wanted there.
#[derive(Clone, Copy)]
struct Place {
    address: SocketAddr,
    transports: Transports,
    /// An IPv6 wildcard takes IPv4 peers in, too, unless IPv4 has a socket of its own at that port.
    only_v6: bool,
}

impl Place {
    fn of(settings: &Settings, address: SocketAddr, transports: Transports) -> Self {
        let listeners = settings.listeners.iter().map(|listener| listener.address);
        let mut others = listeners.chain(settings.node_side.as_ref().map(|side| side.address));
        let taken = others.any(|other| other.is_ipv4() && other.port() == address.port() && other.port() != 0);
        Self { address, transports, only_v6: taken || !address.ip().is_unspecified() }
    }

    fn bind(self, shared: bool) -> Result<Bound, (io::Error, &'static str)> {
        let Self { mut address, transports, only_v6 } = self;
        let (mut udp, mut tcp) = (None, None);
        if transports.udp {
            let bind = if shared { UdpSocket::bind_shared } else { UdpSocket::bind };
            let socket = bind(address, only_v6).map_err(|error| (error, ""))?;
            address = socket.local();
            udp = Some(socket);
        }
        if transports.tcp {
            let bind = if shared { TcpAcceptor::bind_shared } else { TcpAcceptor::bind };
            let acceptor = bind(address, only_v6).map_err(|error| (error, " for TCP"))?;
            address = acceptor.local();
            tcp = Some(acceptor);
        }
        Ok(Bound { address, udp, tcp })
    }

    /// Alone, at a port that the kernel picks where none is given.
    fn bind_alone(self, what: &str) -> Result<Bound, BindError> {
        let mut picks = if self.address.port() == 0 { PICKS } else { 1 };
        loop {
            picks -= 1;
            match self.bind(false) {
                Err((error, _)) if error.kind() == io::ErrorKind::AddrInUse && picks > 0 => {}
                result => {
                    return result.map_err(|(source, transport)| BindError {
                        what: format!("{what}{transport}"),
                        address: self.address,
                        source,
                    });
                }
            }
        }
    }

    /// One address for all workers. `SO_REUSEPORT` would let a second process of the same user in, too, and it would
    /// take a part of the packets; so the address is first bound alone.
    fn bind_shared(self, what: &str, workers: usize) -> Result<Vec<Bound>, BindError> {
        let address = self.bind_alone(what)?.address;
        let place = Self { address, ..self };
        let bound = |(source, transport)| BindError { what: format!("{what}{transport}"), address, source };
        (0..workers).map(|_| place.bind(true).map_err(bound)).collect()
    }
}

/// The next port of the range that is free for both transports, in order: the same ports after each restart, where they
/// are free.
fn bind_worker(settings: &Settings, next_port: &mut u16) -> Result<Bound, BindError> {
    let (ip, last) = (settings.worker_address, *settings.worker_ports.end());
    if last == 0 {
        return bind_one(settings, ip, 0);
    }
    loop {
        let port = *next_port;
        *next_port = port.saturating_add(1);
        match bind_one(settings, ip, port) {
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse && port < last => {}
            result => return result,
        }
    }
}

fn bind_one(settings: &Settings, ip: IpAddr, port: u16) -> Result<Bound, BindError> {
    Place::of(settings, SocketAddr::new(ip, port), Transports::BOTH).bind_alone("worker port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Listener, NodeSide, Tcp};
    use std::time::Duration;

    fn settings(listener: SocketAddr, worker_ports: std::ops::RangeInclusive<u16>) -> Settings {
        Settings {
            listeners: vec![Listener {
                name: "public".into(),
                address: listener,
                advertise: None,
                nat: false,
                transports: Transports::BOTH,
                allow: Vec::new(),
            }],
            node_side: None,
            worker_address: listener.ip(),
            worker_ports,
            workers: 2,
            max_transactions: 10,
            tcp: Tcp::default(),
            hep: None,
            stop_deadline: Duration::ZERO,
            run_id: None,
        }
    }

    fn free_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn workers_share_listeners_and_have_a_port_of_their_own() {
        let mut settings = settings(free_port(), 0..=0);
        settings.node_side = Some(NodeSide { address: free_port(), advertise: Vec::new(), sources: Vec::new() });
        let sockets = bind(&settings).unwrap();
        let [first, second] = sockets.as_slice() else { panic!("two workers") };
        assert_eq!(first.listeners[0].address, second.listeners[0].address);
        let side = |sockets: &Sockets| sockets.node_side.as_ref().unwrap().address;
        assert_eq!(side(first), side(second));
        assert_ne!(first.worker.address, second.worker.address);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = UdpSocket::bind_shared(free_port(), true).unwrap();
        let error = bind(&settings(taken.local(), 0..=0)).unwrap_err();
        assert_eq!((error.what.as_str(), error.address), ("listener public", taken.local()));
        assert_eq!(error.source.raw_os_error(), Some(libc::EADDRINUSE));
        assert!(error.to_string().contains("Address already in use"), "{error}");
    }

    #[test]
    fn an_address_that_is_not_ours_is_named() {
        let error = bind(&settings("192.0.2.1:5060".parse().unwrap(), 0..=0)).unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::EADDRNOTAVAIL));
    }

    #[test]
    fn a_taken_worker_port_is_passed_over_until_the_range_ends() {
        // An address of its own: the other tests' sockets are elsewhere.
        let ip = std::net::Ipv4Addr::new(127, 0, 0, 77);
        let at = |port| SocketAddr::from((ip, port));
        let is_free = |port| UdpSocket::bind(at(port), true).is_ok();
        let port = (20_000..30_000).step_by(3).find(|port| (*port..port + 3).all(is_free)).unwrap();
        let taken = UdpSocket::bind(at(port + 1), true).unwrap();
        let sockets = bind(&settings(at(0), port..=port + 2)).unwrap();
        let ports: Vec<_> = sockets.iter().map(|sockets| sockets.worker.address.port()).collect();
        assert_eq!(ports, [port, port + 2]);
        drop(sockets);
        let error = bind(&settings(at(0), port..=port + 1)).unwrap_err();
        assert_eq!((error.what.as_str(), error.address), ("worker port", taken.local()));
    }

    #[test]
    fn a_port_that_is_taken_for_connections_only_is_passed_over_too() {
        let ip = std::net::Ipv4Addr::new(127, 0, 0, 78);
        let at = |port| SocketAddr::from((ip, port));
        let is_free = |port| UdpSocket::bind(at(port), true).is_ok() && TcpAcceptor::bind(at(port), true).is_ok();
        let port = (20_000..30_000).step_by(3).find(|port| (*port..port + 3).all(is_free)).unwrap();
        let taken = TcpAcceptor::bind(at(port), true).unwrap();
        let sockets = bind(&settings(at(0), port..=port + 2)).unwrap();
        let ports: Vec<_> = sockets.iter().map(|sockets| sockets.worker.address.port()).collect();
        assert_eq!(ports, [port + 1, port + 2]);
        let mut listener = settings(at(port), 0..=0);
        let error = bind(&listener).unwrap_err();
        assert_eq!((error.what.as_str(), error.address), ("listener public for TCP", taken.local()));
        listener.listeners[0].transports = Transports::UDP;
        assert!(bind(&listener).unwrap()[0].listeners[0].tcp.is_none());
    }

    #[test]
    fn an_ipv6_wildcard_leaves_ipv4_to_a_listener_of_its_own() {
        let mut both = settings("0.0.0.0:0".parse().unwrap(), 0..=0);
        let port = bind(&both).unwrap()[0].listeners[0].address.port();
        both.listeners[0].address.set_port(port);
        let mut six = both.listeners[0].clone();
        (six.name, six.address) = ("six".into(), SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)));
        both.listeners.push(six);
        let sockets = bind(&both).unwrap();
        assert_eq!(sockets[1].listeners[1].address, both.listeners[1].address);
    }
}
