//! The core's errors as Python's.

use pyo3::exceptions::{PyException, PyOSError};
use pyo3::{PyErr, create_exception};
use switchtender_net as net;

create_exception!(switchtender._core, CoreError, PyException, "Anything the packet core refuses.");
create_exception!(
    switchtender._core,
    ConfigError,
    CoreError,
    "Settings or a snapshot that do not hold: (pointer, message). What was in force stays in force."
);
create_exception!(
    switchtender._core,
    BindError,
    CoreError,
    "An address that could not be bound: (what, address, port, message)."
);
create_exception!(switchtender._core, CoreStopped, CoreError, "The core was stopped, or never started.");

/// `args` are the pointer and the message.
pub(crate) fn config(error: net::ConfigError) -> PyErr {
    ConfigError::new_err((error.pointer, error.message))
}

/// A core that could not be made.
pub(crate) fn open(error: net::OpenError) -> PyErr {
    match error {
        net::OpenError::Config(error) => config(error),
        net::OpenError::Bind(error) => {
            let (address, port) = (error.address.ip().to_string(), error.address.port());
            BindError::new_err((error.what, address, port, error.source.to_string()))
        }
        net::OpenError::System(error) => PyOSError::new_err(error.to_string()),
    }
}

/// By value, as `map_err` gives it.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn stopped(error: net::Stopped) -> PyErr {
    CoreStopped::new_err(error.to_string())
}
