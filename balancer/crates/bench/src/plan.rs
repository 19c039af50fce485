//! What a run is to be, from the command line.

use std::net::SocketAddr;
use std::time::Duration;

use crate::options::{Options, UsageError};
use crate::script::Cast;
use crate::timers::T1;

/// How calls come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// So many a second, evenly spaced, whatever becomes of them.
    Rate(f64),
    /// So many at once: when one ends, the next begins.
    Window(usize),
}

/// How long the measured window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// So long.
    Time(Duration),
    /// Until so many calls, begun in it, ended.
    Calls(u64),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who speaks with whom.
    pub cast: Cast,
    /// How calls come.
    pub arrivals: Arrivals,
    /// How long the measured window is.
    pub extent: Extent,
    /// For how long calls are made before it.
    pub warmup: Duration,
    /// From ACK to BYE.
    pub hold: Duration,
    /// Calls that are set up before and stand until the end.
    pub in_progress: usize,
    /// At most so many of them are set up, and hung up, a second.
    pub setup_rate: f64,
    /// For how long an answer is waited for (64 T1 by RFC 3261 §17.1.1.2).
    pub patience: Duration,
}

impl Plan {
    /// Take what a run needs from the command line.
    ///
    /// # Errors
    /// An option is missing, cannot be read, or does not go with another one.
    pub fn read(options: &mut Options) -> Result<Self, UsageError> {
        let cast = read_cast(options)?;
        let arrivals = match (options.take("rate")?, options.take("window")?) {
            (Some(rate), None) => Arrivals::Rate(positive("rate", rate)?),
            (None, Some(size)) if size > 0 => Arrivals::Window(size),
            (None, Some(_)) => return Err(UsageError::value("window", "must be at least 1")),
            _ => return Err(UsageError::value("rate", "give either this or --window")),
        };
        let extent = match (options.take("seconds")?, options.take("calls")?) {
            (Some(seconds), None) => Extent::Time(duration("seconds", positive("seconds", seconds)?)?),
            (None, Some(calls)) => Extent::Calls(calls),
            _ => return Err(UsageError::value("seconds", "give either this or --calls")),
        };
        let patience = options.take("patience")?.map(|seconds| duration("patience", seconds)).transpose()?;
        Ok(Self {
            cast,
            arrivals,
            extent,
            warmup: duration("warmup", options.take("warmup")?.unwrap_or(0.0))?,
            hold: duration("hold", options.take("hold")?.unwrap_or(0.0))?,
            in_progress: options.take("in-progress")?.unwrap_or(0),
            setup_rate: positive("setup-rate", options.take("setup-rate")?.unwrap_or(10_000.0))?,
            patience: patience.unwrap_or(64 * T1),
        })
    }
}

fn read_cast(options: &mut Options) -> Result<Cast, UsageError> {
    let proxy = options.require("proxy")?;
    let caller = options.require("uac")?;
    let (listed, first) = (options.take_list("uas")?, options.take("uas-first")?);
    let count = options.take("uas-count")?;
    let nodes: Vec<SocketAddr> = match (listed, first, count) {
        (listed, None, None) if !listed.is_empty() => listed,
        (listed, Some(first), Some(count)) if listed.is_empty() => consecutive(first, count)?,
        _ => return Err(UsageError::value("uas", "give either this or --uas-first and --uas-count")),
    };
    if nodes.len() > 9999 {
        return Err(UsageError::value("uas-count", "at most 9999"));
    }
    let pattern: String = options.take("to")?.unwrap_or_else(|| "echo".into());
    if pattern.contains(|letter: char| !letter.is_ascii_alphanumeric() && !"-_.+{}".contains(letter)) {
        return Err(UsageError::value("to", "only letters, digits, - _ . + and {n}"));
    }
    let groups: usize = options.take("groups")?.unwrap_or(1);
    if groups == 0 || (groups > 1 && !pattern.contains("{n}")) {
        return Err(UsageError::value("groups", "at least 1, and more only with {n} in --to"));
    }
    let users = (0..groups).map(|group| pattern.replace("{n}", &group.to_string())).collect();
    Ok(Cast { proxy, caller, nodes, users })
}

