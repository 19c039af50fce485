//! The engine behind a guard: a panic in it costs what it had in hand, not the process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use switchtender_proxy::{Config, Counters};
use switchtender_select::Snapshot;

use crate::counts::Traffic;
use crate::engine::{Engine, World};
use crate::events::What;
use crate::outbox::Outbox;
use crate::shared::Shared;

/// A worker's engine with all that its calls need.
pub(crate) struct Guard<E> {
    index: usize,
    config: Config,
    pub(crate) engine: E,
    pub(crate) outbox: Outbox,
    /// What the engines before this one had counted.
    pub(crate) earlier: Counters,
    pub(crate) shared: Arc<Shared>,
}

impl<E: Engine> Guard<E> {
    pub(crate) fn new(config: Config, outbox: Outbox, shared: Arc<Shared>) -> Self {
        Self {
            index: usize::from(config.worker),
            engine: E::new(config.clone()),
            config,
            outbox,
            earlier: Counters::default(),
            shared,
        }
    }

    /// Call the engine at the outbox's time.
    pub(crate) fn call(&mut self, snapshot: &Snapshot, act: impl FnOnce(&mut E, &mut World<'_>)) {
        let nodes = self.shared.nodes.of_worker(self.index, self.outbox.now);
        let (engine, outbox) = (&mut self.engine, &mut self.outbox);
        let mut world = World { now: outbox.now, snapshot, nodes, outbox };
        let outcome = catch_unwind(AssertUnwindSafe(|| act(engine, &mut world)));
        let turned = world.nodes.take_turned();
        if let Some(turned) = turned {
            self.outbox.record(What::Turned(turned));
        }
        if let Err(panic) = outcome {
            self.recover(&*panic);
        }
    }

    /// After a panic: if the engine was only deciding, the datagram in hand is lost and that is all. Otherwise nothing
    /// of its state is to be trusted, and it begins anew without transactions, but with what calls hold. Established calls go on either way
    /// (their routes are in their tokens), and counts are kept.
    pub(crate) fn recover(&mut self, panic: &(dyn Any + Send)) {
        self.outbox.tally.add(Traffic::Panics, 1);
        self.outbox.record(What::Panicked(message(panic).into()));
        if self.engine.is_changing() {
            self.earlier.absorb(self.engine.counters());
            self.shared.nodes.abandon(self.index);
            self.shared.fingerprints.forget(self.config.worker);
            let mut anew = E::new(self.config.clone());
            anew.keep(&mut self.engine, self.outbox.now);
            self.engine = anew;
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
