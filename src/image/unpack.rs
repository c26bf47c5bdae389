//! Unpacking the layers of an image: their [compression], the [archive] in it, and the [tree] of files that they make
//! up.
//!
//! The rules are those of [the
//! specification](https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#applying-changesets), and those of
//! engines where it is silent. Nothing is written to disk.

pub mod archive;
pub mod compression;
pub mod tree;
