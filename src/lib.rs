//! Publish variants of a tool's scratch image: one step, one digest per variant.
//!
//! ```text
//! event + inputs + matrix ──▶ Plan ──▶ Resolved ──▶ Built ──▶ Verified ──▶ Published ──▶ Report
//! ```

pub mod api;
pub mod build;
pub mod error;
pub mod image;
pub mod secret;
