//! One worker thread: its epoll loop around its sockets and its engine.
//!
//! A turn: what sockets and connections hold (bounded, so that none starves the others), what siblings handed over,
//! timers, then everything that is to be sent, then the statistics page. Nothing in a turn waits, locks or asks Python.

use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use switchtender_proxy::{Config, FailureKind, Flow, Packet, TransportFailure};
use switchtender_select::{Network, Snapshot, Time};

use crate::counts::Traffic;
use crate::engine::Engine;
use crate::events::{Level, What};
use crate::guard::Guard;
use crate::lag::Lag;
use crate::outbox::{Handed, Outbox, Troubles};
use crate::shared::Shared;
use crate::sys::{
    BATCH, Complaint, Epoll, Ready, ReceiveBatch, Received, leave_to_main_thread, monotonic, next_complaint,
};
use crate::tcp::{Framed, Input, Undelivered, Worked};

/// Batches taken from one socket in one turn.
const BATCHES_PER_TURN: usize = 4;
/// Handed-over datagrams taken in one turn.
const HANDED_PER_TURN: usize = BATCHES_PER_TURN * BATCH;
/// Entries of a socket's error queue taken in one turn.
const COMPLAINTS_PER_TURN: usize = 64;
/// Rounds of "a send failed, the engine sends elsewhere" within one turn; what is left goes with the next one.
const REPAIRS_PER_TURN: usize = 4;
/// The page is at most this old while there is traffic.
const PAGE_PERIOD: Duration = Duration::from_millis(10);
/// How often the kernel's drop counts are looked at.
const ROUND: Duration = Duration::from_secs(1);
/// How often the end of a stop is looked for.
const STOPPING_ROUND: Duration = Duration::from_millis(50);
const WAKE: u64 = u64::MAX;

/// A worker, made by the control side and run on a thread of its own.
pub(crate) struct Worker<E> {
    index: usize,
    guard: Guard<E>,
    inbox: Receiver<Handed>,
    snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    shared: Arc<Shared>,
    /// Networks that nodes connect from, besides their own addresses.
    node_sources: Vec<Network>,
    epoll: Arc<Epoll>,
    batch: ReceiveBatch,
    complaint: Box<[u8]>,
    lag: Lag,
    page_due: Time,
    page_stale: bool,
    round_due: Time,
    /// By socket, as last seen.
    kernel_drops: Vec<u64>,
    logs: LogRate,
}

impl<E: Engine> Worker<E> {
    pub(crate) fn new(
        config: Config,
        outbox: Outbox,
        epoll: Arc<Epoll>,
        inbox: Receiver<Handed>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let index = usize::from(config.worker);
        for (port, token) in outbox.ports().iter().zip(0..) {
            epoll.add(port.socket.as_raw_fd(), token)?;
        }
        if let Some(wake) = shared.wakes.get(index) {
            epoll.add(wake.as_raw_fd(), WAKE)?;
        }
        Ok(Self {
            index,
            kernel_drops: vec![0; outbox.ports().len()],
            node_sources: config.node_side.as_ref().map_or_else(Vec::new, |side| side.sources.clone()),
            guard: Guard::new(config, outbox, Arc::clone(&shared)),
            inbox,
            snapshot: Cache::new(Arc::clone(&shared.snapshot)),
            shared,
            epoll,
            batch: ReceiveBatch::new(),
            complaint: vec![0; 1 << 16].into_boxed_slice(),
            lag: Lag::default(),
            page_due: Time::ZERO,
            page_stale: true,
            round_due: Time::ZERO,
            logs: LogRate::default(),
        })
    }

