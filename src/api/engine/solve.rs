//! Builds with BuildKit, through the engine's `/grpc` and `/session`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::grpc::build::{ImageBuildFrontendOptions, ImageBuildLoadInput, ImageBuildPlatform};
use bollard::grpc::driver::Build as _;
use bollard::grpc::driver::moby::Moby;
use bollard::grpc::error::GrpcError;
use bytes::Bytes;
use tokio::time::timeout;

use super::cache::stage_prefix;
use super::error::Cause;
use super::http::ApiVersion;
use super::images::hub_address;
use super::janitor::Chore;
use super::{Engine, EngineError, LOCAL, LocalImage};
use crate::credentials::registry_name;
use crate::image::Platform;

/// `COPY --link` came with BuildKit 0.10, which came with Docker 23.
const FIRST_WITH_LINK: ApiVersion = ApiVersion(1, 42);
/// Docker 23 was the first version to support zstd.
const FIRST_WITH_ZSTD: ApiVersion = ApiVersion(1, 42);

/// How long a build may take if it only copies a few files onto a base that the engine has.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// How long a build may take if it runs commands.
const LIMIT_WITH_COMMANDS: Duration = Duration::from_secs(2 * 60 * 60);

/// The name of the archive with the executables in a build's context, if there is one.
pub const EXECUTABLES: &str = "executables.tar.gz";

/// The input of a build.
#[derive(Clone, Debug)]
pub struct Solve {
    /// The Dockerfile. The names of its stages begin with the one from [`Engine::stage`].
    pub dockerfile: String,
    /// Values for its build arguments.
    pub arguments: BTreeMap<String, String>,
    /// The platform of the image.
    pub platform: Platform,
    /// The commands in its steps. If there are any, the engine's cache isn't used: the result of a command depends on
    /// more than its text.
    pub commands: Vec<String>,
    /// The file that becomes [`EXECUTABLES`] in the context.
    pub executables: Option<PathBuf>,
}

impl Engine {
    /// A name for a build's stage, by which the records of its cache are recognised.
    #[must_use]
    pub fn stage(&self) -> String {
        format!("{}{}", stage_prefix(&self.shared.run), self.shared.ledger.number())
    }

    /// Whether `COPY --link` makes a layer that doesn't depend on the base. With a graph driver, BuildKit copies on top
    /// of the base instead, and keeps the base for as long as the layer.
    #[must_use]
    pub fn knows_link(&self) -> bool {
        self.shared.http.speaks(FIRST_WITH_LINK) && self.shared.stores_in_containerd
    }

    /// Whether the engine can unpack layers compressed by zstd.
    #[must_use]
    pub fn reads_zstd(&self) -> bool {
        self.shared.http.speaks(FIRST_WITH_ZSTD)
    }

    /// A local name for an image of this run.
    pub(super) fn local_name(&self, stage: &str, platform: &Platform, name: &str) -> String {
        format!("{LOCAL}/{}/{}:{}", self.shared.run, path_component(name), tag(stage, platform))
    }

    /// Builds an image under a local name that contains `name`. The image and its cache are removed when the returned
    /// lease is dropped.
    ///
    /// # Errors
    /// BuildKit can't build it; the error contains its message.
    pub async fn solve(&self, solve: Solve, stage: &str, name: &str) -> Result<LocalImage, EngineError> {
        let image = self.local_name(stage, &solve.platform, name);
        let lease = LocalImage::new(self, image.clone(), Chore::Built(image.clone()));
        let what = format!("build `{name}` for `{}`", solve.platform);
        let failed = |cause| EngineError::Request { what: what.clone(), cause };
        let context = archive(&solve.dockerfile, solve.executables.as_deref()).map(Bytes::from);
        let context = context.map_err(|error| failed(Cause::new(&error)))?;
        let platform = build_platform(&solve.platform);
        let mut options = ImageBuildFrontendOptions::builder().nocache(!solve.commands.is_empty()).platforms(&platform);
        self.shared.ledger.will_run(&solve.commands);
        for (name, value) in &solve.arguments {
            options = options.buildarg(name, value);
        }
        let credentials = self.credentials.iter().filter_map(|credential| {
            // BuildKit asks for credentials by host. Everything that a build starts from has been pulled before.
            let registry = registry_name(&credential.registry).filter(|name| !name.contains('/'))?;
            let secret = Some(credential.password.expose().to_owned());
            let credentials = if credential.is_identity_token() {
                DockerCredentials { identitytoken: secret, ..DockerCredentials::default() }
            } else {
                let username = Some(credential.username.clone());
                DockerCredentials { username, password: secret, ..DockerCredentials::default() }
            };
            Some((hub_address(&registry, "registry-1.docker.io").to_owned(), credentials))
        });
        let credentials: HashMap<String, DockerCredentials> = credentials.collect();
        let limit = if solve.commands.is_empty() { LIMIT } else { LIMIT_WITH_COMMANDS };
        let mut retry = self.retry();
        while let Err(cause) =
            self.solve_once(&image, options.clone().build(), context.clone(), credentials.clone(), limit).await
        {
            cause.pause(&mut retry).await.map_err(failed)?;
        }
        Ok(lease)
    }

    /// Runs on a thread of its own, because bollard's future can't move between threads. BuildKit never releases the
    /// resources of a cancelled build, so an abandoned build gets a little time to finish.
    async fn solve_once(
        &self,
        image: &str,
        options: ImageBuildFrontendOptions,
        context: Bytes,
        credentials: HashMap<String, DockerCredentials>,
        limit: Duration,
    ) -> Result<(), Cause> {
        let (shared, image) = (Arc::clone(&self.shared), image.to_owned());
        let solving = shared.ledger.solving();
        let build = tokio::task::spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(async {
                let credentials = credentials.iter().map(|(host, login)| (host.as_str(), login.clone())).collect();
                let context = ImageBuildLoadInput::Upload(context);
                let driver = Moby::new(&shared.docker);
                let too_long = |_| Cause::text(format!("it took longer than {} minutes", limit.as_secs() / 60));
                tokio::select! {
                    built = timeout(limit, driver.docker_build(&image, options, context, Some(credentials), None)) => {
                        built.map_err(too_long)?.map_err(explain)
                    }
                    () = solving.stopped() => Err(Cause::text("it was interrupted")),
                }
            })
        });
        build.await.map_err(|error| Cause::new(&error))?
    }
}

/// A context with the Dockerfile, and with the executables if the engine can't pull them. BuildKit takes it as a whole,
/// so this is the only place where compressed executables are held in memory.
fn archive(dockerfile: &str, executables: Option<&Path>) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "Dockerfile", dockerfile.as_bytes())?;
    if let Some(executables) = executables {
        let executables = std::fs::File::open(executables)?;
        header.set_size(executables.metadata()?.len());
        archive.append_data(&mut header, EXECUTABLES, executables)?;
    }
    archive.into_inner()
}

fn build_platform(platform: &Platform) -> ImageBuildPlatform {
    ImageBuildPlatform {
        architecture: platform.architecture().to_owned(),
        os: platform.os().to_owned(),
        variant: platform.variant().map(str::to_owned),
    }
}

/// The variant's name as a path component of a repository, whose grammar is narrower.
fn path_component(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let component = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    if component.is_empty() { "variant".to_owned() } else { component }
}

fn tag(stage: &str, platform: &Platform) -> String {
    format!("{stage}-{}", platform.to_string().replace('/', "-"))
}

fn explain(error: GrpcError) -> Cause {
    match error {
        GrpcError::TonicStatus { err } => Cause::text(err.message()),
        other => Cause::new(&other),
    }
}
