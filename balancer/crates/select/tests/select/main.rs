//! What the crate promises to those that build on it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::needless_pass_by_value,
    clippy::indexing_slicing
)]

mod algorithms;
mod arithmetic;
mod choosing;
mod distribution;
mod documents;
mod histories;
mod homes;
mod identities;
mod keys;
mod matching;
mod request;
mod reserves;
mod world;
