//! The folders that the executables go to, inspected in a base.
//!
//! Our layer has no entries for folders, so that it is the same on every base. That works only if each parent of a file
//! is a folder in the base, or is absent. If one is a link, unpackers disagree: Docker's graph drivers replace it by a
//! new folder and hide what it pointed at, while a `COPY` of Docker 20.10 follows it. Only an engine can look into a
//! base.

use crate::api::engine::{EngineError, EntryInImage, EntryKind, FilesLease};
use crate::compose::recipe::Recipe;
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints, REPORT_THIS};
use crate::troubleshooting::Topic;

/// A folder in which the executables can't be put.
#[derive(Debug, thiserror::Error)]
pub enum UnusableFolder {
    /// A parent of the executables in the base is not a folder.
    #[error("`{path}` in the base of variant `{variant}` is {kind}, where the executables need a folder")]
    OfBase {
        /// The variant and its platform.
        variant: String,
        /// The path.
        path: String,
        /// What is there instead.
        kind: String,
    },
    /// The engine has put the executables somewhere else than our layer would.
    #[error(
        "`{path}` in the engine's image of variant `{variant}` is {kind}; it would be a folder in the published one"
    )]
    Built {
        /// The variant and its platform.
        variant: String,
        /// The path.
        path: String,
        /// What is there instead.
        kind: String,
    },
}

impl Hinted for UnusableFolder {
    fn hints(&self) -> Hints {
        match self {
            Self::OfBase { path, .. } => format!(
                "use a base in which `{path}` is a folder: for some users of the variant, the layer would hide what the base has there"
            ).into(),
            Self::Built { .. } => REPORT_THIS.into(),
        }
    }
}

impl StageError for UnusableFolder {
    fn topic(&self) -> Topic {
        match self {
            Self::OfBase { .. } => Topic::Folder,
            Self::Built { .. } => Topic::Mismatch,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::OfBase { .. } => Fault::Input,
            Self::Built { .. } => Fault::Publication,
        }
    }
}

/// Inspects the folders in the base of `recipe` before the build. Returns a warning for each folder that some users
/// will get differently.
///
/// # Errors
/// One of them is a link or a file, or the engine doesn't answer.
pub(super) async fn of_base(files: &FilesLease, recipe: &Recipe) -> Result<Vec<String>, super::BuildError> {
    let mut warnings = Vec::new();
    for (path, entry) in look(files, recipe).await? {
        if let Some(kind) = no_folder(&entry) {
            return Err(UnusableFolder::OfBase { variant: super::name(recipe), path, kind }.into());
        }
        warnings.extend(unusual(&path, &entry).map(|what| format!("the base of `{}` has {what}", recipe.variant)));
    }
    Ok(warnings)
}

/// Inspects the folders in the built image: the paths of our layer must be the same there, so none may be a link.
///
/// # Errors
/// One of them is a link or a file, or the engine doesn't answer.
pub(super) async fn of_built(files: &FilesLease, recipe: &Recipe) -> Result<(), super::BuildError> {
    for (path, entry) in look(files, recipe).await? {
        if let Some(kind) = no_folder(&entry) {
            return Err(UnusableFolder::Built { variant: super::name(recipe), path, kind }.into());
        }
    }
    Ok(())
}

/// The entry at each folder's path, outermost first. If a folder is absent, so is everything in it.
async fn look(files: &FilesLease, recipe: &Recipe) -> Result<Vec<(String, EntryInImage)>, EngineError> {
    let mut found = Vec::<(String, EntryInImage)>::new();
    let mut closed: Option<String> = None;
    for path in recipe.binaries.folders() {
        // Below a link or a file, the base has no folder.
        if closed.as_ref().is_some_and(|closed| path.starts_with(&format!("{closed}/"))) {
            continue;
        }
        let entry = files.entry(path).await?;
        if entry.as_ref().is_none_or(|entry| entry.kind != EntryKind::Folder) {
            closed = Some(path.to_owned());
        }
        found.extend(entry.map(|entry| (path.to_owned(), entry)));
    }
    Ok(found)
}

fn no_folder(entry: &EntryInImage) -> Option<String> {
    match &entry.kind {
        EntryKind::Folder => None,
        EntryKind::Link(target) => Some(format!("a link to `{target}`")),
        EntryKind::Other => Some("not a folder".to_owned()),
    }
}

/// How the folder will differ from the base's for some users of the variant, if it will.
fn unusual(path: &str, entry: &EntryInImage) -> Option<String> {
    let EntryInImage { mode, uid, gid, .. } = entry;
    ((*mode, *uid, *gid) != (0o755, 0, 0)).then(|| {
        format!(
            "`{path}` with mode {mode:o} and owner {uid}:{gid}; pulled by an engine with the classic image store it has mode 755 and owner 0:0"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_unusual_if_recreating_it_would_change_its_mode_or_owner() {
        let folder = |mode, uid, gid| EntryInImage { kind: EntryKind::Folder, mode, uid, gid };
        assert_eq!(unusual("/usr", &folder(0o755, 0, 0)), None);
        for (mode, uid, gid, said) in
            [(0o2775, 0, 50, "mode 2775 and owner 0:50"), (0o1777, 0, 0, "mode 1777"), (0o755, 1, 0, "owner 1:0")]
        {
            let warning = unusual("/usr", &folder(mode, uid, gid)).unwrap();
            assert!(warning.starts_with("`/usr` with ") && warning.contains(said), "{warning}");
        }
    }
}