/// So many ports of one address, or, where the port is SIP's own, so many addresses with that port.
fn consecutive(first: SocketAddr, count: u16) -> Result<Vec<SocketAddr>, UsageError> {
    let place = |number: u16| match first {
        SocketAddr::V4(v4) if v4.port() == 5060 => {
            Some((std::net::Ipv4Addr::from(u32::from(*v4.ip()).checked_add(number.into())?), 5060).into())
        }
        _ => Some(SocketAddr::new(first.ip(), first.port().checked_add(number)?)),
    };
    let nodes: Option<Vec<_>> = (0..count).map(place).collect();
    nodes.filter(|nodes| !nodes.is_empty()).ok_or_else(|| UsageError::value("uas-count", "too many, or none"))
}

fn positive(name: &'static str, value: f64) -> Result<f64, UsageError> {
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err(UsageError::value(name, "must be above 0")) }
}

fn duration(name: &'static str, seconds: f64) -> Result<Duration, UsageError> {
    Duration::try_from_secs_f64(seconds).map_err(|error| UsageError::value(name, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Plan, UsageError> {
        let mut options = Options::read(line.split_whitespace().map(str::to_owned)).unwrap().unwrap();
        let plan = Plan::read(&mut options)?;
        options.finish().map(|()| plan)
    }

    const ENDS: &str = "--proxy 127.0.0.1:5060 --uac 127.0.0.1:6060";

    #[test]
    fn a_whole_line_is_read() {
        let plan = read(&format!(
            "{ENDS} --uas-first 127.0.1.254:5060 --uas-count 3 --window 8 --calls 5 --to g{{n}} --groups 2 --hold 0.5"
        ))
        .unwrap();
        let nodes: Vec<String> = plan.cast.nodes.iter().map(ToString::to_string).collect();
        assert_eq!(nodes, ["127.0.1.254:5060", "127.0.1.255:5060", "127.0.2.0:5060"]);
        assert_eq!(plan.cast.users, ["g0", "g1"]);
        assert_eq!((plan.arrivals, plan.extent), (Arrivals::Window(8), Extent::Calls(5)));
        assert_eq!((plan.hold, plan.patience), (Duration::from_millis(500), Duration::from_secs(32)));
        let ports = read(&format!("{ENDS} --uas-first 127.0.0.1:7000 --uas-count 2 --rate 1 --seconds 1")).unwrap();
        assert_eq!(ports.cast.nodes, ["127.0.0.1:7000".parse().unwrap(), "127.0.0.1:7001".parse().unwrap()]);
    }

    #[test]
    fn what_does_not_go_together_is_told_by_name() {
        let cases = [
            ("--uas 127.0.0.1:1 --rate 1 --window 1 --seconds 1", "rate"),
            ("--uas 127.0.0.1:1 --rate 0 --seconds 1", "rate"),
            ("--uas 127.0.0.1:1 --window 0 --seconds 1", "window"),
            ("--uas 127.0.0.1:1 --rate 1", "seconds"),
            ("--uas 127.0.0.1:1 --rate 1 --seconds -1", "seconds"),
            ("--uas 127.0.0.1:1 --rate 1 --calls 1 --warmup -1", "warmup"),
            ("--uas 127.0.0.1:1 --uas-first 127.0.0.1:1 --rate 1 --calls 1", "uas"),
            ("--uas-first 127.0.0.1:65535 --uas-count 2 --rate 1 --calls 1", "uas-count"),
            ("--uas 127.0.0.1:1 --rate 1 --calls 1 --groups 2", "groups"),
            ("--uas 127.0.0.1:1 --rate 1 --calls 1 --to a#b", "to"),
        ];
        for (line, name) in cases {
            let error = read(&format!("{ENDS} {line}")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--{name}:")), "{line}: {error}");
        }
    }
}
