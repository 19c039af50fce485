//! The balancer's workers by themselves, from documents and without Python: for callgrind, perf and strace.

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::thread;

use serde::Deserialize;
use switchtender_bench::options::{Options, UsageError};
use switchtender_bench::program;
use switchtender_net::{Core, Report};
use switchtender_select::Admission;

const HELP: &str = "\
Serve as the balancer's workers do, from a snapshot and without a control side, until SIGTERM.

core --settings FILE --snapshot FILE [--max-sessions N] [--sessions-per-second N] [--cpu N]

  --settings FILE            listeners, workers and limits: the JSON document that the balancer opens its core with
  --snapshot FILE            nodes and groups: the JSON document that it puts in force
  --max-sessions N           every node reports itself open and idle once, with so many sessions at most (1000000)
  --sessions-per-second N    ... and with so many new ones a second (1000000)
  --cpu N                    the processor to stay on

Standard output has the addresses as bound, in one line of JSON, once the workers run.
";

/// The part of a snapshot that reports need.
#[derive(Deserialize)]
struct Names {
    nodes: Vec<Name>,
}

#[derive(Deserialize)]
struct Name {
    uid: String,
}

/// Takes an option with a file's name; what is in the file.
fn document(options: &mut Options, name: &'static str) -> Result<Vec<u8>, UsageError> {
    let path: String = options.require(name)?;
    fs::read(&path).map_err(|error| UsageError::value(name, format!("{path}: {error}")))
}

/// A core with this snapshot in force and every node open.
fn open(settings: &[u8], snapshot: &[u8], report: &Report) -> Result<Core, Box<dyn Error>> {
    let core = Core::open(settings)?;
    core.apply(snapshot)?;
    let names: Names = serde_json::from_slice(snapshot)?;
    for node in names.nodes {
        core.report(&node.uid, report);
    }
    core.start()?;
    Ok(core)
}

#[allow(clippy::print_stdout, reason = "the edge of a program")]
fn main() -> ExitCode {
    program::run(HELP, |mut options| {
        program::pin(&mut options)?;
        let settings = document(&mut options, "settings")?;
        let snapshot = document(&mut options, "snapshot")?;
        let report = Report {
            admission: Admission::Open,
            sessions: 0.0,
            max_sessions: options.take("max-sessions")?.unwrap_or(1e6),
            cap: None,
            headroom: 0.0,
            share: 1.0,
            sessions_per_second: Some(options.take("sessions-per-second")?.unwrap_or(1e6)),
            idle_cpu: None,
            baseline_assigned: 0,
            baseline_ended: 0,
            weight_factor: 1.0,
            score: 1.0,
        };
        options.finish()?;
        let core = open(&settings, &snapshot, &report)?;
        println!("{}", String::from_utf8_lossy(&core.addresses()));
        // Asleep, so that what is counted is the worker's alone; a signal ends the process.
        while !core.stopped() {
            thread::park();
        }
        Ok(ExitCode::FAILURE)
    })
}
