//! What the balancer is measured with, not shipped: a load generator (`sipload`), the forwarder that it is compared with,
//! and the home of the benchmarks in `benches/`. It must not share code with what it judges but for the system calls.

pub mod call;
pub mod callee;
pub mod caller;
pub mod figures;
pub mod forward;
pub mod histogram;
pub mod load;
pub mod options;
pub mod pace;
pub mod plan;
pub mod program;
pub mod reading;
pub mod script;
pub mod timers;
pub mod wire;
