//! Building variants: what to build, and the builders.

pub mod compose;
pub mod recipe;
