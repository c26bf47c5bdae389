//! Random histories, which are the same on every machine. `PV_MODEL_CASES` and `PV_MODEL_SEED` select more and others.

use std::thread;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::script::scripts;

/// How many threads play them. It doesn't depend on the machine, since each thread has random numbers of its own.
const THREADS: u32 = 4;

fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_happens_every_tag_names_what_it_may() {
    thread::scope(|scope| {
        let playing: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || play_as(thread))).collect();
        let failed: Vec<_> = playing.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    });
}

fn play_as(thread: u32) -> Result<(), String> {
    let config = Config {
        cases: number("PV_MODEL_CASES", 1000).div_ceil(THREADS),
        failure_persistence: None,
        max_shrink_iters: number("PV_MODEL_SHRINK", 500),
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("PV_MODEL_SEED", 1).to_le_bytes());
    seed[4..8].copy_from_slice(&thread.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let played = runner.run(&scripts(), |script| script.play().map_err(TestCaseError::fail));
    played.map_err(|failed| failed.to_string())
}
