//! Virtual time and the network: what is sent arrives later, twice or never, in the order that the seed says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use switchtender_select::{Rng, Time};

/// Who an alarm wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Client(usize),
    Node(usize),
    Worker { replica: usize, worker: usize },
    World,
}

/// What happens at some time.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A datagram reaches `to`.
    Arrival { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    /// The port at `destination` was closed: the datagram `quoted` comes back to the one who sent it from `source`.
    Unreachable { source: SocketAddr, destination: SocketAddr, quoted: Vec<u8> },
    /// A timer that `who` set.
    Alarm { who: Who, alarm: Alarm },
}

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// Timers A and E of a transaction of an endpoint.
    Retransmit(String),
    /// Timers B and F.
    GiveUp(String),
    /// Timer G, and the 2xx retransmissions of RFC 3261 §13.3.1.4.
    RetransmitResponse(String),
    /// Timer H, and a 2xx without an ACK.
    Unacknowledged(String),
    /// The next step of a call's script; the name says which.
    Step { call: String, step: &'static str },
    /// A zombie session ends.
    Zombie,
    /// Deadline of a worker, set while its run was `life`.
    Deadline { life: u64 },
    /// An entry of the world's own agenda.
    Agenda(usize),
}

/// A datagram on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Probability of a datagram's loss.
    pub(crate) loss: f64,
    /// Probability that it arrives twice.
    pub(crate) duplication: f64,
    /// Largest extra delay; with more than nothing, datagrams overtake each other.
    pub(crate) jitter: Duration,
}

/// Everything that will happen, and the dice.
pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) weather: Weather,
    /// Endpoints that speak TCP: what goes to or comes from them arrives once and in order.
    pub(crate) streams: BTreeSet<SocketAddr>,
    agenda: BTreeMap<(Time, u64), Happening>,
    order: u64,
    /// Every datagram sent since somebody began to listen in.
    pub(crate) tap: Option<Vec<Sent>>,
    /// Lines of the run so far; `None` when nobody will read them.
    pub(crate) trace: Option<Vec<String>>,
}

const LATENCY: Duration = Duration::from_millis(2);

impl Network {
    pub(crate) fn new(seed: u64, weather: Weather, traced: bool) -> Self {
        let trace = traced.then(Vec::new);
        let now = Time::from_secs(1_000);
        Self {
            now,
            rng: Rng::new(seed),
            weather,
            streams: BTreeSet::new(),
            agenda: BTreeMap::new(),
            order: 0,
            tap: None,
            trace,
        }
    }

    /// Whether messages between these two are a stream.
    pub(crate) fn is_stream(&self, one: SocketAddr, other: SocketAddr) -> bool {
        self.streams.contains(&one) || self.streams.contains(&other)
    }

    /// Puts a datagram, or a message of a stream, on the wire.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let stream = self.is_stream(from, to);
        let lost = !stream && self.chance(self.weather.loss);
        if let Some(tap) = &mut self.tap {
            tap.push(Sent { from, to, bytes: bytes.clone() });
        }
        if self.trace.is_some() {
            let first = String::from_utf8_lossy(&bytes);
            let first = first.lines().next().unwrap_or_default().to_owned();
            let branch = crate::message::Message::parse(&bytes).map(|message| message.branch()).unwrap_or_default();
            self.note(|| format!("{from} > {to}{} {first} [{branch}]", if lost { " LOST" } else { "" }));
        }
        if stream {
            return self.push(self.now + LATENCY, Happening::Arrival { from, to, bytes });
        }
        if self.chance(self.weather.duplication) {
            let again = Happening::Arrival { from, to, bytes: bytes.clone() };
            self.schedule(again);
        }
        if !lost {
            self.schedule(Happening::Arrival { from, to, bytes });
        }
    }

    fn schedule(&mut self, happening: Happening) {
        let jitter = self.between(Duration::ZERO, self.weather.jitter);
        self.push(self.now + LATENCY + jitter, happening);
    }

    /// The sender of a datagram learns that the port was closed.
    pub(crate) fn bounce(&mut self, source: SocketAddr, destination: SocketAddr, quoted: Vec<u8>) {
        self.push(self.now + LATENCY, Happening::Unreachable { source, destination, quoted });
    }

    pub(crate) fn wake(&mut self, when: Time, who: Who, alarm: Alarm) {
        self.push(when.max(self.now), Happening::Alarm { who, alarm });
    }

    pub(crate) fn wake_in(&mut self, delay: Duration, who: Who, alarm: Alarm) {
        self.wake(self.now + delay, who, alarm);
    }

    fn push(&mut self, when: Time, happening: Happening) {
        self.order += 1;
        self.agenda.insert((when, self.order), happening);
    }

    /// The next thing that happens before `end`; time goes on to it.
    pub(crate) fn next(&mut self, end: Time) -> Option<Happening> {
        let (&(when, _), _) = self.agenda.first_key_value()?;
        if when > end {
            self.now = end;
            return None;
        }
        self.now = self.now.max(when);
        self.agenda.pop_first().map(|(_, happening)| happening)
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.unit_f64() < probability
    }

    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_nanos()).unwrap_or(0);
        low + Duration::from_nanos(self.rng.below(span.saturating_add(1)))
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.rng.below(u64::try_from(from.len()).unwrap_or(0));
        from.get(usize::try_from(index).unwrap_or(0))
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.6} {}", now.since(Time::from_secs(1_000)).as_secs_f64(), line()));
        }
    }
}
