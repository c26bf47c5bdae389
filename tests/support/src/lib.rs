//! Real registries and a validated stand-in for GitHub, started on loopback for tests and for the demo.

pub mod elf;
pub mod fault_proxy;
pub mod http;
pub mod image;
pub mod parts;
pub mod process;
pub mod registry;
pub mod token_server;
