//! The remote APIs, one module each: a request in our words, an answer in our types. They decide nothing.

pub mod engine;
