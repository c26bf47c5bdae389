//! The `publish-variants` binary.
fn main() {}
