//! The remote APIs, one module each: a request in our words, an answer in our types. Nothing is decided here, save what is retried.

pub mod engine;
pub mod github;
pub mod registry;
mod retry;

pub(crate) use retry::DEADLINE;
