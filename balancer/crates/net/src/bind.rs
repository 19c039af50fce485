//! Binding every socket of every worker, before anything runs.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::settings::Settings;
use crate::sys::UdpSocket;

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

/// One worker's sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) listeners: Vec<UdpSocket>,
    pub(crate) node_side: Option<UdpSocket>,
    pub(crate) worker: UdpSocket,
}

/// Bind for every worker.
pub(crate) fn bind(settings: &Settings) -> Result<Vec<Sockets>, BindError> {
    let workers = usize::from(settings.workers);
    let mut by_worker: Vec<Vec<UdpSocket>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in &settings.listeners {
        let shared = bind_shared(&format!("listener {}", listener.name), listener.address, workers)?;
        by_worker.iter_mut().zip(shared).for_each(|(sockets, socket)| sockets.push(socket));
    }
    let node_side = match &settings.node_side {
        None => (0..workers).map(|_| None).collect(),
        Some(side) => bind_shared("node side", side.address, workers)?.into_iter().map(Some).collect::<Vec<_>>(),
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

/// One address for all workers. `SO_REUSEPORT` would let a second process of the same user in, too, and it would take a
/// part of the packets; so the address is first bound alone.
fn bind_shared(what: &str, address: SocketAddr, workers: usize) -> Result<Vec<UdpSocket>, BindError> {
    let failed = |source| BindError { what: what.to_owned(), address, source };
    let alone = UdpSocket::bind(address).map_err(failed)?.local();
    (0..workers).map(|_| UdpSocket::bind_shared(alone).map_err(failed)).collect()
}

/// The next free port of the range, in order: the same ports after each restart, where they are free.
fn bind_worker(settings: &Settings, next_port: &mut u16) -> Result<UdpSocket, BindError> {
    let (ip, last) = (settings.worker_address, *settings.worker_ports.end());
    if last == 0 {
        return bind_one(ip, 0);
    }
    loop {
        let port = *next_port;
        *next_port = port.saturating_add(1);
        match bind_one(ip, port) {
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse && port < last => {}
            result => return result,
        }
    }
}

fn bind_one(ip: IpAddr, port: u16) -> Result<UdpSocket, BindError> {
    let address = SocketAddr::new(ip, port);
    UdpSocket::bind(address).map_err(|source| BindError { what: "worker port".to_owned(), address, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Listener, NodeSide};
    use std::time::Duration;

    fn settings(listener: SocketAddr, worker_ports: std::ops::RangeInclusive<u16>) -> Settings {
        Settings {
            listeners: vec![Listener { name: "public".into(), address: listener, advertise: None, nat: false }],
            node_side: None,
            worker_address: listener.ip(),
            worker_ports,
            workers: 2,
            max_transactions: 10,
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
        assert_eq!(first.listeners[0].local(), second.listeners[0].local());
        let side = |sockets: &Sockets| sockets.node_side.as_ref().unwrap().local();
        assert_eq!(side(first), side(second));
        assert_ne!(first.worker.local(), second.worker.local());
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = UdpSocket::bind_shared(free_port()).unwrap();
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
        let is_free = |port| UdpSocket::bind(at(port)).is_ok();
        let port = (20_000..30_000).step_by(3).find(|port| (*port..port + 3).all(is_free)).unwrap();
        let taken = UdpSocket::bind(at(port + 1)).unwrap();
        let sockets = bind(&settings(at(0), port..=port + 2)).unwrap();
        let ports: Vec<_> = sockets.iter().map(|sockets| sockets.worker.local().port()).collect();
        assert_eq!(ports, [port, port + 2]);
        drop(sockets);
        let error = bind(&settings(at(0), port..=port + 1)).unwrap_err();
        assert_eq!((error.what.as_str(), error.address), ("worker port", taken.local()));
    }
}
