//! The remote APIs, one module each: a request in our words, an answer in our types. Nothing is decided here.

pub mod github;
