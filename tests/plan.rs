//! The plan: any event, any matrix, exactly the right tags.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "plan/action.rs"]
mod action;
#[path = "plan/default.rs"]
mod default;
#[path = "plan/elsewhere.rs"]
mod elsewhere;
#[path = "plan/events.rs"]
mod events;
#[path = "plan/given.rs"]
mod given;
#[path = "plan/matrix.rs"]
mod matrix;
#[path = "plan/parity.rs"]
mod parity;
#[path = "plan/properties.rs"]
mod properties;
#[path = "plan/shown.rs"]
mod shown;
#[path = "plan/workflow.rs"]
mod workflow;
#[path = "plan/written.rs"]
mod written;
