//! What workers and the control side share. Nothing here locks.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use switchtender_select::Snapshot;

use crate::counts::Page;
use crate::fingerprints::Fingerprints;
use crate::nodes::NodeTable;
use crate::standing::Standing;
use crate::stop::Stop;
use crate::sys::EventFd;
use crate::traces::Traces;

/// Nodes known at once, those that left within the hour included.
pub(crate) const NODE_SLOTS: u32 = 1 << 16;
/// Groups known at once, likewise.
pub(crate) const GROUP_SLOTS: u32 = 1 << 13;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) nodes: NodeTable,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) standing: Standing,
    pub(crate) traces: Traces,
    /// By worker.
    pub(crate) pages: Box<[Page]>,
    /// By worker: wakes its loop.
    pub(crate) wakes: Box<[Arc<EventFd>]>,
    /// Wakes the control side: events or entries of traces wait.
    pub(crate) events_wake: Arc<EventFd>,
    pub(crate) stop: Stop,
}

impl Shared {
    pub(crate) fn new(workers: usize, max_transactions: usize) -> io::Result<Self> {
        let wakes: io::Result<Vec<_>> = (0..workers).map(|_| EventFd::new().map(Arc::new)).collect();
        Ok(Self {
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            nodes: NodeTable::new(NODE_SLOTS, workers),
            fingerprints: Fingerprints::new(max_transactions, workers),
            standing: Standing::new(max_transactions),
            traces: Traces::default(),
            pages: (0..workers).map(|_| Page::new(GROUP_SLOTS)).collect(),
            wakes: wakes?.into(),
            events_wake: Arc::new(EventFd::new()?),
            stop: Stop::new(workers),
        })
    }

    /// Wake every worker.
    pub(crate) fn wake_workers(&self) {
        self.wakes.iter().for_each(|wake| wake.signal());
    }
}
