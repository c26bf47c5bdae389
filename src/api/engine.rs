//! The [Docker Engine API](https://docs.docker.com/reference/api/engine/), through `bollard`. Nothing is decided here.
//!
//! Everything that a run makes on the engine is held by a value that removes it when it is dropped, also when a run is
//! interrupted; [`Engine::clean_up`] waits for that.

mod cache;
mod error;
mod leftovers;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::grpc::build::{ImageBuildFrontendOptions, ImageBuildLoadInput, ImageBuildPlatform};
use bollard::grpc::driver::{Build as _, moby::Moby};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, DownloadFromContainerOptions, LogsOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use crate::image::{Digest, PinnedReference, Platform};
use crate::secret::Secret;

use cache::BuildCache;
pub use error::EngineError;
use leftovers::{Leftover, Leftovers};

/// Where the engine listens unless `DOCKER_HOST` says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// BuildKit came with 18.09, which speaks 1.39.
const OLDEST_API: (u32, u32) = (1, 39);
/// For an answer to begin; a container's archive or a pull then takes the time that it takes.
const ANSWER_SECONDS: u64 = 300;
/// How often a pull is tried, with a pause of this much more each time.
const PULLS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);
/// The end of what a command prints, in bytes.
const OUTPUT: usize = 16 << 10;

/// A user name and password for a registry.
pub type Credentials = HashMap<String, (String, Secret)>;

/// A Docker Engine and what a run has made on it.
#[derive(Debug)]
pub struct Engine {
    docker: Docker,
    platform: Platform,
    version: String,
    credentials: Credentials,
    leftovers: Leftovers,
    cache: BuildCache,
}

/// An image on the engine, removed there when this value is dropped.
#[derive(Debug)]
pub struct LocalImage {
    name: String,
    _held: Option<Leftover>,
}

/// A container on the engine, removed there when this value is dropped.
#[derive(Debug)]
pub struct Container {
    id: String,
    _held: Leftover,
}

/// What the engine says about an image.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The digests of its uncompressed layers, the lowest first.
    pub diff_ids: Vec<Digest>,
    /// The section of its config that describes how to run it.
    pub runtime: serde_json::Value,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It ended with this code, and printed this.
    Ended(i64, String),
    /// It was killed at its time limit, and had printed this.
    TimedOut(String),
    /// It could not be started, for this reason.
    NotStarted(String),
}

