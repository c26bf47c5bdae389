//! GitHub Actions, in both directions.

pub mod log;
pub mod workflow;
