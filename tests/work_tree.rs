//! Reading the git work tree without git, compared with git's own answers.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use publish_variants::work_tree::WorkTree;
use support::parts;
use tempfile::TempDir;

/// Runs git at a date (a Unix time), without anybody's settings.
fn git(folder: &Path, date: u64, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", format!("@{date} +0200"))
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository whose commits are so similar that git stores some of them as deltas. Each has a tag, and every other
/// tag is annotated.
fn repository() -> Option<TempDir> {
    if Command::new("git").arg("--version").output().is_err() {
        parts::skip("no git");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), 0, &["init", "-q"]);
    let alike = "The same long text in each of the commits, so that a difference is shorter.\n".repeat(20);
    for number in 0..30 {
        let (date, message) = (1_700_000_000 + number, format!("{alike}{number}"));
        git(folder.path(), date, &["commit", "-q", "--allow-empty", "-m", &message]);
        let tag = format!("v1.{number}");
        match number % 2 {
            0 => git(folder.path(), date + 500, &["tag", &tag]),
            _ => git(folder.path(), date + 500, &["tag", "-a", "-m", "released", &tag]),
        };
    }
    Some(folder)
}

#[test]
fn commits_and_dates_agree_with_git_whether_loose_packed_or_stored_as_deltas() {
    let Some(folder) = repository() else { return };
    let tree = WorkTree::find(folder.path()).unwrap();
    let compare = |stored: &str| {
        for number in 0..30 {
            let tag = format!("v1.{number}");
            let found = tree.commit(&["1.none", &tag], None).unwrap().unwrap();
            let told = git(folder.path(), 0, &["log", "-1", "--format=%H %ct", &tag]);
            assert_eq!(format!("{} {}", found.sha, found.date.unwrap().timestamp()), told, "{tag}, {stored}");
        }
        let head = git(folder.path(), 0, &["rev-parse", "HEAD"]);
        assert_eq!(tree.head().unwrap(), Some(head.clone()), "{stored}");
        assert_eq!(tree.commit(&[], None).unwrap().unwrap().sha, head, "{stored}");
    };
    compare("loose");
    git(folder.path(), 0, &["gc", "-q", "--aggressive", "--prune=now"]);
    let packs = fs::read_dir(folder.path().join(".git/objects/pack")).unwrap();
    let index = packs.map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "idx").unwrap();
    let listed = git(folder.path(), 0, &["verify-pack", "-v", index.to_str().unwrap()]);
    let is_difference = |line: &&str| line.contains(" commit ") && line.split_whitespace().count() == 7;
    assert!(listed.lines().filter(is_difference).count() > 5, "{listed}");
    compare("packed");
    git(folder.path(), 0, &["checkout", "-q", "v1.7"]);
    compare("detached");
}

#[test]
fn commits_that_the_work_tree_lacks_are_unknown() {
    let Some(folder) = repository() else { return };
    let tree = WorkTree::find(folder.path()).unwrap();
    let elsewhere = "0123456789abcdef0123456789abcdef01234567";
    let commit = tree.commit(&[], Some(elsewhere)).unwrap().unwrap();
    assert_eq!((commit.sha.as_str(), commit.date), (elsewhere, None));
    assert_eq!(tree.origin().unwrap(), None);
    git(folder.path(), 0, &["remote", "add", "fork", "https://example.org/fork/tool"]);
    git(folder.path(), 0, &["remote", "add", "origin", "git@example.org:acme/tool.git"]);
    assert_eq!(tree.origin().unwrap().as_deref(), Some("git@example.org:acme/tool.git"));

    let empty = tempfile::tempdir().unwrap();
    assert!(WorkTree::find(empty.path()).is_none());
    git(empty.path(), 0, &["init", "-q"]);
    let tree = WorkTree::find(empty.path()).unwrap();
    assert_eq!((tree.head().unwrap(), tree.commit(&["1.0"], None).unwrap()), (None, None));
}

#[test]
fn nothing_outside_of_the_workspace_is_read() {
    let Some(outside) = repository() else { return };
    let workspace = tempfile::tempdir().unwrap();
    let error = || {
        let error = WorkTree::find(workspace.path()).unwrap().commit(&["v1.3"], None).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    symlink(outside.path().join(".git"), workspace.path().join(".git")).unwrap();
    assert_eq!(error(), "`.git` leads out of the workspace");
    fs::remove_file(workspace.path().join(".git")).unwrap();
    fs::write(workspace.path().join(".git"), format!("gitdir: {}\n", outside.path().join(".git").display())).unwrap();
    assert_eq!(error(), "`.git` leads out of the workspace");
    fs::remove_file(workspace.path().join(".git")).unwrap();
    git(workspace.path(), 0, &["init", "-q"]);
    let refs = workspace.path().join(".git/refs/tags");
    fs::remove_dir(&refs).unwrap();
    symlink(outside.path().join(".git/refs/tags"), &refs).unwrap();
    assert_eq!(error(), "`.git` leads out of the workspace");
}

#[test]
fn a_damaged_repository_is_an_error_and_not_a_panic() {
    let Some(folder) = repository() else { return };
    git(folder.path(), 0, &["gc", "-q", "--aggressive", "--prune=now"]);
    let commit = |tag: &str| WorkTree::find(folder.path()).unwrap().commit(&[tag], None);
    let right = ["v1.29", "v1.3"].map(|tag| (tag, commit(tag).unwrap()));
    let assert_right = |tag: &str| {
        let (_, expected) = right.iter().find(|(known, _)| *known == tag).unwrap();
        let found = commit(tag);
        assert!(found.is_err() || found.as_ref().ok() == Some(expected), "{tag}: {found:?}");
    };
    let packs = fs::read_dir(folder.path().join(".git/objects/pack")).unwrap();
    for path in packs.map(|entry| entry.unwrap().path()) {
        let whole = fs::read(&path).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        for length in (0..whole.len()).step_by(97) {
            fs::write(&path, &whole[..length]).unwrap();
            assert_right("v1.29");
            let mut changed = whole.clone();
            changed[length] ^= 0x5a;
            fs::write(&path, &changed).unwrap();
            assert_right("v1.3");
        }
        fs::write(&path, whole).unwrap();
    }
}
