//! Whoever looks at messages as they come and go: traces of single calls, and copies for a HEP collector. Without either a
//! message costs one relaxed load and a look at whether there is a collector.

use std::net::SocketAddr;

use switchtender_proxy::Decision;
use switchtender_select::{Snapshot, Time, Transport};

use crate::counts::{Tally, Traffic};
use crate::exporter::Exporter;
use crate::nodes::NodeTable;
use crate::tracer::Tracer;
use crate::traces::Traces;

/// A message's way, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// From us, not to us.
    pub(crate) sent: bool,
    pub(crate) transport: Transport,
    /// Our end.
    pub(crate) local: SocketAddr,
    /// The other end.
    pub(crate) peer: SocketAddr,
}

/// See the module.
pub(crate) struct Observer {
    tracer: Tracer,
    exporter: Option<Exporter>,
}

impl Observer {
    pub(crate) fn new(tracer: Tracer, exporter: Option<Exporter>) -> Self {
        Self { tracer, exporter }
    }

    /// Whether there is anyone to see a message.
    #[inline]
    pub(crate) fn looks(&self, now: Time, traces: &Traces) -> bool {
        self.exporter.is_some() || traces.any(now)
    }

    /// A message came or goes.
    pub(crate) fn on_message(&mut self, now: Time, traces: &Traces, way: Way, bytes: &[u8], tally: &mut Tally) {
        if traces.any(now) {
            let told = self.tracer.on_message(now, traces, way, bytes);
            tally.add(Traffic::Traced, told);
        }
        if let Some(exporter) = &mut self.exporter {
            exporter.copy(&way, bytes, tally);
        }
    }

    /// Something was decided about a request.
    pub(crate) fn on_decision(
        &mut self,
        now: Time,
        traces: &Traces,
        world: (&Snapshot, &NodeTable),
        (request, decision): (&[u8], &Decision<'_>),
        tally: &mut Tally,
    ) {
        let told = self.tracer.on_decision(now, traces, world, request, decision);
        tally.add(Traffic::Traced, told);
    }

    /// Whether a flush has something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.exporter.as_ref().is_some_and(Exporter::has_work)
    }

    /// Send copies, and wake the control side if something waits for it.
    pub(crate) fn flush(&mut self, tally: &mut Tally) {
        self.tracer.announce();
        if let Some(exporter) = &mut self.exporter {
            exporter.flush(tally);
        }
    }
}
