//! The remote APIs, one module each. They decide nothing: a request in our words, an answer in our types.

pub mod registry;