    /// Serve until the stop is over.
    pub(crate) fn run(mut self) {
        leave_to_main_thread();
        let mut ready = Vec::new();
        self.guard.outbox.now = monotonic();
        while !self.shared.stop.is_over(self.guard.outbox.now) {
            if let Err(error) = self.epoll.wait(Some(self.patience(monotonic())), &mut ready) {
                // Cannot happen with descriptors that are ours; if it does, go on by timers instead of spinning.
                self.log(Site::Wait, Level::Error, &format!("epoll_wait: {error}"));
                std::thread::sleep(PAGE_PERIOD);
            }
            // The engine's calls are guarded one by one; this guards what is around them.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.turn(&ready))) {
                self.guard.recover(&*panic);
            }
        }
        self.finish();
    }

    /// How long there is nothing to do.
    fn patience(&self, now: Time) -> Duration {
        if self.guard.outbox.has_work() {
            return Duration::ZERO;
        }
        let engine = self.guard.engine.next_deadline().unwrap_or(Time::MAX);
        let deadline = self.guard.outbox.connections.next_deadline().map_or(engine, |due| due.min(engine));
        let page = if self.page_stale { self.page_due } else { Time::MAX };
        let patience = deadline.min(page).min(self.round_due).since(now);
        if self.shared.stop.begun() { patience.min(STOPPING_ROUND) } else { patience }
    }

    fn turn(&mut self, ready: &[Ready]) {
        let now = monotonic();
        self.guard.outbox.now = now;
        self.lag.turn(now);
        // One reference for the turn; in between, the cache looks at one atomic.
        let snapshot = Arc::clone(self.snapshot.load());
        for event in ready {
            if event.token == WAKE {
                self.shared.wakes.get(self.index).inspect(|wake| wake.drain());
                continue;
            }
            let port = usize::try_from(event.token).ok().filter(|port| *port < self.guard.outbox.ports().len());
            let Some(port) = port else {
                self.serve_connections(*event, &snapshot);
                continue;
            };
            if event.error {
                self.take_complaints(port, &snapshot);
            }
            // After an error, too: reading is what clears one that stands in no queue.
            if event.readable || event.error {
                self.take_datagrams(port, &snapshot);
            }
        }
        self.take_handed(&snapshot);
        self.fire_timers(&snapshot);
        self.guard.outbox.connections.expire(self.guard.outbox.now);
        self.send(&snapshot);
        self.look_around();
        self.publish(snapshot.generation);
    }

    fn take_datagrams(&mut self, port: usize, snapshot: &Snapshot) {
        for _ in 0..BATCHES_PER_TURN {
            let Some(socket) = self.guard.outbox.ports().get(port) else { return };
            let local = socket.local;
            let count = match self.batch.receive(&socket.socket) {
                Ok(count) => count,
                Err(error) => {
                    // The call also tells a queued ICMP error once; the error queue has it in full.
                    if !is_from_the_network(&error) {
                        self.guard.outbox.tally.add(Traffic::ReceiveFailed, 1);
                        self.log(Site::Receive, Level::Error, &format!("receive: {error}"));
                    }
                    continue;
                }
            };
            self.guard.outbox.now = monotonic();
            self.watch_lag();
            self.guard.outbox.tally.add(Traffic::Received, count as u64);
            self.page_stale |= count > 0;
            for received in self.batch.datagrams() {
                let Received { bytes, source, local_ip } = received;
                let packet = Packet { bytes, flow: Flow::udp(local, local_ip, source) };
                self.guard.outbox.observe(false, &packet.flow, bytes);
                self.guard.call(snapshot, |engine, world| engine.receive(&packet, world));
            }
            self.fire_timers(snapshot);
            if count < BATCH {
                return;
            }
        }
        self.lag.leave_behind();
    }

    fn serve_connections(&mut self, event: Ready, snapshot: &Snapshot) {
        let now = monotonic();
        self.guard.outbox.now = now;
        self.page_stale = true;
        let sources = &self.node_sources;
        let known = |ip| snapshot.node_by_ip(ip) || sources.iter().any(|network| network.contains(ip));
        match self.guard.outbox.connections.on_ready(now, event, known) {
            Worked::Done => {}
            Worked::Exhausted(error) => self.log(Site::Accept, Level::Error, &format!("no more connections: {error}")),
            Worked::Received(input, flow) => {
                self.watch_lag();
                self.take_stream(input, flow, snapshot);
            }
        }
    }

    fn take_stream(&mut self, mut input: Input, flow: Flow, snapshot: &Snapshot) {
        let Some(id) = flow.connection else { return };
        let mut handled = 0;
        while let Some(framed) = input.next() {
            match framed {
                Framed::Message(bytes) => {
                    handled += 1;
                    let packet = Packet { bytes, flow };
                    self.guard.outbox.observe(false, &flow, bytes);
                    self.guard.call(snapshot, |engine, world| engine.receive(&packet, world));
                }
                Framed::Ping => {
                    handled += 1;
                    self.guard.outbox.connections.pong(id);
                }
                Framed::Bad(error, head) => {
                    let message = format!("connection of {}: {error}, closed", flow.peer);
                    if !head.is_empty() {
                        let packet = Packet { bytes: head, flow };
                        self.guard.call(snapshot, |engine, world| engine.unframed(&packet, error, world));
                    }
                    self.guard.outbox.connections.give_up(self.guard.outbox.now, id);
                    self.log(Site::Stream, Level::Warning, &message);
                }
            }
        }
        self.guard.outbox.connections.put_back(self.guard.outbox.now, id, input, handled);
    }

    fn watch_lag(&mut self) {
        let (lag, overloaded) = self.lag.at(self.guard.outbox.now);
        self.guard.engine.set_overloaded(overloaded);
        if let Some(page) = self.shared.pages.get(self.index) {
            page.loop_lag_nanos.store(u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            page.overloaded.store(overloaded, Ordering::Relaxed);
        }
        if overloaded {
            self.log(Site::Lag, Level::Warning, &format!("{} ms behind: new calls are refused", lag.as_millis()));
        }
    }

    fn take_handed(&mut self, snapshot: &Snapshot) {
        for _ in 0..HANDED_PER_TURN {
            let Ok(handed) = self.inbox.try_recv() else { return };
            self.page_stale = true;
            match handed {
                Handed::Packet { bytes, flow } => {
                    self.guard.outbox.tally.add(Traffic::TakenOver, 1);
                    let packet = Packet { bytes: &bytes, flow };
                    self.guard.call(snapshot, |engine, world| engine.handed_over(&packet, world));
                }
                Handed::CallOver(call) => self.guard.call(snapshot, |engine, world| engine.call_over(call, world)),
                Handed::Send { bytes, flow, from } => self.guard.outbox.send_for(from, &flow, &bytes),
                Handed::Undelivered(undelivered) => self.tell_undelivered(&undelivered, snapshot),
                Handed::ConnectionClosed(flow) => {
                    self.guard.call(snapshot, |engine, world| engine.connection_closed(&flow, world));
                }
            }
        }
        // There may be more, and the wake-up for it is spent.
        self.shared.wakes.get(self.index).inspect(|wake| wake.signal());
    }

    fn take_complaints(&mut self, port: usize, snapshot: &Snapshot) {
        for _ in 0..COMPLAINTS_PER_TURN {
            let Some(socket) = self.guard.outbox.ports().get(port) else { return };
            let local = socket.local;
            match next_complaint(&socket.socket, &mut self.complaint) {
                Ok(Some(Complaint { to, errno, quoted })) => {
                    let flow = Flow::udp(local, None, to);
                    let failure = TransportFailure { kind: FailureKind::Icmp, flow, quoted };
                    self.guard.outbox.tally.add(Traffic::Unreachable, 1);
                    self.page_stale = true;
                    self.guard.call(snapshot, |engine, world| engine.transport_error(&failure, world));
                    let reason = io::Error::from_raw_os_error(errno);
                    self.log(Site::Network, Level::Warning, &format!("the network cannot reach {to}: {reason}"));
                }
                Ok(None) => return,
                Err(error) => {
                    self.guard.outbox.tally.add(Traffic::ReceiveFailed, 1);
                    self.log(Site::Receive, Level::Error, &format!("error queue: {error}"));
                    return;
                }
            }
        }
    }

    fn fire_timers(&mut self, snapshot: &Snapshot) {
        let now = self.guard.outbox.now;
        if self.guard.engine.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.page_stale = true;
            self.guard.call(snapshot, Engine::expire);
        }
    }

    fn send(&mut self, snapshot: &Snapshot) {
        for _ in 0..REPAIRS_PER_TURN {
            let Troubles { undelivered, ended } = self.guard.outbox.flush();
            if undelivered.is_empty() && ended.is_empty() {
                return;
            }
            self.page_stale = true;
            // First what ended: what a failure is sent anew over may be another connection to the same peer.
            for ended in &ended {
                self.guard.call(snapshot, |engine, world| engine.connection_closed(&ended.flow, world));
            }
            for undelivered in &undelivered {
                self.tell_undelivered(undelivered, snapshot);
            }
        }
    }

    fn tell_undelivered(&mut self, undelivered: &Undelivered, snapshot: &Snapshot) {
        let Undelivered { kind, flow, bytes, error, .. } = undelivered;
        self.log(Site::Send, Level::Warning, &format!("send to {}: {error}", flow.peer));
        let failure = TransportFailure { kind: *kind, flow: *flow, quoted: bytes };
        self.guard.call(snapshot, |engine, world| engine.transport_error(&failure, world));
    }

    /// What nobody tells us.
    fn look_around(&mut self) {
        let now = self.guard.outbox.now;
        if now < self.round_due {
            return;
        }
        self.round_due = now + ROUND;
        let drops: Vec<u64> = self.guard.outbox.ports().iter().map(|port| port.socket.dropped()).collect();
        for (seen, drops) in self.kernel_drops.iter_mut().zip(drops) {
            let fresh = drops.saturating_sub(*seen);
            *seen = drops;
            self.guard.outbox.tally.add(Traffic::ReceiveBufferFull, fresh);
            self.page_stale |= fresh > 0;
        }
    }

    fn publish(&mut self, generation: u64) {
        let Some(page) = self.shared.pages.get(self.index) else { return };
        page.connections.store(self.guard.outbox.connections.count() as u64, Ordering::Relaxed);
        page.generation.store(generation, Ordering::Relaxed);
        let now = self.guard.outbox.now;
        if !self.page_stale || now < self.page_due {
            return;
        }
        let Guard { engine, outbox, earlier, .. } = &mut self.guard;
        outbox.tally.absorb(&mut outbox.connections.tally);
        let open = engine.open_transactions();
        self.shared.stop.tell(self.index, open, now);
        page.open_transactions.store(open as u64, Ordering::Relaxed);
        page.transactions.store(engine.transactions() as u64, Ordering::Relaxed);
        page.write(engine.counters(), earlier, &outbox.tally);
        self.page_due = now + PAGE_PERIOD;
        self.page_stale = false;
    }

    fn finish(mut self) {
        let lost = self.guard.engine.open_transactions() as u64;
        self.guard.outbox.tally.add(Traffic::LostAtStop, lost);
        // A failure to send has nobody left to hear of it.
        drop(self.guard.outbox.flush());
        self.guard.outbox.connections.close_all(self.guard.outbox.now);
        (self.page_stale, self.page_due) = (true, Time::ZERO);
        let generation = self.snapshot.load().generation;
        self.publish(generation);
        // Siblings may sleep through the end otherwise.
        self.shared.wake_workers();
        if let Some(page) = self.shared.pages.get(self.index) {
            page.running.store(false, Ordering::Release);
        }
    }

    fn log(&mut self, site: Site, level: Level, message: &str) {
        if self.logs.permits(site, self.guard.outbox.now) {
            self.guard.outbox.record(What::Log(level, message.into()));
        }
    }
}

/// Errors that say something about an earlier datagram's way, not about the socket.
fn is_from_the_network(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EMSGSIZE
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EACCES
                | libc::EOPNOTSUPP
                | libc::ENONET
        )
    )
}

/// Where log records come from: each place may tell one thing a second.
#[derive(Clone, Copy)]
enum Site {
    Wait,
    Receive,
    Network,
    Send,
    Lag,
    Accept,
    Stream,
}

#[derive(Default)]
struct LogRate {
    next: [Time; 7],
}

impl LogRate {
    fn permits(&mut self, site: Site, now: Time) -> bool {
        let Some(next) = self.next.get_mut(site as usize).filter(|next| now >= **next) else { return false };
        *next = now + ROUND;
        true
    }
}

#[cfg(test)]
mod tests;
