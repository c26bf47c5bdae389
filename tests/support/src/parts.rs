//! The real parts that a machine may or may not have, as the environment names them.
//!
//! A test asks for what it needs and returns when it isn't there, loudly, so that the skipped ones can be counted:
//!
//! ```no_run
//! let Some(layouts) = support::parts::oci_layouts() else { return support::parts::skip("PV_OCI_LAYOUTS is not set") };
//! # drop(layouts);
//! ```

use std::env;
use std::io::Write as _;
use std::path::PathBuf;

/// `PV_ENGINE_CLASSIC`: the address of a Docker Engine with the classic image store, as `DOCKER_HOST` would spell it.
pub fn engine_classic() -> Option<String> {
    text("PV_ENGINE_CLASSIC")
}

/// `PV_ENGINE_CONTAINERD`: the address of a Docker Engine with the containerd image store.
pub fn engine_containerd() -> Option<String> {
    text("PV_ENGINE_CONTAINERD")
}

/// Both engines, as far as they are there.
pub fn engines() -> Vec<String> {
    [engine_classic(), engine_containerd()].into_iter().flatten().collect()
}

/// An engine for tests that aren't about engines: the newer one, where it is there. Of many clients at once, Docker 20.10
/// sometimes [dies](https://github.com/moby/moby/issues/42414).
#[must_use]
pub fn engine() -> Option<String> {
    engine_containerd().or_else(engine_classic)
}

/// `PV_OCI_LAYOUTS`: a folder of OCI image layouts of real bases, one per base (`alpine-3.23`).
pub fn oci_layouts() -> Option<PathBuf> {
    path("PV_OCI_LAYOUTS")
}

/// `PV_TOOLS`: a folder with the executables of the pinned Go tools.
pub fn tools() -> Option<PathBuf> {
    path("PV_TOOLS")
}

/// `PV_GITHUB_OPENAPI`: GitHub's OpenAPI description (`api.github.com.json` of the npm package `@octokit/openapi`).
pub fn github_openapi() -> Option<PathBuf> {
    path("PV_GITHUB_OPENAPI")
}

/// `PV_REGISTRY_BIN`, else Debian's `docker-registry` from `PATH`: distribution 2.
pub fn registry() -> Option<PathBuf> {
    path("PV_REGISTRY_BIN").or_else(|| on_path("docker-registry"))
}

/// `PV_REGISTRY3_BIN`: distribution 3.
pub fn registry3() -> Option<PathBuf> {
    path("PV_REGISTRY3_BIN")
}

/// Says that the calling test is skipped, and why, on one line of standard error: `SKIPPED: <reason> (<test>)`.
///
/// It writes past the test harness, which would keep the line of a test that passes to itself.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    // Nobody may be reading; that's no reason to fail.
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
}
