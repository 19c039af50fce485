//! Copies of SIP messages on their way to a HEP collector, from one worker. Nothing waits for it: what its socket does
//! not take is dropped and counted.

use std::io;

use crate::counts::{Tally, Traffic};
use crate::hep;
use crate::observer::Way;
use crate::settings::Hep;
use crate::sys::{SendBatch, UdpSocket, wall_clock};

/// See the module.
pub(crate) struct Exporter {
    hep: Hep,
    socket: UdpSocket,
    batch: SendBatch,
}

impl Exporter {
    /// With a socket of its own.
    pub(crate) fn new(hep: Hep) -> io::Result<Self> {
        let socket = UdpSocket::only_sending(hep.collector.ip())?;
        Ok(Self { hep, socket, batch: SendBatch::default() })
    }

    /// Copy one message.
    pub(crate) fn copy(&mut self, way: &Way, message: &[u8], tally: &mut Tally) {
        let Self { hep, batch, .. } = self;
        let fits = batch.compose(hep.collector, None, |packet| hep::encode(hep, way, wall_clock(), message, packet));
        tally.add(Traffic::HepTooLarge, u64::from(!fits));
        if batch.is_full() {
            self.flush(tally);
        }
    }

    /// Whether a flush has something to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Send what was copied.
    pub(crate) fn flush(&mut self, tally: &mut Tally) {
        if self.batch.is_empty() {
            return;
        }
        let mut refused = Vec::new();
        let flushed = self.batch.flush(&self.socket, &mut refused);
        tally.add(Traffic::HepSent, flushed.sent);
        tally.add(Traffic::HepBufferFull, flushed.dropped);
        tally.add(Traffic::HepFailed, refused.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use switchtender_select::Transport;

    use super::*;

    fn exporter(collector: SocketAddr) -> Exporter {
        Exporter::new(Hep { collector, capture_id: 1, password: None }).unwrap()
    }

    fn way() -> Way {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Way { sent: true, transport: Transport::Udp, local: address(5060), peer: address(5080) }
    }

    #[test]
    fn copies_leave_with_the_flush_and_full_batches_by_themselves() {
        for collector in ["127.0.0.1:0", "[::1]:0"] {
            let collector = std::net::UdpSocket::bind(collector).unwrap();
            let (mut exporter, mut tally) = (exporter(collector.local_addr().unwrap()), Tally::default());
            for _ in 0..33 {
                exporter.copy(&way(), b"SIP/2.0 200 OK\r\n\r\n", &mut tally);
            }
            assert_eq!((tally.get(Traffic::HepSent), exporter.has_work()), (32, true));
            exporter.flush(&mut tally);
            assert_eq!((tally.get(Traffic::HepSent), exporter.has_work()), (33, false));
            let mut packet = [0; 2048];
            let length = collector.recv(&mut packet).unwrap();
            assert!(packet.starts_with(b"HEP3") && packet[..length].ends_with(b"SIP/2.0 200 OK\r\n\r\n"));
        }
    }

    #[test]
    fn what_cannot_be_sent_is_dropped_and_counted_by_its_cause() {
        let (mut exporter, mut tally) = (exporter("255.255.255.255:9060".parse().unwrap()), Tally::default());
        // To everybody: the kernel refuses that to a socket that did not ask for it.
        exporter.copy(&way(), b"x", &mut tally);
        exporter.copy(&way(), &vec![b'x'; 65_500], &mut tally);
        exporter.flush(&mut tally);
        let counts = [Traffic::HepSent, Traffic::HepFailed, Traffic::HepTooLarge].map(|what| tally.get(what));
        assert_eq!(counts, [0, 1, 1]);
    }

    #[test]
    fn nobody_at_the_other_end_is_no_fault_of_ours() {
        let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (mut exporter, mut tally) = (exporter(gone), Tally::default());
        for _ in 0..5 {
            exporter.copy(&way(), b"x", &mut tally);
            exporter.flush(&mut tally);
        }
        assert_eq!((tally.get(Traffic::HepSent), tally.get(Traffic::HepFailed)), (5, 0));
    }
}
