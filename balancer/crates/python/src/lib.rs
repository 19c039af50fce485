//! The extension module `switchtender._core`: a thin binding over `switchtender-net`.
//!
//! Python calls in, nothing here calls Python: no worker thread ever attaches to the interpreter, and every call that
//! may wait (for a lock, a thread, a large document) lets go of it first. The documentation of each name stands in
//! `_core.pyi`.

mod core;
mod errors;
mod load;

#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use crate::core::{Baseline, Core};
    #[pymodule_export]
    use crate::errors::{BindError, ConfigError, CoreError, CoreStopped};
    #[pymodule_export]
    use crate::load::{Chooser, Evaluation, evaluate};

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
