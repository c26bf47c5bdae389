//! The environment variables and files that a run reads. They are passed in, so that tests can pass others.
//!
//! The variables are described in <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::plan::Text;

/// Environment variables. An empty one counts as unset, as GitHub treats inputs.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// The files that the texts of inputs are parts of, at the same lines and columns.
    files: BTreeMap<&'static str, String>,
}

impl Environment {
    /// The variables of this process, except for those that aren't Unicode.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of a variable, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// The value of an input of the action: `dry-run` is `INPUT_DRY-RUN`, or `INPUT_DRY_RUN`, which a shell can set.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&str> {
        self.get(&variable(name)).or_else(|| self.get(&variable(name).replace('-', "_")))
    }

    /// These variables, overridden by `variables`.
    #[must_use]
    pub fn with(&self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all = self.clone();
        all.variables.extend(variables);
        all
    }

    /// These variables, with places in the text of `input` reported as lines and columns of `file`.
    #[must_use]
    pub fn with_text_in(mut self, input: &'static str, file: &str) -> Self {
        self.files.insert(input, file.to_owned());
        self
    }

    /// The input or the file that the lines and columns of an input's text refer to.
    #[must_use]
    pub fn text_of(&self, input: &'static str) -> Text {
        self.files.get(input).map_or(Text::Input(input), |file| Text::File(file.clone()))
    }

    /// Whether this runs in GitHub Actions or in something compatible: `GITHUB_ACTIONS` is `true`, or
    /// `GITHUB_EVENT_NAME` is set.
    #[must_use]
    pub fn is_action(&self) -> bool {
        self.get("GITHUB_ACTIONS") == Some("true") || self.get("GITHUB_EVENT_NAME").is_some()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, files: BTreeMap::new() }
    }
}

/// The name of an input's variable, by GitHub's rule: upper case, with underscores for blanks; hyphens stay.
#[must_use]
pub fn variable(input: &str) -> String {
    format!("INPUT_{}", input.replace(' ', "_").to_uppercase())
}

/// The files that a run reads.
pub trait Files: Sync {
    /// Opens the file at `path`, which is relative to the workspace.
    ///
    /// # Errors
    /// The file doesn't exist, or can't be read.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// Whether there is a folder at `path`.
    fn is_folder(&self, path: &Path) -> bool;

    /// The real path on disk of `path`, with links resolved.
    ///
    /// # Errors
    /// The path doesn't exist, or isn't on disk.
    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("{} isn't on disk", path.display())))
    }

    /// Standard input.
    fn standard_input(&self) -> Box<dyn Read> {
        Box::new(io::empty())
    }

    /// The workspace, if it is a folder on disk.
    fn workspace(&self) -> Option<&Path> {
        None
    }
}

/// A workspace on disk.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// The workspace of the job, else the current folder.
    #[must_use]
    pub fn workspace(environment: &Environment) -> Self {
        Self(environment.get("GITHUB_WORKSPACE").unwrap_or(".").into())
    }
}

/// The workspace may come with a checkout, possibly of a pull request: links in it may only lead to other files of the
/// workspace. Paths elsewhere were named by the runner, or by the author of the workflow.
impl Files for Folder {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let real = self.locate(path)?;
        // Opening a pipe would wait for a writer.
        if !real.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        Ok(Box::new(File::open(real)?))
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.locate(path).is_ok_and(|real| real.is_dir())
    }

    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        let workspace = self.0.canonicalize()?;
        let written = without_dots(&std::path::absolute(&self.0)?.join(path));
        let is_inside = written.starts_with(std::path::absolute(&self.0)?) || written.starts_with(&workspace);
        let real = self.0.join(path).canonicalize()?;
        if is_inside && !real.starts_with(workspace) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it is, or is behind, a link out of the workspace",
            ));
        }
        Ok(real)
    }

    fn standard_input(&self) -> Box<dyn Read> {
        Box::new(io::stdin())
    }

    fn workspace(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

/// An absolute path with `.` and `..` resolved lexically, ignoring links.
fn without_dots(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(path.pop()),
            other => path.push(other),
        }
        path
    })
}

