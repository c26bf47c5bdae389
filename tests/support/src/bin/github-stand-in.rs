//! Serves a stand-in for GitHub's REST API that holds the releases of one repository; see `support::github`.

use std::path::PathBuf;

use clap::Parser;
use support::github::{Description, GitHub, Release, Setup};

/// A stand-in for GitHub's REST API that holds the releases of one repository.
#[derive(Parser)]
struct Options {
    /// The address to listen on; port 0 for any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// The repository, as `owner/name`
    #[arg(long)]
    repository: String,
    /// A release, by its tag; may be given several times
    #[arg(long = "release", value_name = "TAG")]
    releases: Vec<String>,
    /// A token that may write
    #[arg(long)]
    token: Option<String>,
    /// GitHub's OpenAPI description (`api.github.com.json` of npm's `@octokit/openapi`); nothing is validated without it
    #[arg(long, env = "PV_GITHUB_OPENAPI", value_name = "FILE")]
    openapi: Option<PathBuf>,
    /// A file that keeps the releases from one run to the next
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the caller waits for the address")]
fn main() {
    let options = Options::parse();
    let github = GitHub::serve(Setup {
        listen: options.listen,
        repository: options.repository,
        releases: options.releases.iter().map(|tag| Release::new(tag)).collect(),
        token: options.token,
        description: options.openapi.filter(|path| !path.as_os_str().is_empty()).map(|path| Description::read(&path)),
        state: options.state,
        log: true,
    });
    println!("listening on {}", github.url());
    loop {
        std::thread::park();
    }
}
