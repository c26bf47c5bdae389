//! The remote APIs, one module each: a request in our words, an answer in our types. Nothing is decided here.

mod backoff;
pub mod engine;
pub mod github;
pub mod registry;
