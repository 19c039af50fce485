//! What the worker loop drives: the proxy, behind a seam so that the loop can be tested by itself.

use switchtender_proxy::{Config, Counters, Flow, Packet, Proxy, TransportFailure};
use switchtender_select::{Snapshot, Time};
use switchtender_sip::Error;

use crate::nodes::WorkerNodes;
use crate::outbox::Outbox;

/// See [`Proxy`], whose methods these are.
pub(crate) trait Engine: Send + Sized + 'static {
    fn new(config: Config) -> Self;
    fn receive(&mut self, packet: &Packet<'_>, world: &mut World<'_>);
    fn handed_over(&mut self, packet: &Packet<'_>, world: &mut World<'_>);
    fn transport_error(&mut self, failure: &TransportFailure<'_>, world: &mut World<'_>);
    fn unframed(&mut self, packet: &Packet<'_>, error: Error, world: &mut World<'_>);
    fn connection_closed(&mut self, flow: &Flow, world: &mut World<'_>);
    fn call_over(&mut self, call: u64, world: &mut World<'_>);
    /// Takes over what outlives an engine that is to be made anew.
    fn keep(&mut self, former: &mut Self, now: Time);
    fn expire(&mut self, world: &mut World<'_>);
    fn next_deadline(&self) -> Option<Time>;
    fn open_transactions(&self) -> usize;
    fn transactions(&self) -> usize;
    fn set_overloaded(&mut self, overloaded: bool);
    fn counters(&self) -> &Counters;
    /// Whether a call had begun to change state and has not returned: after a panic, whether that state is suspect.
    fn is_changing(&self) -> bool;
}

/// All that a call into the engine is given.
pub(crate) struct World<'a> {
    pub(crate) now: Time,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) nodes: WorkerNodes<'a>,
    pub(crate) outbox: &'a mut Outbox,
}

impl Engine for Proxy {
    fn new(config: Config) -> Self {
        Self::new(config)
    }
    fn receive(&mut self, packet: &Packet<'_>, world: &mut World<'_>) {
        self.receive(world.now, packet, world.snapshot, &world.nodes, world.outbox);
    }
    fn handed_over(&mut self, packet: &Packet<'_>, world: &mut World<'_>) {
        self.handed_over(world.now, packet, world.snapshot, &world.nodes, world.outbox);
    }
    fn transport_error(&mut self, failure: &TransportFailure<'_>, world: &mut World<'_>) {
        self.transport_error(world.now, failure, world.snapshot, &world.nodes, world.outbox);
    }
    fn unframed(&mut self, packet: &Packet<'_>, error: Error, world: &mut World<'_>) {
        self.unframed(world.now, packet, error, world.snapshot, &world.nodes, world.outbox);
    }
    fn connection_closed(&mut self, flow: &Flow, world: &mut World<'_>) {
        self.connection_closed(world.now, flow, world.snapshot, &world.nodes, world.outbox);
    }
    fn call_over(&mut self, call: u64, world: &mut World<'_>) {
        self.call_over(world.now, call, world.snapshot, &world.nodes, world.outbox);
    }
    fn keep(&mut self, former: &mut Self, now: Time) {
        self.keep_records(former, now);
    }
    fn expire(&mut self, world: &mut World<'_>) {
        self.expire(world.now, world.snapshot, &world.nodes, world.outbox);
    }
    fn next_deadline(&self) -> Option<Time> {
        self.next_deadline()
    }
    fn open_transactions(&self) -> usize {
        self.open_transactions()
    }
    fn transactions(&self) -> usize {
        self.transactions()
    }
    fn set_overloaded(&mut self, overloaded: bool) {
        self.set_overloaded(overloaded);
    }
    fn counters(&self) -> &Counters {
        self.counters()
    }
    fn is_changing(&self) -> bool {
        self.changing()
    }
}
