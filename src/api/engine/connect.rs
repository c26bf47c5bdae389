//! Finding the engine, and finding out whether it can be used.

use std::io;

use bollard::{API_DEFAULT_VERSION, Docker};
use serde_json::Value;

use super::error::{Cause, EngineError};
use super::http::{ApiVersion, Http};
use super::janitor::{Janitor, Ledger};
use super::run::Emulation;
use super::{Engine, Limits, Shared, cache};
use crate::api::retry::DEADLINE;
use crate::image::Platform;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The first API version with BuildKit: Docker 18.09.
const FIRST_WITH_BUILDKIT: ApiVersion = ApiVersion(1, 39);
/// How long bollard waits for the head of an answer. A build's own time isn't limited by it.
const SESSION_SECONDS: u64 = 120;

impl Engine {
    /// Looks whether there may be an engine at `docker_host`: the address is one, and somebody listens at a socket. Sends no request.
    ///
    /// # Errors
    /// An address that we can't use, or a socket where nobody listens.
    pub fn look_for(docker_host: Option<&str>) -> Result<(), EngineError> {
        open(address(docker_host)).map(drop)
    }

    /// Connects to the engine at `docker_host` (`unix://…` or `tcp://…`; without one, Docker's own default), agrees with
    /// it on the API's version and looks whether it can build and run Linux images.
    ///
    /// # Errors
    /// No engine there, none that we may use, or one that can't build. All of these are faults of the input.
    pub async fn connect(docker_host: Option<&str>) -> Result<Self, EngineError> {
        let address = address(docker_host);
        let (mut http, docker) = open(address)?;
        let version = http.get("/version", "tell its version").json().await.map_err(|e| unreachable(address, e))?;
        let text = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
        let theirs = ApiVersion::parse(&text("ApiVersion")).ok_or_else(|| EngineError::NotAnEngine {
            address: address.to_owned(),
            cause: Cause::text("it doesn't tell the version of its API"),
        })?;
        if theirs < FIRST_WITH_BUILDKIT {
            let (address, version, api) = (address.to_owned(), text("Version"), text("ApiVersion"));
            return Err(EngineError::TooOld { address, version, api });
        }
        if text("Os") != "linux" {
            return Err(EngineError::NotLinux { address: address.to_owned(), os: text("Os") });
        }
        http.negotiate(theirs);
        let info = http.get("/info", "describe itself").json().await.map_err(|e| unreachable(address, e))?;
        require_buildkit(&http, address).await?;
        let run = run_id();
        let before = cache::records(&http).await?.into_iter().map(|record| record.id).collect();
        let shared = std::sync::Arc::new(Shared {
            docker,
            platform: Platform::new(&text("Os"), &text("Arch"), None),
            can_limit: Limits { memory: flag(&info, "MemoryLimit"), pids: flag(&info, "PidsLimit") },
            ledger: Ledger::new(before),
            emulation: Emulation::default(),
            http,
            run,
        });
        let janitor = Janitor::start(&shared);
        Ok(Self { janitor, shared, logins: std::sync::Arc::default(), deadline: DEADLINE })
    }
}

fn address(docker_host: Option<&str>) -> &str {
    docker_host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST)
}

fn flag(info: &Value, name: &str) -> bool {
    info[name].as_bool().unwrap_or_default()
}

/// Twelve characters that two runs on one engine don't share.
fn run_id() -> String {
    (0..12).map(|_| fastrand::char('a'..='z')).collect()
}

fn open(address: &str) -> Result<(Http, Docker), EngineError> {
    let unsupported = || EngineError::UnsupportedAddress(address.to_owned());
    let not_there = |cause| EngineError::NotThere { address: address.to_owned(), cause };
    match address.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => {
            // HTTP clients hide why a socket can't be connected to.
            if let Err(error) = std::os::unix::net::UnixStream::connect(path) {
                let cause = Cause::new(&error);
                return Err(match error.kind() {
                    io::ErrorKind::PermissionDenied => EngineError::NotAllowed { address: address.to_owned(), cause },
                    _ => not_there(cause),
                });
            }
            let docker = Docker::connect_with_unix(path, SESSION_SECONDS, API_DEFAULT_VERSION);
            Ok((Http::unix(path).map_err(not_there)?, docker.map_err(|e| not_there(Cause::new(&e)))?))
        }
        Some(("tcp" | "http", authority)) if !authority.is_empty() => {
            let authority = authority.trim_end_matches('/');
            let docker = Docker::connect_with_http(&format!("tcp://{authority}"), SESSION_SECONDS, API_DEFAULT_VERSION);
            Ok((Http::tcp(authority).map_err(not_there)?, docker.map_err(|e| not_there(Cause::new(&e)))?))
        }
        _ => Err(unsupported()),
    }
}

/// The first requests fail for other reasons than later ones.
fn unreachable(address: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Request { cause, .. } if cause.status().is_some() => {
            EngineError::NotAnEngine { address: address.to_owned(), cause }
        }
        EngineError::Request { cause, .. } => EngineError::NotThere { address: address.to_owned(), cause },
        other => other,
    }
}

/// BuildKit is behind `/grpc`. Asked without an upgrade, an engine that has it refuses the request; one that doesn't
/// has no such page.
async fn require_buildkit(http: &Http, address: &str) -> Result<(), EngineError> {
    match http.post("/grpc", "open a session with BuildKit").send().await {
        Err(EngineError::Request { cause, .. }) if matches!(cause.status(), Some(404 | 405 | 501) | None) => {
            Err(EngineError::NoBuildKit { address: address.to_owned(), cause })
        }
        _ => Ok(()),
    }
}
