//! Publish variants of a tool's scratch image: one step, one digest per variant.
//!
//! ```text
//! event + inputs + matrix ──▶ Plan ──▶ Resolved ──▶ Built ──▶ Verified ──▶ Published ──▶ Report
//! ```

pub mod action;
pub mod api;
pub mod error;
pub mod image;
pub mod report;
pub mod secret;
