//! The vocabulary of the [OCI image specification](https://github.com/opencontainers/image-spec/blob/v1.1.1/spec.md).
//!
//! Pure: nothing here reads a file, a clock or a socket, except for [`layer`], which writes the layer of the
//! executables.

pub mod base;
pub mod config;
pub mod environment;
pub mod interpreter;
pub mod layer;
pub mod layout;
pub mod location;
pub mod manifest;
pub mod platform;
pub mod reference;
pub mod source;
pub mod unpack;

pub use base::Base;
pub use config::Config;
pub use environment::EnvValue;
pub use location::Location;
pub use manifest::{Descriptor, Document, Index, Manifest, MediaType};
pub use platform::Platform;
pub use reference::{Digest, PinnedReference, Reference, Repository, Tag};
pub use source::{PinnedName, SourceName};
