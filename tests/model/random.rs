//! Random histories, which are the same on every machine. `PV_MODEL_CASES` and `PV_MODEL_SEED` select more and others.

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::script::scripts;

fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_happens_every_tag_names_what_it_may() {
    let config = Config {
        cases: number("PV_MODEL_CASES", 1000),
        failure_persistence: None,
        max_shrink_iters: number("PV_MODEL_SHRINK", 500),
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("PV_MODEL_SEED", 1).to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let result = runner.run(&scripts(), |script| script.play().map_err(TestCaseError::fail));
    if let Err(failed) = result {
        panic!("{failed}");
    }
}
