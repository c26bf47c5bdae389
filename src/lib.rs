//! Publish variants of a tool's scratch image: one step, one digest per variant.
//!
//! ```text
//! event + inputs + matrix ──▶ Plan ──▶ Resolved ──▶ Built ──▶ Verified ──▶ Published ──▶ Report
//! ```

pub mod action;
pub mod api;
pub mod build;
pub mod cli;
pub mod error;
pub mod image;
pub mod matrix;
pub mod plan;
pub mod publish;
pub mod report;
pub mod resolve;
pub mod secret;
pub mod verify;
pub mod version;
