//! What to build, and the builders.

pub mod dockerfile;
pub mod engine;
pub mod recipe;
