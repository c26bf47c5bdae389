//! Any text as a matrix: the result is a plan or a list of problems, the same each time, but never a panic.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use publish_variants::action::{Environment, Options};
use publish_variants::plan::Plan;

fuzz_target!(|text: &str| {
    let environment: Environment = [
        ("INPUT_VERSION", "0.9.26"),
        ("INPUT_IMAGES", "ghcr.io/astral-sh/uv"),
        ("INPUT_BINARIES", "/uv /uvx"),
        ("INPUT_SOURCE-TAGS", "default"),
        ("INPUT_MATRIX", text),
    ]
    .into_iter()
    .collect();
    let read = || Plan::read(&Options::default(), &environment, &BTreeMap::<PathBuf, String>::new());
    match (read(), read()) {
        (Ok((first, ..)), Ok((second, ..))) => {
            assert!(!first.variants.is_empty());
            assert_eq!(first.to_json(), second.to_json());
            // Only a word that doesn't fit beside the name of its field is wider.
            let fits = |line: &str| {
                line.chars().count() <= 100 || line.split_whitespace().any(|word| word.chars().count() > 80)
            };
            assert!(first.to_table(100).lines().all(fits));
        }
        (Err(first), Err(second)) => assert_eq!(first.to_string(), second.to_string()),
        _ => panic!("a plan one time, and none the other"),
    }
});
