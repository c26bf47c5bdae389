//! GitHub Actions: what a workflow gives us.

pub mod credentials;
pub mod environment;
pub mod event;
pub mod inputs;
pub mod options;

pub use environment::{Environment, Files, Folder};
pub use event::Event;
pub use inputs::Inputs;
pub use options::Options;
