//! The git work tree of a run: its commit, the date of that commit, and the address of its repository.
//!
//! Files are read without git, which the action's container doesn't have, and never outside of the workspace: links and
//! `.git` files that lead there aren't followed. The formats are those of git's [repository
//! layout](https://git-scm.com/docs/gitrepository-layout).

mod object;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints, Input};
use crate::troubleshooting::Topic;
use object::{Kind, Objects};

/// The largest file of references or settings that is read, in bytes.
const TEXT_LIMIT: u64 = 64 << 20;
/// A longer chain of references, or of tags that point at tags, is a mistake.
const MOST_STEPS: usize = 8;

/// A git work tree that has been found, but not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkTree {
    /// The folder that contains `.git`.
    folder: PathBuf,
}

/// A commit of the work tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The full hexadecimal name.
    pub sha: String,
    /// The committer's date. `None` if the work tree lacks the commit.
    pub date: Option<DateTime<Utc>>,
}

/// The work tree can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the git work tree can't be read")]
pub struct Unreadable(#[from] io::Error);

impl Hinted for Unreadable {
    fn hints(&self) -> Hints {
        format!("set {} and {}, so that the work tree isn't needed", Input("revision"), Input("created")).into()
    }
}

impl StageError for Unreadable {
    fn topic(&self) -> Topic {
        Topic::WorkTree
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

impl WorkTree {
    /// The work tree at `folder`, if there is one.
    #[must_use]
    pub fn find(folder: &Path) -> Option<Self> {
        folder.join(".git").symlink_metadata().is_ok().then(|| Self { folder: folder.to_owned() })
    }

    /// The commit that is checked out; `None` before the first commit.
    ///
    /// # Errors
    /// The files can't be read.
    pub fn head(&self) -> Result<Option<String>, Unreadable> {
        Ok(Repository::open(&self.folder)?.follow("HEAD")?)
    }

    /// The commit of the first of `tags` that exists, else `commit`, else the one that is checked out.
    ///
    /// # Errors
    /// The files can't be read.
    pub fn commit(&self, tags: &[&str], commit: Option<&str>) -> Result<Option<Commit>, Unreadable> {
        let repository = Repository::open(&self.folder)?;
        for tag in tags {
            if let Some(name) = repository.follow(&format!("refs/tags/{tag}"))? {
                return Ok(repository.peel(name, true)?);
            }
        }
        Ok(match commit {
            Some(commit) => repository.peel(commit.to_owned(), false)?,
            None => repository.follow("HEAD")?.map(|head| repository.peel(head, true)).transpose()?.flatten(),
        })
    }

    /// The URL of the remote `origin`, as it is configured.
    ///
    /// # Errors
    /// The files can't be read.
    pub fn origin(&self) -> Result<Option<String>, Unreadable> {
        let settings = Repository::open(&self.folder)?.text("config")?.unwrap_or_default();
        let mut is_origin = false;
        for line in settings.lines().map(str::trim) {
            if line.starts_with('[') {
                is_origin = line == "[remote \"origin\"]";
            } else if let Some(("url", address)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
                && is_origin
            {
                return Ok(Some(address.to_owned()));
            }
        }
        Ok(None)
    }
}

/// The folder `.git`.
struct Repository {
    /// The real path of the workspace, with links resolved.
    workspace: PathBuf,
    folder: PathBuf,
}

impl Repository {
    fn open(workspace: &Path) -> io::Result<Self> {
        let workspace = workspace.canonicalize()?;
        let mut folder = workspace.join(".git");
        if folder.is_file() {
            let text = std::fs::read_to_string(inside(&workspace, &folder)?)?;
            let target = text.trim().strip_prefix("gitdir:").ok_or_else(|| invalid("`.git` names no folder"))?;
            folder = workspace.join(target.trim());
        }
        let repository = Self { folder: inside(&workspace, &folder)?, workspace };
        if repository.folder.join("reftable").exists() {
            return Err(invalid("its references are in the format `reftable`"));
        }
        Ok(repository)
    }

    /// The text of a file; `None` if it doesn't exist.
    fn text(&self, name: &str) -> io::Result<Option<String>> {
        match open(&self.workspace, &self.folder.join(name)) {
            Ok(file) => {
                let mut text = String::new();
                file.take(TEXT_LIMIT).read_to_string(&mut text)?;
                Ok(Some(text))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The name of the object that a reference points at, directly or through other references.
    fn follow(&self, reference: &str) -> io::Result<Option<String>> {
        let mut reference = reference.to_owned();
        for _ in 0..MOST_STEPS {
            if reference.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
                return Ok(None);
            }
            let found = match self.text(&reference) {
                Ok(Some(text)) => text.trim().to_owned(),
                // `refs/tags/1.0` is a folder if there is a tag `1.0/rc`.
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
                Ok(None) | Err(_) => return self.packed(&reference),
            };
            match found.strip_prefix("ref:") {
                Some(next) => next.trim().clone_into(&mut reference),
                None => return Ok(is_name(&found).then_some(found)),
            }
        }
        Err(invalid("a reference leads to itself"))
    }

    /// Looks a reference up among those that git has packed into one file.
    fn packed(&self, reference: &str) -> io::Result<Option<String>> {
        let packed = self.text("packed-refs")?.unwrap_or_default();
        let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
        Ok(lines.find(|(_, name)| *name == reference).map(|(name, _)| name.to_owned()).filter(|name| is_name(name)))
    }

    /// The commit with this name, or the one that the tag object with this name points at. Something that a reference
    /// names `is_here`, unless it is in another repository that this one borrows objects from.
    fn peel(&self, mut name: String, is_here: bool) -> io::Result<Option<Commit>> {
        let objects = Objects { workspace: &self.workspace, folder: self.folder.join("objects") };
        for _ in 0..MOST_STEPS {
            let Some((kind, content)) = objects.read(&name)? else {
                return match is_here && !objects.folder.join("info/alternates").exists() {
                    true => Err(invalid("an object is missing")),
                    false => Ok(Some(Commit { sha: name, date: None })),
                };
            };
            // The header has one `key value` per line; an empty line ends it.
            let mut head = content.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(' '));
            match kind {
                Kind::Commit => {
                    let committer = head.find(|(key, _)| *key == "committer").map(|(_, value)| value);
                    let seconds = committer.and_then(|value| value.rsplit(' ').nth(1)?.parse().ok());
                    return Ok(Some(Commit {
                        sha: name,
                        date: seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
                    }));
                }
                Kind::Tag => match head.find(|(key, _)| *key == "object") {
                    Some((_, object)) if is_name(object) => name = object.to_owned(),
                    _ => return Err(invalid("a tag leads nowhere")),
                },
                Kind::Other => return Ok(None),
            }
        }
        Err(invalid("a tag leads to too many others"))
    }
}

/// Opens a file within the workspace.
fn open(workspace: &Path, path: &Path) -> io::Result<File> {
    let path = inside(workspace, path)?;
    if !path.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    File::open(path)
}

/// `path` with links resolved, if it is in the workspace.
fn inside(workspace: &Path, path: &Path) -> io::Result<PathBuf> {
    let real = path.canonicalize()?;
    if real.starts_with(workspace) {
        Ok(real)
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "`.git` leads out of the workspace"))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Whether `text` is the name of an object: the digits of a SHA-1 or SHA-256.
fn is_name(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}
