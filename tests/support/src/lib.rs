//! What the tests and the demo run against: real registries, and a stand-in for GitHub that is validated with GitHub's
//! own description.
//!
//! Everything listens on 127.0.0.1, on a port that was free, and ends when it is dropped: servers with their
//! connections, child processes by their id. The servers run on threads of their own, so a test may block while it runs
//! the program. Paths of real parts come from the environment ([`parts`]). A missing part is `None`, and the test says
//! so:
//!
//! ```no_run
//! use support::fault_proxy::{Fault, FaultProxy, Rule};
//! use support::image::TinyImage;
//! use support::registry::{Auth, Registry};
//! use support::token_server::TokenServer;
//!
//! # async fn publishing_survives_a_lost_answer() {
//! let tokens = TokenServer::start();
//! tokens.add_user("publisher", "s3cret");
//! let Some(registry) = Registry::start(Auth::Token(&tokens)).await else {
//!     return support::parts::skip("no docker-registry");
//! };
//! let tool = TinyImage::tool(&["linux/amd64", "linux/arm64"], &["tool"], "1.2.3").build();
//! registry.push(&tool, "acme/tool", "1.2.3").await;
//!
//! let proxy = FaultProxy::start(registry.host());
//! proxy.inject(Rule::on("PUT", "/manifests/", Fault::LoseAnswer).times(1));
//! // … publish to `proxy.host()` …
//! assert!(registry.manifest("acme/tool", "alpine").await.is_some());
//! assert_eq!(proxy.sent().blobs, 1);
//! # }
//! ```
//!
//! | module | content |
//! |---|---|
//! | [`registry`] | [`Registry`](registry::Registry): distribution 2 or 3, open, with a password or with tokens. Pushes and reads images, lists tags, deletes; `requests()` and `writes()` from its access log; `seed` for an OCI layout on disk |
//! | [`memory_registry`] | [`MemoryRegistry`](memory_registry::MemoryRegistry): the same protocol in memory, for hundreds of runs. It can be reset to an earlier state, and lets requests wait at a [`Gate`](memory_registry::Gate), so that a test can let runs cross or kill them at any request |
//! | [`token_server`] | [`TokenServer`](token_server::TokenServer): users, grants, anonymous pulls, lifetimes, GHCR's transient `denied`; `requests()` with the scopes asked for |
//! | [`fault_proxy`] | [`FaultProxy`](fault_proxy::FaultProxy) before a registry: [`Fault`](fault_proxy::Fault)s by [`Rule`](fault_proxy::Rule), by a function or at random from a seed; `requests()`, `sent()`, and the blob store that it redirects to |
//! | [`github`] | [`GitHub`](github::GitHub): releases, tags, commits; refusals, limits, broken connections, edits by others, releases that come and go; `violations()`, which fail the test unless taken. Also as the program `github-stand-in` |
//! | [`image`] | [`TinyImage`](image::TinyImage): an image with a few files for any platforms, with OCI's or Docker's media types and optional attestations; reads and writes OCI layouts |
//! | [`elf`] | static executables of two hundred bytes that print a text, for amd64 and arm64 |
//! | [`process`] | [`Process`](process::Process): a child with its log, killed when dropped |
//! | [`parts`] | which real parts this machine has, and `skip` |
//! | [`runner`] | [`Step`](runner::Step): runs the action's binary like GitHub's runner, to its end or until it is killed, and reads its outputs |
//! | [`http`] | a server and a client of a few lines |

pub mod elf;
pub mod fault_proxy;
pub mod github;
pub mod http;
pub mod image;
pub mod memory_registry;
pub mod parts;
pub mod process;
pub mod registry;
pub mod runner;
pub mod terminal;
pub mod token_server;
