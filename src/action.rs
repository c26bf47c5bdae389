//! The interface to a job of GitHub Actions: its inputs and event, the log, and the runner's files.

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
