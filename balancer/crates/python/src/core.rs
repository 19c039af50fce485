//! `Core`: `switchtender_net::Core` with Python's types.

use std::borrow::Cow;
use std::time::Duration;

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use switchtender_net as net;
use switchtender_select::Admission;

use crate::errors;
use crate::load::{check_share, finite};

/// What this balancer had placed on a node when a report was taken.
#[pyclass(frozen, get_all, eq, module = "switchtender._core")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Baseline {
    assigned: u64,
    assigned_now: u64,
    ended: u64,
    exact: bool,
}

#[pymethods]
impl Baseline {
    fn __repr__(&self) -> String {
        let Self { assigned, assigned_now, ended, exact } = self;
        let exact = if *exact { "True" } else { "False" };
        format!("Baseline(assigned={assigned}, assigned_now={assigned_now}, ended={ended}, exact={exact})")
    }
}

/// How long `join` stays deaf to signals.
const JOIN_STEP: Duration = Duration::from_millis(100);

type EventTuple = (&'static str, f64, u8, String, u16, String);
type TracedTuple = (u64, f64, u8, &'static str, String, String, String, Cow<'static, [u8]>);

/// Sockets, worker threads and the state they share.
#[pyclass(frozen, module = "switchtender._core")]
pub(crate) struct Core(net::Core);

#[pymethods]
impl Core {
    #[new]
    fn new(py: Python<'_>, settings: &[u8]) -> PyResult<Self> {
        py.detach(|| net::Core::open(settings)).map(Self).map_err(errors::open)
    }

    fn apply(&self, py: Python<'_>, snapshot: &[u8]) -> PyResult<u64> {
        py.detach(|| self.0.apply(snapshot)).map_err(errors::config)
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.start()).map_err(errors::stopped)
    }

    fn baseline(&self, py: Python<'_>, uid: &str, age: f64) -> PyResult<Baseline> {
        finite(&[("age", age)])?;
        // A report from the future is as good as one from now; one from before all time clears nothing either way.
        let age = Duration::try_from_secs_f64(age.max(0.0)).unwrap_or(Duration::MAX);
        let found = py.detach(|| self.0.baseline(uid, age)).ok_or_else(|| PyKeyError::new_err(uid.to_owned()))?;
        let net::Baseline { assigned, assigned_now, ended, exact } = found;
        Ok(Baseline { assigned, assigned_now, ended, exact })
    }

    #[pyo3(signature = (
        uid, *, admission, sessions = 0.0, max_sessions = 0.0, cap = None, headroom = 0.0, share = 1.0,
        sessions_per_second = None, idle_cpu = None, baseline_assigned = 0, baseline_ended = 0, weight_factor = 1.0,
        score = 1.0,
    ))]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn report(
        &self,
        py: Python<'_>,
        uid: &str,
        admission: &str,
        sessions: f64,
        max_sessions: f64,
        cap: Option<f64>,
        headroom: f64,
        share: f64,
        sessions_per_second: Option<f64>,
        idle_cpu: Option<f64>,
        baseline_assigned: u64,
        baseline_ended: u64,
        weight_factor: f64,
        score: f64,
    ) -> PyResult<()> {
        finite(&[
            ("sessions", sessions),
            ("max_sessions", max_sessions),
            ("headroom", headroom),
            ("weight_factor", weight_factor),
            ("cap", cap.unwrap_or_default()),
            ("sessions_per_second", sessions_per_second.unwrap_or_default()),
            ("idle_cpu", idle_cpu.unwrap_or_default()),
            ("score", score),
        ])?;
        check_share(share)?;
        if score < 0.0 {
            return Err(PyValueError::new_err(format!("score is negative: {score}")));
        }
        let admission = Admission::from_name(admission)
            .ok_or_else(|| PyValueError::new_err(format!("unknown admission {admission:?}")))?;
        let report = net::Report {
            admission,
            sessions,
            max_sessions,
            cap,
            headroom,
            share,
            sessions_per_second,
            idle_cpu,
            baseline_assigned,
            baseline_ended,
            weight_factor,
            score,
        };
        let known = py.detach(|| self.0.report(uid, &report));
        if known { Ok(()) } else { Err(PyKeyError::new_err(uid.to_owned())) }
    }

    fn restarted(&self, py: Python<'_>, uid: &str) -> PyResult<()> {
        let known = py.detach(|| self.0.restarted(uid));
        if known { Ok(()) } else { Err(PyKeyError::new_err(uid.to_owned())) }
    }

    fn nodes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let document = py.detach(|| self.0.nodes());
        PyBytes::new(py, &document)
    }

    fn explain<'py>(&self, py: Python<'py>, request: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let document = py.detach(|| self.0.explain(request)).map_err(errors::config)?;
        Ok(PyBytes::new(py, &document))
    }

    fn stats<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let document = py.detach(|| self.0.stats());
        PyBytes::new(py, &document)
    }

    fn events(&self, py: Python<'_>, limit: usize) -> Vec<EventTuple> {
        let tuple =
            |event: net::EventRecord| (event.kind, event.time, event.worker, event.uid, event.code, event.detail);
        py.detach(|| self.0.events(limit).into_iter().map(tuple).collect())
    }

    #[pyo3(signature = (trace, call_id, *, until, per_second))]
    fn trace(&self, py: Python<'_>, trace: u64, call_id: &str, until: f64, per_second: u32) -> PyResult<()> {
        let until = seconds(until)?;
        py.detach(|| self.0.trace(trace, call_id.as_bytes(), until, per_second))
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn end_trace(&self, py: Python<'_>, trace: u64) -> u64 {
        py.detach(|| self.0.end_trace(trace))
    }

    fn trace_left_out(&self, py: Python<'_>, trace: u64) -> u64 {
        py.detach(|| self.0.trace_left_out(trace))
    }

    fn traced(&self, py: Python<'_>, limit: usize) -> Vec<TracedTuple> {
        let tuple = |record: net::TraceRecord| {
            let net::TraceRecord { trace, time, worker, what, by, local, peer, bytes } = record;
            (trace, time, worker, what, by, local, peer, Cow::Owned(bytes))
        };
        py.detach(|| self.0.traced(limit).into_iter().map(tuple).collect())
    }

    #[getter]
    fn event_fd(&self) -> i32 {
        self.0.event_fd()
    }

    fn addresses<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.addresses())
    }

    fn open_transactions(&self) -> u64 {
        self.0.open_transactions()
    }

    #[pyo3(signature = (deadline = None))]
    fn stop(&self, py: Python<'_>, deadline: Option<f64>) -> PyResult<()> {
        let deadline = deadline.map(seconds).transpose()?;
        py.detach(|| self.0.stop(deadline));
        Ok(())
    }

    fn stopped(&self, py: Python<'_>) -> bool {
        py.detach(|| self.0.stopped())
    }

    fn join(&self, py: Python<'_>) -> PyResult<()> {
        // In steps, so that Ctrl-C is heard meanwhile.
        while !py.detach(|| self.0.join(JOIN_STEP)).map_err(errors::stopped)? {
            py.check_signals()?;
        }
        Ok(())
    }
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| PyValueError::new_err(format!("not a duration: {seconds}")))
}
