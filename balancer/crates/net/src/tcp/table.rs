//! The table of a worker's connections and everything that is done to them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use switchtender_proxy::{ConnectionId, FailureKind, Flow, Local};
use switchtender_select::Time;

use super::buffers::Spares;
use super::connection::{Close, Connection, FAREWELL, Origin, State};
use super::input::Input;
use super::limits::{Census, TcpLimits};
use super::queue::{Queue, Sender};
use crate::counts::{Tally, Traffic};
use crate::sys::{Epoll, Interest, Ready, TcpAcceptor, TcpStream};

/// Connections accepted at one socket in one turn.
const ACCEPTS_PER_TURN: usize = 32;
/// Out of descriptors or memory: none is accepted for so long, instead of being woken for it again at once.
const EXHAUSTED_FOR: Duration = Duration::from_millis(250);
/// How responses begin; all else is a request.
const RESPONSE: &[u8] = b"SIP/2.0 ";
/// Tokens from here on are listening sockets, in order.
const ACCEPTORS: u64 = 1 << 32;
/// Tokens from here on are connections, by serial number.
const CONNECTIONS: u64 = 1 << 33;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) acceptor: TcpAcceptor,
    pub(crate) local: Local,
}

/// A message that was not sent.
#[derive(Debug)]
pub(crate) struct Undelivered {
    pub(crate) kind: FailureKind,
    /// As it was given to `send`.
    pub(crate) flow: Flow,
    pub(crate) bytes: Vec<u8>,
    /// The worker whose message it is.
    pub(crate) worker: u8,
    pub(crate) error: io::Error,
}

/// A connection that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// With its number.
    pub(crate) flow: Flow,
    /// The workers that sent requests over it, one bit each; at least one.
    pub(crate) workers: u64,
}

