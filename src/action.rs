//! GitHub Actions: what a job gives us, and what we give back to it.

pub mod environment;
pub mod event;
mod forge;
pub mod inputs;
pub mod log;
pub mod options;
pub mod step;
pub mod workflow;

pub use environment::{Environment, Files, Folder};
pub use event::Event;
pub use inputs::Inputs;
pub use log::Log;
pub use options::Options;