impl Engine {
    /// Connects to the engine at `host` (`unix://…` or `tcp://…`) and agrees with it on a version of the API.
    ///
    /// # Errors
    /// There is no engine, or none that builds with BuildKit.
    pub async fn connect(host: Option<&str>, credentials: Credentials) -> Result<Self, EngineError> {
        let host = host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST).to_owned();
        let unreachable = |cause| EngineError::Unreachable { host: host.clone(), cause };
        let docker = match host.split_once("://") {
            Some(("unix", path)) => {
                if !Path::new(path).exists() {
                    return Err(EngineError::NoSocket(host));
                }
                Docker::connect_with_unix(path, ANSWER_SECONDS, API_DEFAULT_VERSION)
            }
            Some(("tcp" | "http", address)) => Docker::connect_with_http(address, ANSWER_SECONDS, API_DEFAULT_VERSION),
            _ => return Err(EngineError::UnknownHost(host)),
        };
        let docker = docker.map_err(unreachable)?;
        let about = docker.version().await.map_err(unreachable)?;
        let api = about.api_version.unwrap_or_default();
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok()).unwrap_or_default();
        let mut parts = api.split('.');
        if (number(parts.next()), number(parts.next())) < OLDEST_API {
            return Err(EngineError::TooOld { host, api });
        }
        if about.os.as_deref() == Some("windows") {
            return Err(EngineError::Windows(host));
        }
        let docker = docker.negotiate_version().await.map_err(unreachable)?;
        let platform = Platform::new("linux", about.arch.as_deref().unwrap_or_default(), None);
        let leftovers = Leftovers::collect(docker.clone());
        let cache = BuildCache::remember(&host, docker.clone()).await;
        let version = about.version.unwrap_or_default();
        Ok(Self { docker, platform, version, credentials, leftovers, cache })
    }

    /// What the engine runs without emulation.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// What the engine calls its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Pulls an image, unless it is there.
    ///
    /// # Errors
    /// The engine can't pull it, tried several times.
    pub async fn pull(&self, image: &PinnedReference, platform: &Platform) -> Result<LocalImage, EngineError> {
        let name = image.to_string();
        if self.docker.inspect_image(&name).await.is_ok() {
            return Ok(LocalImage { name, _held: None });
        }
        let mut tried = 0;
        loop {
            let options = CreateImageOptions {
                from_image: Some(name.clone()),
                platform: platform.to_string(),
                ..CreateImageOptions::default()
            };
            let credentials = self.credentials.get(image.repository().registry()).map(docker_credentials);
            // Held from the start: what is interrupted may be there all the same.
            let held = self.leftovers.image(&name);
            match self.docker.create_image(Some(options), None, credentials).try_for_each(async |_| Ok(())).await {
                Ok(()) => return Ok(LocalImage { name, _held: Some(held) }),
                Err(cause) if tried + 1 == PULLS || !error::is_passing(&cause) => {
                    return Err(EngineError::Pull { image: image.clone(), platform: platform.clone(), cause });
                }
                Err(_) => tried += 1,
            }
            tokio::time::sleep(PAUSE * tried).await;
        }
    }

    /// Builds `dockerfile`, which needs no other file, and gives the image the name `name`.
    ///
    /// # Errors
    /// The engine can't build it.
    pub async fn build(&self, name: &str, dockerfile: &str, platform: &Platform) -> Result<LocalImage, EngineError> {
        let platform = ImageBuildPlatform {
            os: platform.os().to_owned(),
            architecture: platform.architecture().to_owned(),
            variant: platform.variant().map(str::to_owned),
        };
        let options = ImageBuildFrontendOptions::builder().platforms(&platform).build();
        let context = ImageBuildLoadInput::Upload(context(dockerfile));
        let credentials =
            self.credentials.iter().map(|(registry, login)| (registry.as_str(), docker_credentials(login))).collect();
        let held = self.leftovers.image(name);
        Moby::new(&self.docker)
            .docker_build(name, options, context, Some(credentials), None)
            .await
            .map_err(|cause| EngineError::Build { image: name.to_owned(), cause })?;
        Ok(LocalImage { name: name.to_owned(), _held: Some(held) })
    }

    /// Looks at an image.
    ///
    /// # Errors
    /// The engine doesn't have it.
    pub async fn inspect(&self, image: &LocalImage) -> Result<Inspected, EngineError> {
        let inspected =
            self.docker.inspect_image(&image.name).await.map_err(EngineError::request("inspect an image"))?;
        let layers = inspected.root_fs.and_then(|fs| fs.layers).unwrap_or_default();
        let diff_ids = layers.iter().filter_map(|layer| layer.parse().ok()).collect();
        let runtime = serde_json::to_value(inspected.config.unwrap_or_default()).unwrap_or_default();
        Ok(Inspected { diff_ids, runtime })
    }

    /// Creates a container of `image` that is to run `command`: without network or capabilities, on a read-only root.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn create(
        &self,
        image: &LocalImage,
        platform: &Platform,
        command: &[String],
    ) -> Result<Container, EngineError> {
        let host = HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            pids_limit: Some(512),
            tmpfs: Some([("/tmp".to_owned(), "rw,nosuid,nodev,size=64m".to_owned())].into()),
            ..HostConfig::default()
        };
        let (program, arguments) = command.split_first().map_or((Vec::new(), &[][..]), |(p, a)| (vec![p.clone()], a));
        let body = ContainerCreateBody {
            image: Some(image.name.clone()),
            entrypoint: Some(program),
            cmd: Some(arguments.to_vec()),
            labels: Some([("publish-variants".to_owned(), "check".to_owned())].into()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        // Older engines take no platform here, and need none: the image has but one.
        let options = CreateContainerOptions { platform: platform.to_string(), ..CreateContainerOptions::default() };
        let created = self
            .docker
            .create_container(Some(options), body)
            .await
            .map_err(EngineError::request("create a container"))?;
        Ok(Container { _held: self.leftovers.container(&created.id), id: created.id })
    }

    /// A file or folder of a container, as a tar archive.
    pub fn archive(&self, container: &Container, path: &str) -> impl Stream<Item = Result<Bytes, EngineError>> + use<> {
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        self.docker
            .download_from_container(&container.id, Some(options))
            .map_err(EngineError::request("read a file of a container"))
    }

    /// Runs a container to its end, for `limit` at the most.
    ///
    /// # Errors
    /// The engine doesn't answer.
    pub async fn run(&self, container: &Container, limit: Duration) -> Result<Ran, EngineError> {
        if let Err(error) = self.docker.start_container(&container.id, None).await {
            return error::said_by_engine(&error)
                .map(Ran::NotStarted)
                .ok_or(error)
                .map_err(EngineError::request("start a container"));
        }
        let code = tokio::time::timeout(limit, self.wait(container)).await;
        if code.is_err() {
            // It may have ended this moment.
            let _ = self.docker.kill_container(&container.id, None).await;
        }
        let output = self.output(container).await?;
        Ok(match code {
            Err(_) => Ran::TimedOut(output),
            Ok(code) => Ran::Ended(code?, output),
        })
    }

    async fn wait(&self, container: &Container) -> Result<i64, EngineError> {
        use bollard::errors::Error;
        match self.docker.wait_container(&container.id, None).next().await {
            Some(Ok(response)) => Ok(response.status_code),
            // A code other than 0 is an error for the library.
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(EngineError::request("wait for a container")(error)),
            None => Err(EngineError::request("wait for a container")(Error::RequestTimeoutError)),
        }
    }

    async fn output(&self, container: &Container) -> Result<String, EngineError> {
        let options = LogsOptions { stdout: true, stderr: true, tail: "200".to_owned(), ..LogsOptions::default() };
        let mut logs = self.docker.logs(&container.id, Some(options));
        let mut output = Vec::new();
        while let Some(piece) = logs.next().await {
            output
                .extend_from_slice(&piece.map_err(EngineError::request("read what a container printed"))?.into_bytes());
            let excess = output.len().saturating_sub(OUTPUT);
            output.drain(..excess);
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Waits until everything that was dropped is gone from the engine, and removes the build cache of this run.
    /// What can't be removed is named.
    pub async fn clean_up(self) -> Vec<String> {
        let mut left = self.leftovers.finish().await;
        left.extend(self.cache.remove_new().await);
        left
    }
}

fn docker_credentials((username, password): &(String, Secret)) -> bollard::auth::DockerCredentials {
    bollard::auth::DockerCredentials {
        username: Some(username.clone()),
        password: Some(password.expose().to_owned()),
        ..bollard::auth::DockerCredentials::default()
    }
}

/// A build context with nothing but the Dockerfile.
fn context(dockerfile: &str) -> Bytes {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(dockerfile.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).expect("memory takes every write");
    archive.into_inner().expect("memory takes every write").into()
}
