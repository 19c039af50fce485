//! What the balancer is measured with, not shipped: a load generator (`sipload`), the forwarder that it is compared with,
//! and the home of the benchmarks in `benches/`. It must not share code with what it judges but for the system calls.

pub mod forward;
pub mod options;
pub mod program;
