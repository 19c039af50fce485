//! The arithmetic and the choice by themselves, for models and simulations in Python.

#![allow(clippy::disallowed_types, reason = "a model in Python, not the packet path")]

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use switchtender_select as select;

/// One node's room, by the arithmetic that the packet path uses.
#[pyclass(frozen, eq, module = "switchtender._core")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Evaluation(select::Evaluation);

#[pymethods]
impl Evaluation {
    #[getter]
    fn effective(&self) -> f64 {
        self.0.effective
    }
    #[getter]
    fn capacity(&self) -> f64 {
        self.0.capacity
    }
    #[getter]
    fn free(&self) -> f64 {
        self.0.free
    }
    #[getter]
    fn utilization(&self) -> f64 {
        self.0.utilization
    }
    #[getter]
    fn eligible(&self) -> bool {
        self.0.eligible
    }
    fn __repr__(&self) -> String {
        let select::Evaluation { effective, capacity, free, utilization, eligible } = self.0;
        let eligible = if eligible { "True" } else { "False" };
        format!(
            "Evaluation(effective={effective}, capacity={capacity}, free={free}, utilization={utilization}, \
             eligible={eligible})"
        )
    }
}

/// The packet path's own arithmetic on given numbers.
#[pyfunction]
#[pyo3(signature = (*, sessions, max_sessions, cap, headroom, share, legs_per_call, assigned, ended))]
#[allow(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn evaluate(
    sessions: f64,
    max_sessions: f64,
    cap: Option<f64>,
    headroom: f64,
    share: f64,
    legs_per_call: u32,
    assigned: u64,
    ended: u64,
) -> PyResult<Evaluation> {
    finite(&[("sessions", sessions), ("max_sessions", max_sessions), ("headroom", headroom)])?;
    finite(&[("cap", cap.unwrap_or(0.0))])?;
    check_share(share)?;
    let load = select::NodeLoad {
        admission: select::Admission::Open,
        sessions,
        max_sessions,
        cap: cap.unwrap_or(f64::INFINITY),
        headroom,
        share,
        assigned,
        ended,
        ..select::NodeLoad::default()
    };
    Ok(Evaluation(select::evaluate(&load, legs_per_call)))
}

/// The packet path's own choice over plain numbers.
#[pyclass(frozen, module = "switchtender._core")]
pub(crate) struct Chooser {
    algorithm: select::Algorithm,
    state: Mutex<(select::Rng, select::Memory)>,
}

#[pymethods]
impl Chooser {
    #[new]
    fn new(algorithm: &str, seed: u64) -> PyResult<Self> {
        let algorithm = select::Algorithm::from_name(algorithm)
            .ok_or_else(|| PyValueError::new_err(format!("unknown algorithm {algorithm:?}")))?;
        Ok(Self { algorithm, state: Mutex::new((select::Rng::new(seed), select::Memory::new())) })
    }

    #[allow(clippy::needless_pass_by_value, reason = "as Python hands them over")]
    fn choose(&self, nodes: Vec<(Bound<'_, Evaluation>, f64)>, excluded: HashSet<usize>) -> Option<usize> {
        let nodes: Vec<_> = nodes.iter().map(|(evaluation, weight)| (evaluation.get().0, *weight)).collect();
        let excluded: Vec<usize> = excluded.into_iter().collect();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (rng, memory) = &mut *state;
        select::choose_among(self.algorithm, &nodes, &excluded, rng, memory)
    }
}

/// `ValueError` names the first number that is not finite.
pub(crate) fn finite(numbers: &[(&str, f64)]) -> PyResult<()> {
    match numbers.iter().find(|(_, number)| !number.is_finite()) {
        Some((name, number)) => Err(PyValueError::new_err(format!("{name} is not finite: {number}"))),
        None => Ok(()),
    }
}

/// `ValueError` for a share outside (0, 1].
pub(crate) fn check_share(share: f64) -> PyResult<()> {
    if share > 0.0 && share <= 1.0 {
        Ok(())
    } else {
        Err(PyValueError::new_err(format!("share is not in (0, 1]: {share}")))
    }
}
