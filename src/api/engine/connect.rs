//! Finds the engine, and checks whether it can be used.

use std::io;

use bollard::{API_DEFAULT_VERSION, Docker};
use serde_json::Value;
use url::Url;

use super::error::{Cause, EngineError};
use super::http::{ApiVersion, Http, PATIENCE};
use super::janitor::{Janitor, Ledger};
use super::run::Emulation;
use super::{Engine, Limits, Shared, cache, until_answered};
use crate::api::retry::DEADLINE;
use crate::image::Platform;
use crate::loopback::is_loopback;
use crate::quote::quoted;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The API version of Docker 20.10, the first one whose Dockerfiles have `COPY --chmod`.
const OLDEST: ApiVersion = ApiVersion(1, 41);
/// How long bollard waits for the head of a response. It doesn't limit the time of a build.
const SESSION_SECONDS: u64 = 120;

impl Engine {
    /// Refuses settings with which Docker's command line would use another engine than this program does, or would
    /// connect to it in another way.
    ///
    /// # Errors
    /// The settings name a Docker context, an engine over SSH, or an engine behind TLS.
    pub fn refuse_unsupported<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<(), EngineError> {
        let host = variable("DOCKER_HOST").unwrap_or_default().trim();
        // If both are set, `DOCKER_HOST` takes precedence, as in Docker's command line.
        if let (Some(context), true) = (variable("DOCKER_CONTEXT"), host.is_empty())
            && context != "default"
        {
            return Err(EngineError::Context(quoted(context)));
        }
        if host.starts_with("ssh://") {
            return Err(EngineError::Ssh(quoted(host)));
        }
        if host.starts_with("https://") {
            return Err(EngineError::Tls(format!("`DOCKER_HOST` is `{}`", quoted(host))));
        }
        let tls = ["DOCKER_TLS_VERIFY", "DOCKER_TLS", "DOCKER_CERT_PATH"];
        match tls.iter().find(|name| variable(name).is_some()) {
            Some(name) if host.starts_with("tcp://") => Err(EngineError::Tls(format!("`{name}` is set"))),
            _ => Ok(()),
        }
    }

    /// Whether nobody can eavesdrop on the connection to the engine at `docker_host`, because it is on this machine.
    #[must_use]
    pub fn is_private(docker_host: Option<&str>) -> bool {
        let Some(("tcp" | "http", authority)) = address(docker_host).split_once("://") else { return true };
        Url::parse(&format!("http://{authority}")).is_ok_and(|url| is_loopback(&url))
    }

    /// Checks whether there may be an engine at `docker_host`: the address is valid, and something listens on the
    /// socket. Sends no request.
    ///
    /// # Errors
    /// We can't use the address, or nothing listens on the socket.
    pub fn look_for(docker_host: Option<&str>) -> Result<(), EngineError> {
        open(address(docker_host)).map(drop)
    }

    /// Connects to the engine at `docker_host` (`unix://…` or `tcp://…`; the default is Docker's own), negotiates the
    /// API version, and checks whether the engine can build and run Linux images.
    ///
    /// # Errors
    /// There is no engine, we may not use it, or it can't build. All of these are the input's fault.
    pub async fn connect(docker_host: Option<&str>) -> Result<Self, EngineError> {
        let address = address(docker_host);
        let (mut http, docker) = open(address)?;
        let ask = || http.get("/version", "tell its version").json();
        // A socket that could be opened has a listener, so an answer is worth waiting for. Whether a host exists is
        // known only after the request.
        let version = if address.starts_with("unix://") { until_answered(ask).await } else { ask().await };
        let version = version.map_err(|error| unreachable(address, error))?;
        let text = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
        let theirs = ApiVersion::parse(&text("ApiVersion")).ok_or_else(|| EngineError::NotAnEngine {
            address: address.to_owned(),
            cause: Cause::text("it doesn't tell the version of its API"),
        })?;
        if theirs < OLDEST {
            let (address, version, api) = (address.to_owned(), text("Version"), text("ApiVersion"));
            return Err(EngineError::TooOld { address, version, api });
        }
        if text("Os") != "linux" {
            return Err(EngineError::NotLinux { address: address.to_owned(), os: text("Os") });
        }
        http.negotiate(theirs);
        let info = until_answered(|| http.get("/info", "describe itself").json())
            .await
            .map_err(|e| unreachable(address, e))?;
        require_buildkit(&http, address).await?;
        let run = run_id();
        let before = cache::records_before(&http).await;
        let shared = std::sync::Arc::new(Shared {
            docker,
            platform: Platform::new(&text("Os"), &text("Arch"), None),
            can_limit: Limits { memory: flag(&info, "MemoryLimit"), pids: flag(&info, "PidsLimit") },
            stores_in_containerd: stores_in_containerd(&info),
            remaps_users: remaps_users(&info),
            ledger: Ledger::new(before),
            emulation: Emulation::default(),
            http,
            is_private: Self::is_private(docker_host),
            run,
        });
        let janitor = Janitor::start(&shared);
        Ok(Self { janitor, shared, credentials: std::sync::Arc::default(), deadline: DEADLINE })
    }
}

