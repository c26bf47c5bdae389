//! A Docker Engine, used through its command line, and the image of the action in it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use support::parts;

const BINARY: &str = env!("CARGO_BIN_EXE_publish-variants");

/// An engine, used through its command line.
#[derive(Clone)]
pub(crate) struct Engine {
    docker: PathBuf,
    pub(crate) socket: PathBuf,
}

impl Engine {
    /// `None` if there is no engine with a Unix socket, or no command line.
    pub(crate) fn find() -> Option<Self> {
        let socket = PathBuf::from(parts::engine()?.strip_prefix("unix://")?);
        let docker = parts::tools()?.join("docker");
        docker.is_file().then_some(Self { docker, socket })
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.docker);
        command.env("DOCKER_CONFIG", env!("CARGO_TARGET_TMPDIR")).args(["--host", &self.host()]).args(arguments);
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        succeeded(&self.command(arguments).output().unwrap(), &format!("docker {arguments:?}"))
    }

    /// The address of the machine on the bridge; `None` if the engine requires TLS of registries there.
    pub(crate) fn gateway(&self) -> Option<String> {
        let gateway = self.run(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
        let trusted = self.run(&["info", "--format", "{{json .RegistryConfig.InsecureRegistryCIDRs}}"]);
        let trusted: Vec<String> = serde_json::from_str(&trusted).unwrap();
        let start = |address: &str| address.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
        let trusts = trusted.iter().any(|network| start(network) == start(&gateway));
        trusts.then(|| gateway.trim().to_owned())
    }

    /// The image of the action, as the last stage of the `Dockerfile` makes it: the binary alone, or the binary and its
    /// libraries if it isn't static. `PV_STATIC_BINARY` may name a static one. All tests share one image, and the last
    /// one removes it.
    pub(crate) fn action(&self) -> Arc<ActionImage> {
        static SHARED: Mutex<Weak<ActionImage>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let image = Arc::new(self.import_action());
            *shared = Arc::downgrade(&image);
            image
        })
    }

    fn import_action(&self) -> ActionImage {
        let name = format!("publish-variants-action:{}", std::process::id());
        let binary = std::env::var("PV_STATIC_BINARY").unwrap_or_else(|_| BINARY.to_owned());
        let libraries = Command::new("ldd").arg(&binary).output().unwrap().stdout;
        let libraries = String::from_utf8(libraries).unwrap();
        let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned);
        let mut files: BTreeMap<String, String> = libraries.map(|path| (path.clone(), path)).collect();
        files.insert("/publish-variants".into(), binary);
        files.insert("/etc/ssl/certs/ca-certificates.crt".into(), "/etc/ssl/certs/ca-certificates.crt".into());
        let import = ["import", "--change", "ENTRYPOINT [\"/publish-variants\"]", "-", &name];
        let mut import = self.command(&import).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut archive = tar::Builder::new(import.stdin.take().unwrap());
        // Engines can't unpack sparse files.
        archive.sparse(false);
        for (path, file) in files.iter().filter(|(_, file)| Path::new(file).is_file()) {
            archive.append_path_with_name(file, path.trim_start_matches('/')).unwrap();
        }
        let mut temporary = tar::Header::new_gnu();
        temporary.set_entry_type(tar::EntryType::Directory);
        temporary.set_mode(0o1777);
        temporary.set_size(0);
        archive.append_data(&mut temporary, "tmp/", std::io::empty()).unwrap();
        archive.into_inner().unwrap().flush().unwrap();
        succeeded(&import.wait_with_output().unwrap(), "docker import");
        ActionImage { engine: self.clone(), name }
    }
}

/// The image of the action, which is removed when it is dropped.
pub(crate) struct ActionImage {
    pub(crate) engine: Engine,
    pub(crate) name: String,
}

impl Drop for ActionImage {
    fn drop(&mut self) {
        // A container that a failed test left behind may still use the image; that isn't another failure.
        let _ = self.engine.command(&["image", "rm", "--force", &self.name]).output();
    }
}

#[track_caller]
pub(crate) fn succeeded(output: &Output, what: &str) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
    out.into_owned()
}