/// Creates the file `name` in `folder`, readable for everybody. Anything with that name, including a link, is replaced
/// rather than written to.
///
/// # Errors
/// The folder isn't writable, or contains a folder with that name.
pub fn write_anew(folder: &Path, name: &Path, content: &[u8]) -> io::Result<()> {
    let permissions = std::fs::Permissions::from_mode(0o644);
    let mut file =
        tempfile::Builder::new().prefix(".publish-variants-").permissions(permissions).tempfile_in(folder)?;
    file.write_all(content)?;
    file.persist(folder.join(name))?;
    Ok(())
}

/// Files in memory, for tests.
impl Files for BTreeMap<PathBuf, String> {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let content = self.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(content.clone().into_bytes())))
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.keys().any(|file| file != path && file.starts_with(path))
    }
}

/// `text` without the byte order mark that some editors write.
#[must_use]
pub fn without_bom(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    }
}

/// Reads the text file at `path`, of up to `limit` bytes, without its byte order mark.
///
/// # Errors
/// It can't be read, is too large, or isn't UTF-8.
pub fn read_text(files: &dyn Files, path: &Path, limit: u64) -> io::Result<String> {
    read_all(files.open(path)?, limit)
}

/// Reads a text of up to `limit` bytes, without its byte order mark.
///
/// # Errors
/// The errors of [`read_text`].
pub fn read_all(reader: impl Read, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    reader.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {} MiB", limit >> 20)));
    }
    Ok(without_bom(text))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_in_the_workspace_lead_nowhere_else() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (inside, secret) = (folder.path().join("variants.yml"), outside.path().join("secret"));
        fs::write(&inside, "inside").unwrap();
        fs::write(&secret, "hunter2").unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for (link, target) in [
            ("to-a-file", secret.as_path()),
            ("to-a-folder", outside.path()),
            ("to-proc", Path::new("/proc/self/environ")),
            ("upwards", Path::new("..")),
            ("to-a-link", Path::new("to-a-file")),
            ("to-inside", Path::new("variants.yml")),
            ("sub/to-inside", Path::new("../variants.yml")),
            ("to-nothing", Path::new("nothing")),
        ] {
            symlink(target, folder.path().join(link)).unwrap();
        }
        let workspace = Folder(folder.path().to_owned());
        let read = |path: &Path| read_text(&workspace, path, 100).map_err(|error| error.to_string());
        for path in ["to-a-file", "to-a-folder/secret", "to-proc", "to-a-link", "./sub/../to-a-file"] {
            for path in [PathBuf::from(path), folder.path().join(path)] {
                assert_eq!(read(&path), Err("it is, or is behind, a link out of the workspace".to_owned()), "{path:?}");
            }
        }
        for path in ["variants.yml", "to-inside", "sub/to-inside", "./sub/../variants.yml"] {
            assert_eq!(read(path.as_ref()).as_deref(), Ok("inside"), "{path}");
        }
        let upwards = PathBuf::from("..").join(outside.path().file_name().unwrap()).join("secret");
        assert_eq!(read(&upwards).as_deref(), Ok("hunter2"), "that way is written in the workflow");
        assert_eq!(read(&secret).as_deref(), Ok("hunter2"), "that way, too");
        assert_eq!(read("sub".as_ref()), Err("it is not a file".to_owned()));
        assert!(read("to-nothing".as_ref()).is_err() && read("upwards".as_ref()).is_err());
    }

    #[test]
    fn a_new_file_replaces_a_link() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, folder.path().join("name")).unwrap();
        write_anew(folder.path(), "name".as_ref(), b"ours").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        let made = folder.path().join("name");
        assert_eq!(fs::read_to_string(&made).unwrap(), "ours");
        let mode = fs::symlink_metadata(&made).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644, "other users' steps read it");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
