//! How the proxy behaves, message by message: one test for each rule, named after the RFC section or the failure it is
//! about. Time is a number here and nothing touches a socket.

#![allow(unreachable_pub)] // a test binary has no outside
#![allow(clippy::unwrap_used, clippy::expect_used)] // in what the tests share, too, a surprise is a failure

mod call;
mod cancel;
mod clauses;
mod connections;
mod decisions;
mod dialog;
mod documentation;
mod failover;
mod families;
mod forwarding;
mod holding;
mod limits;
mod nat;
mod outward;
mod passing;
mod registrar;
mod resources;
mod responses;
mod robustness;
mod siblings;
mod stateless;
mod text;
mod torture;
mod transactions;
mod unmeasured;
mod validation;
mod world;
