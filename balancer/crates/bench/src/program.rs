//! What the programs have in common: options in, an exit status out.

use std::error::Error;
use std::process::ExitCode;

use switchtender_net::udp::pin_to_cpu;

use crate::options::{Options, UsageError};

/// Wrong usage, or an address that cannot be bound.
const UNUSABLE: u8 = 2;

/// Run a program by its command line: help on standard output, errors on standard error with status 2, otherwise the
/// status that `serve` ends with.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the edge of a program")]
pub fn run(help: &str, serve: impl FnOnce(Options) -> Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    let result = match Options::read(std::env::args().skip(1)) {
        Ok(None) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
        Ok(Some(options)) => serve(options),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(UNUSABLE)
    })
}

/// Take `--cpu` and stay on that processor.
///
/// # Errors
/// There is no such processor.
pub fn pin(options: &mut Options) -> Result<(), UsageError> {
    let Some(cpu) = options.take("cpu")? else { return Ok(()) };
    pin_to_cpu(cpu).map_err(|error| UsageError::value("cpu", format!("{cpu}: {error}")))
}
