//! The whole core as its control side sees it: made, fed with snapshots and reports, asked, stopped.
//!
//! Locks here are the control side's own; workers never take one.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use switchtender_proxy::{Config, Proxy};
use switchtender_select::json::ConfigError;
use switchtender_select::{NodeSlot, Slots, Snapshot, Time};

use crate::bind::{self, BindError, Sockets};
use crate::events::{EventRecord, Record};
use crate::explain;
use crate::exporter::Exporter;
use crate::nodes::{Baseline, Report};
use crate::observer::Observer;
use crate::outbox::{Handed, Outbox};
use crate::ring::{Producer, ring};
use crate::settings::{Settings, Tcp};
use crate::shared::{GROUP_SLOTS, NODE_SLOTS, Shared};
use crate::sys::{Epoll, EventFd, monotonic};
use crate::tcp::TcpLimits;
use crate::tracer::{Entry, TraceRecord, Tracer};
use crate::traces::TraceError;
use crate::views::{self, FormerGroups};
use crate::worker::Worker;

/// Entries of a worker's ring up to the control side.
const EVENTS: usize = 4096;
/// Entries of a worker's ring for traced calls.
const TRACED: usize = 1024;
/// How often the end of the workers is looked for.
const JOIN_STEP: Duration = Duration::from_millis(2);
/// A worker ends within a turn; one that does not is left to the end of the process.
const JOIN_LIMIT: Duration = Duration::from_secs(5);
/// Entries of the ring down to a worker from its siblings.
const HANDED: usize = 512;

#[allow(clippy::disallowed_types, reason = "control path: configuration, reports, scrapes; no worker ever takes one")]
type Mutex<T> = std::sync::Mutex<T>;

/// Why a core could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings do not hold.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gives no descriptors, memory or randomness.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

/// The core was stopped or never started, where that is needed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub &'static str);

/// What the control side keeps of the configuration.
struct Control {
    slots: Slots,
    generation: u64,
    /// Former snapshots that a worker may still hold: the last to let go frees it, and that shall not be a worker.
    retired: Vec<Arc<Snapshot>>,
    /// What had been counted in the slots of groups that another group had before.
    former_groups: FormerGroups,
}

/// The worker threads: made with the core, run from `start` on.
enum Threads {
    Waiting(Vec<Worker<Proxy>>),
    Started(Vec<JoinHandle<()>>),
    Joined,
}

/// Sockets, worker threads and what they share. All methods may be called from any thread; none but [`Core::join`]
/// waits for a worker.
pub struct Core {
    settings: Settings,
    addresses: views::Addresses,
    shared: Arc<Shared>,
    control: Mutex<Control>,
    threads: Mutex<Threads>,
    events: Mutex<Vec<Receiver<Record>>>,
    traced: Mutex<Vec<Receiver<Entry>>>,
}

