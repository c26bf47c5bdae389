//! The real parts that a machine may have, named by environment variables.
//!
//! A test asks for the parts that it needs. If one is missing, the test returns with a message, so that skipped tests
//! can be counted:
//!
//! ```no_run
//! let Some(layouts) = support::parts::oci_layouts() else { return support::parts::skip("PV_OCI_LAYOUTS is not set") };
//! # drop(layouts);
//! ```

use std::env;
use std::io::Write as _;
use std::path::PathBuf;

/// `PV_ENGINE_CLASSIC`: the address of a Docker Engine with the classic image store, in the form of `DOCKER_HOST`.
pub fn engine_classic() -> Option<String> {
    text("PV_ENGINE_CLASSIC")
}

/// `PV_ENGINE_CONTAINERD`: the address of a Docker Engine with the containerd image store.
pub fn engine_containerd() -> Option<String> {
    text("PV_ENGINE_CONTAINERD")
}

/// Both engines, or those that exist.
pub fn engines() -> Vec<String> {
    [engine_classic(), engine_containerd()].into_iter().flatten().collect()
}

/// Each builder of this machine, with the engine's address. Reports an engine that is missing.
pub fn builders() -> Vec<(&'static str, String)> {
    let mut builders = vec![("registry", String::new())];
    builders.extend(engine_classic().map(|address| ("engine", address)));
    builders.extend(engine_containerd().map(|address| ("engine", address)));
    if builders.len() < 3 {
        skip("PV_ENGINE_CLASSIC or PV_ENGINE_CONTAINERD is not set");
    }
    builders
}

/// An engine for tests that aren't about engines: the newer one, if it exists. With many clients at the same time,
/// Docker 20.10 sometimes [dies](https://github.com/moby/moby/issues/42414).
#[must_use]
pub fn engine() -> Option<String> {
    engine_containerd().or_else(engine_classic)
}

/// `PV_OCI_LAYOUTS`: a folder of OCI image layouts of real bases, one per base (`alpine-3.23`).
pub fn oci_layouts() -> Option<PathBuf> {
    path("PV_OCI_LAYOUTS")
}

/// `PV_BUSYBOX`: a static busybox for this machine's architecture.
pub fn busybox() -> Option<PathBuf> {
    path("PV_BUSYBOX")
}

/// `PV_TOOLS`: a folder with the executables of the pinned Go tools.
pub fn tools() -> Option<PathBuf> {
    path("PV_TOOLS")
}

/// `PV_GITHUB_OPENAPI`: GitHub's OpenAPI description (`api.github.com.json` of the npm package `@octokit/openapi`).
pub fn github_openapi() -> Option<PathBuf> {
    path("PV_GITHUB_OPENAPI")
}

/// `PV_BUILDAH`: Debian's Buildah.
pub fn buildah() -> Option<PathBuf> {
    path("PV_BUILDAH")
}

/// `PV_REGISTRY_BIN`, else Debian's `docker-registry` from `PATH`: distribution 2.
pub fn registry() -> Option<PathBuf> {
    path("PV_REGISTRY_BIN").or_else(|| on_path("docker-registry"))
}

/// `PV_REGISTRY3_BIN`: distribution 3.
pub fn registry3() -> Option<PathBuf> {
    path("PV_REGISTRY3_BIN")
}

/// Reports that the calling test is skipped, and why, on one line of standard error: `SKIPPED: <reason> (<test>)`.
///
/// It bypasses the test harness, which would swallow the line if the test passes.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    // If nobody is reading, that's no reason to fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason} ({})", thread.name().unwrap_or("unnamed"));
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    text(name).map(PathBuf::from)
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_or_not_at_all() {
        assert!(on_path("sh").is_some_and(|file| file.ends_with("sh")));
        assert_eq!(on_path("no-such-program-anywhere"), None);
    }

    /// The last line of `scripts/test` after such a log, and whether it succeeds.
    fn total(log: &str, ci: &str) -> (String, bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), log).unwrap();
        let counter = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/parts/total.sh");
        let done = std::process::Command::new("bash")
            .args(["-c", "source \"$0\" && print_total \"$1\"", counter])
            .arg(file.path())
            .env("CI", ci)
            .output()
            .unwrap();
        (String::from_utf8(done.stdout).unwrap(), done.status.success())
    }

    const ALL_PASS: &str = "     Running unittests src/lib.rs (target/debug/deps/tool-0123456789abcdef)
test one ... ok
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
   Doc-tests tool
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(total(ALL_PASS, "true"), ("4 passed, 0 failed\n".into(), true));
    }

    #[test]
    fn skipped_tests_are_named_once_with_their_reason_and_fail_in_ci() {
        let log = format!(
            "CHECK SKIPPED: actionlint: no Go
{ALL_PASS}     Running tests/engine.rs (target/debug/deps/engine-0123456789abcdef)
SKIPPED: no engine (it_builds)
SKIPPED: no engine (it_builds)
test it_builds ... ok
test it_runs ... SKIPPED: no busybox (it_runs)
ok
test it_waits ... ignored, too slow
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
"
        );
        let named = "    actionlint: no Go
    engine it_waits: too slow
    engine it_builds: no engine
    engine it_runs: no busybox
";
        assert_eq!(total(&log, ""), (format!("skipped:\n{named}5 passed, 0 failed, 4 skipped\n"), true));
        let (said, succeeded) = total(&log, "true");
        assert_eq!(said, format!("skipped, which in CI is a failure:\n{named}5 passed, 4 failed\n"));
        assert!(!succeeded);
    }

    #[test]
    fn failed_tests_are_named_and_do_not_count_as_skipped() {
        let log = format!(
            "CHECK FAILED: cargo fmt
{ALL_PASS}     Running tests/engine.rs (target/debug/deps/engine-0123456789abcdef)
SKIPPED: one engine of two (it_builds)
test it_builds ... FAILED
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
"
        );
        let expected = "failed:\n    cargo fmt\n    engine it_builds\n4 passed, 2 failed\n";
        assert_eq!(total(&log, ""), (expected.into(), false));
    }
}
