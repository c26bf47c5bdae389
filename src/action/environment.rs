//! The environment variables and files that a run reads: given from outside, so that a test can give others.
//!
//! Which variables there are: <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Environment variables. One that is set to nothing counts as unset, as GitHub has it for inputs.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process, without values that aren't Unicode.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of a variable, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// The value of an input of the action: `dry-run` is `INPUT_DRY-RUN`.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&str> {
        self.get(&variable(name))
    }

    /// Whether a runner of GitHub Actions, or a stand-in for it, runs this: `GITHUB_ACTIONS` is `true`, or
    /// `GITHUB_EVENT_NAME` is set.
    #[must_use]
    pub fn is_action(&self) -> bool {
        self.get("GITHUB_ACTIONS") == Some("true") || self.get("GITHUB_EVENT_NAME").is_some()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// How GitHub spells the variable of an input: upper case, blanks to underscores, hyphens kept.
#[must_use]
pub fn variable(input: &str) -> String {
    format!("INPUT_{}", input.replace(' ', "_").to_uppercase())
}

/// Where files are read from.
pub trait Files {
    /// Opens the file at `path`; a relative one is in the workspace.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;
}

/// The workspace, on disk.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Files for Folder {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(self.0.join(path))?))
    }
}

/// Files in memory, for tests.
impl Files for BTreeMap<PathBuf, String> {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let content = self.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(content.clone().into_bytes())))
    }
}

/// `text` without the byte order mark that some editors put before it.
#[must_use]
pub fn without_mark(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    }
}

/// Reads the text file at `path`, which may have up to `limit` bytes, without its byte order mark.
///
/// # Errors
/// It can't be read, is too large, or is no UTF-8.
pub fn read_text(files: &dyn Files, path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    files.open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {} MiB", limit >> 20)));
    }
    Ok(without_mark(text))
}