impl Core {
    /// Binds every socket; nothing runs yet.
    ///
    /// # Errors
    /// [`OpenError`]: settings, an address, or the system.
    pub fn open(settings: &[u8]) -> Result<Self, OpenError> {
        let settings = Settings::from_json(settings)?;
        let workers = usize::from(settings.workers);
        let shared = Arc::new(Shared::new(workers, settings.max_transactions)?);
        let sockets = bind::bind(&settings)?;
        let addresses = views::Addresses::of(&settings, &sockets);
        let identity = Identity::new(settings.run_id)?;
        let (producers, inboxes): (Vec<Producer<Handed>>, Vec<_>) =
            shared.wakes.iter().map(|wake| ring(HANDED, Arc::clone(wake))).unzip();
        let (records, events): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| ring(EVENTS, Arc::clone(&shared.events_wake))).unzip();
        let (entries, traced): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| ring(TRACED, Arc::clone(&shared.events_wake))).unzip();
        let waiting = (0..settings.workers)
            .zip(sockets)
            .zip(inboxes)
            .zip(records.into_iter().zip(entries))
            .map(|(((worker, sockets), inbox), (records, entries))| {
                let config = config(&settings, &identity, worker, &sockets)?;
                let epoll = Arc::new(Epoll::new()?);
                let tcp = (tcp_limits(&settings), Arc::clone(&epoll));
                let exporter = settings.hep.clone().map(Exporter::new).transpose()?;
                let up = (records, Observer::new(Tracer::new(entries), exporter));
                let outbox = Outbox::new(worker, sockets, tcp, up, producers.clone(), Arc::clone(&shared))?;
                Worker::new(config, outbox, epoll, inbox, Arc::clone(&shared))
            })
            .collect::<io::Result<_>>()?;
        let control = Control {
            slots: Slots::new(NODE_SLOTS, GROUP_SLOTS),
            generation: 0,
            retired: Vec::new(),
            former_groups: FormerGroups::new(),
        };
        Ok(Self {
            settings,
            addresses,
            shared,
            control: Mutex::new(control),
            threads: Mutex::new(Threads::Waiting(waiting)),
            events: Mutex::new(events),
            traced: Mutex::new(traced),
        })
    }

    /// Puts a whole snapshot in force; its generation.
    ///
    /// # Errors
    /// [`ConfigError`]; the old snapshot stays in force.
    pub fn apply(&self, snapshot: &[u8]) -> Result<u64, ConfigError> {
        let mut control = lock(&self.control);
        let mut snapshot = Snapshot::from_json(snapshot, &mut control.slots.at(monotonic()))?;
        for slot in control.slots.take_fresh() {
            self.shared.nodes.open(slot);
        }
        for slot in control.slots.take_fresh_groups() {
            if let Some(counts) = views::group_counts(&self.shared.pages, slot) {
                control.former_groups.insert(slot, counts);
            }
        }
        for node in snapshot.nodes.iter().filter(|node| !node.removed) {
            self.shared.nodes.configure(node.slot, node.ejection.as_ref());
        }
        control.generation += 1;
        snapshot.generation = control.generation;
        let former = self.shared.snapshot.swap(Arc::new(snapshot));
        control.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        control.retired.push(former);
        self.shared.wake_workers();
        Ok(control.generation)
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`Stopped`] when they were started before, or the system gives no thread.
    pub fn start(&self) -> Result<(), Stopped> {
        let mut threads = lock(&self.threads);
        let Threads::Waiting(workers) = std::mem::replace(&mut *threads, Threads::Joined) else {
            return Err(Stopped("the core was started before"));
        };
        let mut handles = Vec::with_capacity(workers.len());
        for (worker, page) in workers.into_iter().zip(&self.shared.pages) {
            page.running.store(true, Ordering::Release);
            let name = format!("sip-worker-{}", handles.len());
            let Ok(handle) = std::thread::Builder::new().name(name).spawn(move || worker.run()) else {
                page.running.store(false, Ordering::Release);
                self.end_at_once();
                *threads = Threads::Started(handles);
                return Err(Stopped("the system gives no thread"));
            };
            handles.push(handle);
        }
        *threads = Threads::Started(handles);
        Ok(())
    }

    /// The totals that a report of this age stands on; `None` for an unknown uid.
    pub fn baseline(&self, uid: &str, age: Duration) -> Option<Baseline> {
        let slot = lock(&self.control).slots.node(uid)?;
        self.shared.nodes.baseline(slot, age, monotonic())
    }

    /// Publishes a report; false for an unknown uid.
    pub fn report(&self, uid: &str, report: &Report) -> bool {
        // The lock also makes this the one writer at a time that the table asks for.
        let control = lock(&self.control);
        let Some(slot) = control.slots.node(uid) else { return false };
        self.shared.nodes.report(slot, report, monotonic());
        true
    }

    /// The node began anew: what calls had taken of its resources is free, and an ejection ends. False for an unknown
    /// uid.
    pub fn restarted(&self, uid: &str) -> bool {
        let control = lock(&self.control);
        let Some(slot) = control.slots.node(uid) else { return false };
        self.shared.nodes.restarted(slot);
        true
    }

    /// JSON: every node, evaluated now.
    pub fn nodes(&self) -> Vec<u8> {
        let names = lock(&self.control).slots.resources().to_vec();
        views::nodes(&self.shared, &names, monotonic())
    }

    /// JSON in and out: where a request would go, and why. Counts nothing.
    ///
    /// # Errors
    /// [`ConfigError`] for a question that cannot be read.
    pub fn explain(&self, request: &[u8]) -> Result<Vec<u8>, ConfigError> {
        explain::explain(request, &self.shared, &self.settings, monotonic())
    }

    /// JSON: what was counted.
    pub fn stats(&self) -> Vec<u8> {
        views::stats(&self.shared, &lock(&self.control).former_groups, monotonic())
    }

    /// JSON: the addresses as bound.
    pub fn addresses(&self) -> Vec<u8> {
        self.addresses.json()
    }

    /// Takes up to `limit` events, worker by worker, each one's oldest first.
    pub fn events(&self, limit: usize) -> Vec<EventRecord> {
        let rings = lock(&self.events);
        // Before taking: what comes in meanwhile signals again.
        self.shared.events_wake.drain();
        let snapshot = self.shared.snapshot.load();
        let uid_of = |slot: NodeSlot| snapshot.node(slot).map(|node| node.uid.to_string());
        let mut taken = Vec::new();
        for (ring, worker) in rings.iter().zip(0..) {
            let room = limit.saturating_sub(taken.len());
            taken.extend(ring.try_iter().take(room).map(|record| record.what.told(record.at, worker, uid_of)));
        }
        if taken.len() >= limit {
            // There may be more.
            self.shared.events_wake.signal();
        }
        taken
    }

    /// Follows the call with this Call-ID, one that stands or one to come: what comes and goes and what is decided of it
    /// is taken by [`Core::traced`]. `until`: seconds of `CLOCK_MONOTONIC`.
    ///
    /// # Errors
    /// [`TraceError`]: nothing changed.
    pub fn trace(&self, id: u64, call_id: &[u8], until: Duration, per_second: u32) -> Result<(), TraceError> {
        // The one writer at a time that the list asks for.
        let _control = lock(&self.control);
        self.shared.traces.begin(id, call_id, (monotonic(), Time::ZERO + until), per_second)
    }

    /// Ends a trace, which ends by itself otherwise; how much was left out of it. One that is not known is 0.
    pub fn end_trace(&self, id: u64) -> u64 {
        let _control = lock(&self.control);
        self.shared.traces.end(id)
    }

    /// How much was left out of a trace, by its limit or for want of room; 0 for one that is not known.
    pub fn trace_left_out(&self, id: u64) -> u64 {
        self.shared.traces.left_out(id)
    }

    /// Takes up to `limit` entries of traces, in order of time as far as they were there.
    pub fn traced(&self, limit: usize) -> Vec<TraceRecord> {
        let rings = lock(&self.traced);
        let mut taken = Vec::new();
        for (ring, worker) in rings.iter().zip(0..) {
            let room = limit.saturating_sub(taken.len());
            taken.extend(ring.try_iter().take(room).map(|entry| entry.told(worker)));
        }
        if !taken.is_empty() && taken.len() >= limit {
            // There may be more.
            self.shared.events_wake.signal();
        }
        // Stable: what one worker told at one moment stays in its order.
        taken.sort_by(|one, other| one.time.total_cmp(&other.time));
        taken
    }

    /// Readable when events or entries of traces wait; owned by the core.
    pub fn event_fd(&self) -> RawFd {
        EventFd::as_raw_fd(&self.shared.events_wake)
    }

    /// Transactions open over all workers.
    pub fn open_transactions(&self) -> u64 {
        self.shared.pages.iter().map(|page| page.open_transactions.load(Ordering::Relaxed)).sum()
    }

    /// Begins to stop: everything is served on until no transaction was open for 5 s, at the latest for `deadline`
    /// (`None`: as the settings say). A later call can only bring the end nearer.
    pub fn stop(&self, deadline: Option<Duration>) {
        let now = monotonic();
        self.shared.stop.begin(now, now + deadline.unwrap_or(self.settings.stop_deadline));
        self.shared.wake_workers();
    }

    /// Whether every worker has ended; false before the start.
    pub fn stopped(&self) -> bool {
        match &*lock(&self.threads) {
            Threads::Waiting(_) => false,
            Threads::Started(handles) => handles.iter().all(JoinHandle::is_finished),
            Threads::Joined => true,
        }
    }

    /// Waits for so long at most until every worker has ended; whether they have.
    ///
    /// # Errors
    /// [`Stopped`] when none was ever started.
    pub fn join(&self, patience: Duration) -> Result<bool, Stopped> {
        let until = monotonic() + patience;
        loop {
            match &mut *lock(&self.threads) {
                Threads::Waiting(_) => return Err(Stopped("the core was never started")),
                Threads::Joined => return Ok(true),
                // Joined one by one with the lock let go in between, so that `stop` and `stopped` stay possible.
                Threads::Started(handles) => match handles.iter().position(JoinHandle::is_finished) {
                    // A worker's own panics are caught; one that got through was printed, and the thread is gone.
                    Some(finished) => drop(handles.swap_remove(finished).join()),
                    None if handles.is_empty() => return Ok(true),
                    None => {}
                },
            }
            if monotonic() >= until {
                return Ok(false);
            }
            std::thread::sleep(JOIN_STEP);
        }
    }

    fn end_at_once(&self) {
        self.stop(Some(Duration::ZERO));
    }
}

