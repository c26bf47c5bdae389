//! What the layers of an image give when they are unpacked: [compression], the [archive] inside of it, and the [tree] of its files.
//!
//! The rules are those of [the specification](https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#applying-changesets), and
//! of engines where it is silent. Nothing is written to disk here.

pub mod archive;
pub mod compression;
pub mod tree;
