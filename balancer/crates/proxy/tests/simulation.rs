//! Deterministic simulation of whole deployments: several replicas and workers of the real proxy, callers and nodes with
//! a transaction layer of their own, a network that loses, doubles and reorders, and everything that goes wrong in life.
//!
//! In every other world one node and one client speak TCP: what they send arrives once and in order, and a dead node refuses
//! connections.
//!
//! A world is its seed: the same seed replays the same run, datagram by datagram. Each profile runs many seeds
//! (`SIMULATION_SEEDS=n` for another number of them); a failure names its seed, and `SIMULATION_SEED=n` replays that one
//! alone and prints its course.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "simulation/agent.rs"]
mod agent;
#[path = "simulation/attacker.rs"]
mod attacker;
#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/load.rs"]
mod load;
#[path = "simulation/message.rs"]
mod message;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/pool.rs"]
mod pool;
#[path = "simulation/replica.rs"]
mod replica;
#[path = "simulation/scenarios.rs"]
mod scenarios;
#[path = "simulation/troubles.rs"]
mod troubles;
#[path = "simulation/verdict.rs"]
mod verdict;
#[path = "simulation/witness.rs"]
mod witness;
#[path = "simulation/world.rs"]
mod world;

use crate::network::Weather;
use crate::troubles::{SPAN, Troubles, plan_calls, plan_troubles};
use crate::verdict::{QUIET, Rigor, judge};
use crate::world::{Setup, World};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// Seeds per profile when nobody says otherwise: more than 200 worlds over the six profiles.
const SEEDS: u64 = 34;

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Runs one profile over its seeds, or over the one that is asked for.
fn simulate(profile: &str, rigor: Rigor, prepare: impl Fn(Setup) -> (Setup, usize, Troubles)) {
    let only = number_from_environment("SIMULATION_SEED");
    let count = number_from_environment("SIMULATION_SEEDS").unwrap_or(SEEDS);
    for seed in only.map_or(0..count, |seed| seed..seed + 1) {
        let (setup, calls, troubles) =
            prepare(Setup { traced: only.is_some(), mixed: seed % 2 == 1, ..Setup::new(seed) });
        let mut world = World::new(&setup);
        let run = catch_unwind(AssertUnwindSafe(|| {
            plan_calls(&mut world, calls);
            plan_troubles(&mut world, troubles);
            world.run_for(SPAN + QUIET);
            if let Err(what) = judge(&world, rigor) {
                panic!("{what}");
            }
        }));
        if let Err(cause) = run {
            report(profile, seed, &world);
            resume_unwind(cause);
        }
    }
}

#[expect(clippy::print_stderr, reason = "the way to replay a failure belongs beside it")]
fn report(profile: &str, seed: u64, world: &World) {
    for line in world.network.trace.iter().flatten() {
        eprintln!("{line}");
    }
    eprintln!("to replay: SIMULATION_SEED={seed} cargo test -p switchtender-proxy --test simulation {profile}");
}

fn jittery(loss: f64) -> Weather {
    Weather { loss, duplication: loss, jitter: Duration::from_millis(40) }
}

#[test]
fn every_call_succeeds_at_one_node_when_nothing_goes_wrong() {
    simulate("every_call_succeeds", Rigor::Exact, |setup| (setup, 30, Troubles::default()));
}

#[test]
fn every_call_succeeds_over_a_lossy_network() {
    let weather = jittery(0.04);
    simulate("over_a_lossy_network", Rigor::Lossy, |setup| (Setup { weather, ..setup }, 30, Troubles::default()));
}

#[test]
fn calls_survive_failing_nodes() {
    let troubles = Troubles { nodes: true, ..Troubles::default() };
    simulate("failing_nodes", Rigor::Lossy, |setup| (setup, 40, troubles));
}

#[test]
fn a_crowded_pool_refuses_and_recovers() {
    let troubles = Troubles { pushes: true, ..Troubles::default() };
    let prepare = |setup| (Setup { max_sessions: 5, ..setup }, 90, troubles);
    simulate("crowded_pool", Rigor::Crowded, prepare);
}

#[test]
fn established_calls_survive_restarts_and_moving_flows() {
    let troubles = Troubles { replicas: true, flows: true, pushes: true, ..Troubles::default() };
    simulate("restarts_and_moving_flows", Rigor::Lossy, |setup| (setup, 40, troubles));
}

#[test]
fn nothing_breaks_when_everything_goes_wrong() {
    let troubles = Troubles { nodes: true, replicas: true, flows: true, clocks: true, pushes: true, attacks: true };
    let weather = jittery(0.03);
    // Two nodes in trouble, one on its way out: others must be left.
    let prepare = |setup| (Setup { weather, nodes: 6, ..setup }, 40, troubles);
    simulate("everything_goes_wrong", Rigor::Crowded, prepare);
}
