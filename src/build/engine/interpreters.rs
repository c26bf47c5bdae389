//! Looks for the interpreters of dynamically linked executables in an image.

use crate::api::engine::{EngineError, EntryKind, FilesLease};
use crate::build::interpreter::{missing, needed};
use crate::compose::recipe::Recipe;

/// Linux follows at most this many symbolic links in one path.
const MOST_LINKS: usize = 40;

/// Checks that the image, which is the base of `recipe` or was built from it, has the interpreters of the executables.
///
/// # Errors
/// It lacks an interpreter, or the engine doesn't answer.
pub(super) async fn look_for(files: &FilesLease, recipe: &Recipe) -> Result<(), super::BuildError> {
    for (executable, interpreter) in needed(recipe) {
        if !is_file(files, interpreter).await? {
            return Err(missing(recipe, executable, interpreter).into());
        }
    }
    Ok(())
}

/// Whether there is a file at `path`. Links are followed here, because the engine cleans up a path before it follows
/// the links in it, and then `..` after a link leads somewhere else.
async fn is_file(files: &FilesLease, path: &str) -> Result<bool, EngineError> {
    let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let (mut at, mut links) = (String::new(), 0);
    while let Some(name) = left.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                at.truncate(at.rfind('/').unwrap_or_default());
                continue;
            }
            name => {
                at.push('/');
                at.push_str(name);
            }
        }
        match files.entry(&at).await?.map(|entry| entry.kind) {
            None => return Ok(false),
            Some(EntryKind::Folder) => {}
            Some(EntryKind::Other) => return Ok(left.iter().all(String::is_empty)),
            Some(EntryKind::Link(target)) => {
                links += 1;
                if links > MOST_LINKS {
                    return Ok(false);
                }
                let parent = if target.starts_with('/') { 0 } else { at.rfind('/').unwrap_or_default() };
                at.truncate(parent);
                left.extend(target.split('/').rev().map(str::to_owned));
            }
        }
    }
    Ok(false)
}
