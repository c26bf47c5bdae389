//! GitHub Actions, in both directions.

pub mod workflow;