/// What there is to do after an event.
#[derive(Debug)]
pub(crate) enum Worked {
    /// Nothing.
    Done,
    /// Handle this input and put it back.
    Received(Input, Flow),
    /// No connection can be accepted for a while.
    Exhausted(io::Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connections {
    worker: u8,
    limits: TcpLimits,
    epoll: Arc<Epoll>,
    listening: Vec<Listening>,
    /// No connection is accepted before.
    exhausted_until: Option<Time>,
    open: HashMap<u32, Connection>,
    by_way: HashMap<(Local, SocketAddr), u32>,
    census: Census,
    next_serial: u32,
    deadlines: BinaryHeap<Reverse<(Time, u32)>>,
    unflushed: Vec<u32>,
    spares: Spares,
    undelivered: Vec<Undelivered>,
    ended: Vec<Ended>,
    pub(crate) tally: Tally,
}

impl Connections {
    pub(crate) fn new(worker: u8, limits: TcpLimits, listening: Vec<Listening>, epoll: Arc<Epoll>) -> io::Result<Self> {
        for (listening, index) in listening.iter().zip(ACCEPTORS..) {
            epoll.add(listening.acceptor.as_raw_fd(), index)?;
        }
        Ok(Self {
            worker,
            limits,
            epoll,
            listening,
            exhausted_until: None,
            open: HashMap::new(),
            by_way: HashMap::new(),
            census: Census::default(),
            next_serial: 0,
            deadlines: BinaryHeap::new(),
            unflushed: Vec::new(),
            spares: Spares::default(),
            undelivered: Vec::new(),
            ended: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Connections there are, those that are being opened included.
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }

    /// When to call [`Connections::expire`] next.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let first = self.deadlines.peek().map(|Reverse((due, _))| *due);
        first.into_iter().chain(self.exhausted_until).min()
    }

    /// Whether something waits to be written or told.
    pub(crate) fn has_work(&self) -> bool {
        !(self.unflushed.is_empty() && self.undelivered.is_empty() && self.ended.is_empty())
    }

    /// An event with a token of ours. `known`: whether a node lives at an address.
    pub(crate) fn on_ready(&mut self, now: Time, ready: Ready, known: impl Fn(IpAddr) -> bool) -> Worked {
        if let Some(serial) = ready.token.checked_sub(CONNECTIONS).and_then(|serial| u32::try_from(serial).ok()) {
            return self.on_connection(now, serial, ready);
        }
        let index = ready.token.checked_sub(ACCEPTORS).and_then(|index| usize::try_from(index).ok());
        index.map_or(Worked::Done, |index| self.accept(now, index, known))
    }

    fn accept(&mut self, now: Time, index: usize, known: impl Fn(IpAddr) -> bool) -> Worked {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listening) = self.listening.get(index) else { return Worked::Done };
            let local = listening.local;
            match listening.acceptor.accept() {
                Ok(None) => return Worked::Done,
                Ok(Some((stream, peer))) => match self.refusal(local, peer.ip(), &known) {
                    Some(refusal) => self.tally.add(refusal, 1),
                    None => self.admit(now, stream, local, peer),
                },
                Err(error) if is_exhaustion(&error) => {
                    self.exhaust(now);
                    return Worked::Exhausted(error);
                }
                // What went wrong is the connection's own: it is gone.
                Err(_) => self.tally.add(Traffic::TcpClosedPeer, 1),
            }
        }
        Worked::Done
    }

    fn refusal(&self, local: Local, source: IpAddr, known: impl Fn(IpAddr) -> bool) -> Option<Traffic> {
        let origin = origin_of(local);
        if origin == Origin::Node && !known(source) {
            return Some(Traffic::TcpRefusedStranger);
        }
        self.census.limit_reached(&self.limits, origin, source)
    }

    fn admit(&mut self, now: Time, stream: TcpStream, local: Local, peer: SocketAddr) {
        let local_ip = stream.local().ok().map(|local| local.ip());
        let way = (local, local_ip, peer);
        let Ok(serial) = self.insert(now, stream, way, origin_of(local), State::Open) else { return };
        // Whoever is to be reached at exactly this address is reached over this connection.
        self.by_way.entry((local, peer)).or_insert(serial);
        self.tally.add(Traffic::TcpAccepted, 1);
    }

    /// Take up a connection; its serial number.
    fn insert(
        &mut self,
        now: Time,
        stream: TcpStream,
        (local, local_ip, peer): (Local, Option<IpAddr>, SocketAddr),
        origin: Origin,
        state: State,
    ) -> io::Result<u32> {
        while self.open.contains_key(&self.next_serial) {
            self.next_serial = self.next_serial.wrapping_add(1);
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let connection = Connection {
            local_port: stream.local().ok().map(|local| local.port()),
            stream,
            local,
            local_ip,
            peer,
            origin,
            state,
            input: Input::default(),
            queue: Queue::default(),
            active: now,
            spoke: false,
            partial_since: None,
            due: Time::MAX,
            interest: Interest::default(),
            asked: 0,
            unflushed: false,
        };
        let interest = connection.wanted();
        self.epoll.watch(connection.stream.as_raw_fd(), CONNECTIONS + u64::from(serial), interest)?;
        self.open.insert(serial, Connection { interest, ..connection });
        self.census.came(origin, peer.ip());
        self.schedule(serial);
        Ok(serial)
    }

    fn on_connection(&mut self, now: Time, serial: u32, ready: Ready) -> Worked {
        let Some(connection) = self.open.get_mut(&serial) else { return Worked::Done };
        if matches!(connection.state, State::Connecting { .. }) {
            match connection.stream.connected() {
                Ok(()) => {
                    connection.state = State::Open;
                    connection.active = now;
                    if connection.local_ip.is_none() {
                        connection.local_ip = connection.stream.local().ok().map(|local| local.ip());
                    }
                    self.tally.add(Traffic::TcpOpened, 1);
                    self.write(now, serial);
                }
                Err(error) => self.close(serial, Close::Refused, &error),
            }
            return Worked::Done;
        }
        if ready.writable {
            self.write(now, serial);
        }
        if ready.readable || ready.error { self.read(now, serial) } else { Worked::Done }
    }

    /// Take what came, once: the others have their turn before the rest.
    fn read(&mut self, now: Time, serial: u32) -> Worked {
        let id = ConnectionId::new(self.worker, serial);
        let Some(connection) = self.open.get_mut(&serial) else { return Worked::Done };
        let mut input = std::mem::take(&mut connection.input);
        let outcome = connection.stream.read(input.room(&mut self.spares));
        let error = match outcome {
            Ok(Some(count)) if count > 0 => {
                self.tally.add(Traffic::TcpBytesReceived, count as u64);
                if connection.takes_messages() {
                    connection.active = now;
                    input.received(count);
                    return Worked::Received(input, connection.flow(Some(id)));
                }
                None
            }
            Ok(None) => None,
            Ok(Some(_)) => Some(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Some(error),
        };
        input.park(&mut self.spares);
        connection.input = input;
        if let Some(error) = error {
            self.close(serial, Close::Peer, &error);
        }
        Worked::Done
    }

    /// The input that [`Worked::Received`] gave, handled. `handled`: messages and pings found in it.
    pub(crate) fn put_back(&mut self, now: Time, id: ConnectionId, mut input: Input, handled: u64) {
        self.tally.add(Traffic::TcpReceived, handled);
        let serial = serial_of(id);
        let Some(connection) = self.open.get_mut(&serial) else { return input.discard(&mut self.spares) };
        let is_partial = input.is_partial();
        connection.spoke |= handled > 0;
        connection.partial_since = match connection.partial_since {
            since @ Some(_) if is_partial && handled == 0 => since,
            _ => is_partial.then_some(now),
        };
        input.park(&mut self.spares);
        connection.input = input;
        self.schedule(serial);
    }

    /// Answer a ping (RFC 5626 §3.5.1).
    pub(crate) fn pong(&mut self, id: ConnectionId) {
        let serial = serial_of(id);
        let Some(connection) = self.open.get_mut(&serial).filter(|connection| connection.takes_messages()) else {
            return;
        };
        // A peer that reads nothing waits for no pong, and one answers all pings before it.
        if !connection.queue.ends_with_pong() && connection.queue.push(b"\r\n", None, &mut self.spares) {
            self.mark_unflushed(serial);
        }
    }

    /// What came is no stream of SIP messages: what is queued is written, then the connection is closed.
    pub(crate) fn give_up(&mut self, now: Time, id: ConnectionId) {
        let serial = serial_of(id);
        self.tally.add(Traffic::TcpFramingErrors, 1);
        let Some(connection) = self.open.get_mut(&serial) else { return };
        connection.state = State::Ending { until: now + FAREWELL };
        let way = (connection.local, connection.peer);
        self.forget_way(way, serial);
        self.mark_unflushed(serial);
        self.schedule(serial);
    }

    /// Queue a message of this worker or, over a connection of ours, of a sibling. `from`: our address for a new
    /// connection.
    pub(crate) fn send(&mut self, now: Time, flow: &Flow, from: Option<IpAddr>, bytes: &[u8], worker: u8) {
        let sender = Sender { worker, by_id: flow.connection.is_some() };
        let found = match flow.connection {
            Some(id) => self.mine(id, flow.peer).ok_or((FailureKind::Closed, io::ErrorKind::NotConnected.into())),
            None => self.towards(now, flow, from).map_err(|error| (FailureKind::Connect, error)),
        };
        let queued = found.and_then(|serial| {
            let closed = || (FailureKind::Closed, io::ErrorKind::NotConnected.into());
            let connection = self.open.get_mut(&serial).ok_or_else(closed)?;
            if !connection.queue.push(bytes, Some(sender), &mut self.spares) {
                self.close(serial, Close::Full, &io::ErrorKind::StorageFull.into());
                return Err((FailureKind::Closed, io::ErrorKind::StorageFull.into()));
            }
            if !bytes.starts_with(RESPONSE) {
                connection.asked |= 1_u64.checked_shl(worker.into()).unwrap_or(0);
            }
            if connection.state == State::Open {
                self.mark_unflushed(serial);
            }
            Ok(())
        });
        if let Err((kind, error)) = queued {
            self.tally.add(Traffic::TcpUndelivered, 1);
            self.undelivered.push(Undelivered { kind, flow: *flow, bytes: bytes.to_vec(), worker, error });
        }
    }

    /// The connection of this number, if it is still that peer's.
    fn mine(&self, id: ConnectionId, peer: SocketAddr) -> Option<u32> {
        let serial = serial_of(id);
        let connection = self.open.get(&serial).filter(|_| id.worker() == Some(self.worker))?;
        (connection.peer == peer && connection.takes_messages()).then_some(serial)
    }

    /// The connection to that peer, a new one if need be.
    fn towards(&mut self, now: Time, flow: &Flow, from: Option<IpAddr>) -> io::Result<u32> {
        if let Some(serial) = self.by_way.get(&(flow.local, flow.peer)) {
            return Ok(*serial);
        }
        if self.census.limit_reached(&self.limits, Origin::Ours, flow.peer.ip()).is_some() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let stream = TcpStream::connect(from, flow.peer).inspect_err(|_| {
            self.tally.add(Close::Refused.counted_as(), 1);
        })?;
        let state = State::Connecting { until: now + self.limits.connect_timeout };
        let serial = self.insert(now, stream, (flow.local, from, flow.peer), Origin::Ours, state)?;
        self.by_way.insert((flow.local, flow.peer), serial);
        Ok(serial)
    }

    /// Our end of the connection that a message came or went over.
    pub(crate) fn local_end(&self, flow: &Flow) -> (Option<IpAddr>, Option<u16>) {
        let way = || self.by_way.get(&(flow.local, flow.peer)).copied();
        let serial = flow.connection.map_or_else(way, |id| self.mine(id, flow.peer));
        let connection = serial.and_then(|serial| self.open.get(&serial));
        connection.map_or((None, None), |connection| (connection.local_ip, connection.local_port))
    }

    /// Write what is queued. What could not be written and what ended is taken by [`Connections::take_troubles`].
    pub(crate) fn flush(&mut self, now: Time) {
        let mut serials = std::mem::take(&mut self.unflushed);
        for serial in serials.drain(..) {
            self.write(now, serial);
        }
        // Nothing is marked while writing; the list keeps its room.
        self.unflushed = serials;
    }

    /// Messages that were not sent, and connections that ended, since the last time.
    pub(crate) fn take_troubles(&mut self) -> (Vec<Undelivered>, Vec<Ended>) {
        (std::mem::take(&mut self.undelivered), std::mem::take(&mut self.ended))
    }

    /// Close what is over its time; accept again what was held off.
    pub(crate) fn expire(&mut self, now: Time) {
        if self.exhausted_until.is_some_and(|until| until <= now) {
            self.exhausted_until = None;
            self.watch_listening(Interest::READ);
        }
        while let Some(&Reverse((due, serial))) = self.deadlines.peek().filter(|Reverse((due, _))| *due <= now) {
            self.deadlines.pop();
            let Some(connection) = self.open.get_mut(&serial).filter(|connection| connection.due == due) else {
                continue;
            };
            connection.due = Time::MAX;
            let (deadline, why) = connection.deadline(self.limits.idle_timeout);
            if deadline <= now {
                self.close(serial, why, &io::ErrorKind::TimedOut.into());
            } else {
                self.schedule(serial);
            }
        }
    }

    /// The end of the worker: what can be written at once is, and everything is closed.
    pub(crate) fn close_all(&mut self, now: Time) {
        self.flush(now);
        let serials: Vec<u32> = self.open.keys().copied().collect();
        for serial in serials {
            self.close(serial, Close::Stop, &io::ErrorKind::ConnectionAborted.into());
        }
        self.listening.clear();
    }

    fn write(&mut self, now: Time, serial: u32) {
        let Some(connection) = self.open.get_mut(&serial) else { return };
        connection.unflushed = false;
        if matches!(connection.state, State::Connecting { .. }) {
            return;
        }
        match connection.queue.write(&connection.stream, &mut self.spares) {
            Ok((bytes, messages)) => {
                self.tally.add(Traffic::TcpBytesSent, bytes);
                self.tally.add(Traffic::TcpSent, messages);
                if bytes > 0 {
                    connection.active = now;
                }
                if connection.queue.is_empty() && !connection.takes_messages() {
                    // The peer may still be sending: closing now could destroy what it has not read yet.
                    connection.stream.finish();
                }
                let wanted = connection.wanted();
                if wanted != connection.interest {
                    connection.interest = wanted;
                    let (fd, token) = (connection.stream.as_raw_fd(), CONNECTIONS + u64::from(serial));
                    if let Err(error) = self.epoll.change(fd, token, wanted) {
                        self.close(serial, Close::Peer, &error);
                    }
                }
            }
            Err(error) => self.close(serial, Close::Peer, &error),
        }
    }

    fn close(&mut self, serial: u32, why: Close, error: &io::Error) {
        let Some(connection) = self.open.remove(&serial) else { return };
        self.forget_way((connection.local, connection.peer), serial);
        self.census.went(connection.origin, connection.peer.ip());
        // One that was given up says why, whoever closes it in the end.
        let given_up = matches!(connection.state, State::Ending { .. }) && why == Close::Peer;
        self.tally.add(if given_up { Close::Framing } else { why }.counted_as(), 1);
        let id = ConnectionId::new(self.worker, serial);
        let came_about = !matches!(connection.state, State::Connecting { .. });
        let kind = if came_about { FailureKind::Closed } else { FailureKind::Connect };
        let (named, unnamed) = (connection.flow(Some(id)), connection.flow(None));
        let Connection { mut queue, input, asked, .. } = connection;
        queue.unwritten(&mut self.spares, |sender, bytes| {
            let flow = if sender.by_id { named } else { unnamed };
            let (bytes, error) = (bytes.to_vec(), copy(error));
            self.tally.add(Traffic::TcpUndelivered, 1);
            self.undelivered.push(Undelivered { kind, flow, bytes, worker: sender.worker, error });
        });
        // Nobody waits for an answer over a connection that nothing was asked over: callers may come and go as they
        // like, and no transaction is looked at for it.
        if came_about && asked != 0 {
            self.ended.push(Ended { flow: named, workers: asked });
        }
        input.discard(&mut self.spares);
    }

    fn forget_way(&mut self, way: (Local, SocketAddr), serial: u32) {
        if self.by_way.get(&way) == Some(&serial) {
            self.by_way.remove(&way);
        }
    }

    fn mark_unflushed(&mut self, serial: u32) {
        if let Some(connection) = self.open.get_mut(&serial)
            && !std::mem::replace(&mut connection.unflushed, true)
        {
            self.unflushed.push(serial);
        }
    }

    /// Look at the connection again no later than its deadline.
    fn schedule(&mut self, serial: u32) {
        let Some(connection) = self.open.get_mut(&serial) else { return };
        let (deadline, _) = connection.deadline(self.limits.idle_timeout);
        if deadline < connection.due {
            connection.due = deadline;
            self.deadlines.push(Reverse((deadline, serial)));
        }
    }

    /// Accept nothing for a while: what waits stays where it is.
    pub(super) fn exhaust(&mut self, now: Time) {
        self.tally.add(Traffic::TcpRefusedExhausted, 1);
        self.exhausted_until = Some(now + EXHAUSTED_FOR);
        self.watch_listening(Interest::default());
    }

    fn watch_listening(&self, interest: Interest) {
        for (listening, token) in self.listening.iter().zip(ACCEPTORS..) {
            // Cannot fail for a descriptor that is watched; if it does, that socket stays as it was.
            let _ = self.epoll.change(listening.acceptor.as_raw_fd(), token, interest);
        }
    }
}

#[cfg(test)]
impl Connections {
    /// Bytes of buffers that connections hold on to.
    pub(super) fn buffered(&self) -> usize {
        self.open.values().map(|connection| connection.input.holds() + connection.queue.holds()).sum()
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half is the serial number")]
const fn serial_of(id: ConnectionId) -> u32 {
    id.0 as u32
}

const fn origin_of(local: Local) -> Origin {
    match local {
        Local::Listener(_) => Origin::Caller,
        Local::NodeSide | Local::Worker => Origin::Node,
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