fn address(docker_host: Option<&str>) -> &str {
    docker_host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST)
}

fn flag(info: &Value, name: &str) -> bool {
    info[name].as_bool().unwrap_or_default()
}

/// Whether containerd stores the images, rather than a graph driver.
fn stores_in_containerd(info: &Value) -> bool {
    let mut status = info["DriverStatus"].as_array().into_iter().flatten();
    status.any(|row| row[0] == "driver-type" && row[1] == "io.containerd.snapshotter.v1")
}

/// Whether users in containers are other users of the machine
/// ([`userns-remap`](https://docs.docker.com/engine/security/userns-remap/)).
fn remaps_users(info: &Value) -> bool {
    let mut options = info["SecurityOptions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    options.any(|option| option.split(',').any(|part| part == "name=userns"))
}

/// Twelve characters that are unique among the runs on one engine.
fn run_id() -> String {
    (0..12).map(|_| fastrand::char('a'..='z')).collect()
}

fn open(address: &str) -> Result<(Http, Docker), EngineError> {
    let unsupported = || EngineError::UnsupportedAddress(address.to_owned());
    let not_there = |cause| EngineError::NotThere { address: address.to_owned(), cause };
    match address.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => {
            // HTTP clients hide why they can't connect to a socket.
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

/// Turns failures of the first request into errors about the address.
fn unreachable(address: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Request { cause, .. } if cause.status().is_some() => {
            EngineError::NotAnEngine { address: address.to_owned(), cause }
        }
        EngineError::Request { cause, .. } => EngineError::NotThere { address: address.to_owned(), cause },
        other => other,
    }
}

/// BuildKit is behind `/grpc`. Without an upgrade, an engine that has it refuses the request, and one that doesn't has
/// no such page.
async fn require_buildkit(http: &Http, address: &str) -> Result<(), EngineError> {
    match until_answered(|| http.post("/grpc", "open a session with BuildKit").stream(PATIENCE)).await {
        Err(error) if error.is_lost_connection() => Err(unreachable(address, error)),
        Err(EngineError::Request { cause, .. }) if matches!(cause.status(), Some(404 | 405 | 501)) => {
            Err(EngineError::NoBuildKit { address: address.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    #[test]
    fn an_engine_tells_its_store_and_whether_it_remaps_users() {
        let containerd = serde_json::json!({
            "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=userns"],
        });
        let overlay = serde_json::json!({
            "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        });
        assert_eq!([stores_in_containerd(&containerd), remaps_users(&containerd)], [true, true]);
        assert_eq!([stores_in_containerd(&overlay), remaps_users(&overlay)], [false, false]);
        assert_eq!([stores_in_containerd(&Value::Null), remaps_users(&Value::Null)], [false, false]);
    }

    #[test]
    fn settings_that_lead_to_another_engine_are_named_and_not_ignored() {
        for (variables, refused) in [
            (&[][..], None),
            (&[("DOCKER_HOST", "unix:///var/run/docker.sock"), ("DOCKER_TLS_VERIFY", "1")], None),
            (&[("DOCKER_HOST", "tcp://127.0.0.1:2375")], None),
            (&[("DOCKER_CONTEXT", "default")], None),
            (&[("DOCKER_CONTEXT", "remote"), ("DOCKER_HOST", "unix:///run/docker.sock")], None),
            (&[("DOCKER_CONTEXT", "remote")], Some("the Docker context `remote`")),
            (&[("DOCKER_HOST", "ssh://user@host")], Some("`ssh://user@host`")),
            (&[("DOCKER_HOST", "tcp://10.0.0.1:2376"), ("DOCKER_TLS_VERIFY", "1")], Some("`DOCKER_TLS_VERIFY` is set")),
            (
                &[("DOCKER_HOST", "tcp://10.0.0.1:2376"), ("DOCKER_CERT_PATH", "/certs")],
                Some("`DOCKER_CERT_PATH` is set"),
            ),
            (&[("DOCKER_HOST", "https://10.0.0.1")], Some("`DOCKER_HOST` is `https://10.0.0.1`")),
        ] {
            let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            match (Engine::refuse_unsupported(variable), refused) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => {
                    let error = Failure::from(error).to_string();
                    assert!(error.contains(part) && error.contains("not supported\nhint: "), "{variables:?}: {error}");
                }
                (result, _) => panic!("{variables:?}: {result:?}"),
            }
        }
    }

    #[test]
    fn only_an_engine_of_this_machine_is_private() {
        for (host, private) in [
            (None, true),
            (Some("unix:///var/run/docker.sock"), true),
            (Some("tcp://127.0.0.1:2375"), true),
            (Some("tcp://localhost:2375"), true),
            (Some("tcp://[::1]:2375"), true),
            (Some("tcp://docker:2375"), false),
            (Some("tcp://docker.localhost:2375"), false),
            (Some("http://10.0.0.1:2375/"), false),
            (Some("tcp://127.0.0.1.example.org"), false),
        ] {
            assert_eq!(Engine::is_private(host), private, "{host:?}");
        }
    }
}
