//! The remote APIs, one module each: a request in our words, an answer in our types. They decide nothing but what to
//! retry.

pub mod engine;
pub mod github;
pub mod registry;
mod retry;
mod tls;

pub(crate) use retry::DEADLINE;