impl Drop for Core {
    /// Nobody is left to stop the workers: end them now. What is open is lost, as it is with any end of the process.
    fn drop(&mut self) {
        self.end_at_once();
        let _ = self.join(JOIN_LIMIT);
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept under these locks is whole after each statement; a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What names this run of the process in branches and tokens.
struct Identity {
    run_id: u64,
    secret: [u8; 16],
}

impl Identity {
    fn new(run_id: Option<u64>) -> io::Result<Self> {
        Ok(Self { run_id: run_id.map_or_else(|| random().map(u64::from_ne_bytes), Ok)?, secret: random()? })
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// One worker's part: the kernel spreads connections evenly over the workers, by the peers' ports.
fn tcp_limits(settings: &Settings) -> TcpLimits {
    let part = |all: u32| usize::try_from(all.div_ceil(settings.workers.into())).unwrap_or(usize::MAX);
    let Tcp { idle_timeout, connect_timeout, max_connections, max_per_source } = settings.tcp;
    TcpLimits { idle_timeout, connect_timeout, connections: part(max_connections), per_source: part(max_per_source) }
}

fn config(settings: &Settings, identity: &Identity, worker: u8, sockets: &Sockets) -> io::Result<Config> {
    let listeners = settings.listeners.iter().zip(&sockets.listeners).map(|(listener, socket)| {
        let (advertise, nat) = (listener.advertise.clone(), listener.nat);
        let allow = listener.allow.clone();
        switchtender_proxy::Listener { address: socket.address, advertise, nat, allow }
    });
    let node_side = settings.node_side.as_ref().zip(sockets.node_side.as_ref()).map(|(side, socket)| {
        let advertise = side.advertise.iter().map(|(networks, address)| switchtender_proxy::NodeAdvertise {
            networks: networks.clone(),
            address: address.clone(),
        });
        switchtender_proxy::NodeSide {
            address: socket.address,
            advertise: advertise.collect(),
            sources: side.sources.clone(),
        }
    });
    Ok(Config {
        worker,
        workers: settings.workers,
        run_id: identity.run_id,
        #[allow(clippy::cast_possible_truncation, reason = "any 32 of the random bits name a replica")]
        replica: identity.run_id as u32,
        secret: identity.secret,
        listeners: listeners.collect(),
        node_side,
        worker_address: sockets.worker.address,
        max_transactions: settings.max_transactions.div_ceil(usize::from(settings.workers)),
        seed: u64::from_ne_bytes(random()?),
    })
}
