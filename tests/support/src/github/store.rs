//! The releases of the repository, in memory and optionally in a file.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::release::{Release, now, object_name};

/// The longest notes that GitHub accepts, in characters.
const LONGEST_BODY: usize = 125_000;

#[derive(Debug)]
pub(super) struct Store {
    releases: Vec<Release>,
    /// Tags without a release, of which only tag, commit and date matter. They aren't kept in the file.
    bare_tags: Vec<Release>,
    /// The id of the latest release, whether or not it still exists.
    last_id: u64,
    /// The id of the release that is marked as the latest one.
    marked_latest: Option<u64>,
    file: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) sha: String,
    pub(super) message: String,
    pub(super) date: String,
}

impl Store {
    /// Opens the store with the releases in the file, and those of `releases` that aren't in it.
    pub(super) fn open(releases: Vec<Release>, file: Option<PathBuf>) -> Self {
        let kept = file.as_ref().and_then(|path| std::fs::read(path).ok());
        let kept = kept.map(|bytes| serde_json::from_slice(&bytes).expect("the state file is one of this program"));
        let kept: Vec<Release> = kept.unwrap_or_default();
        let last_id = kept.iter().map(|release| release.id).max().unwrap_or(277_654_305);
        let mut store = Self { releases: kept, bare_tags: Vec::new(), last_id, marked_latest: None, file };
        for release in releases {
            if store.by_tag(&release.tag).is_none() {
                store.put(release);
            }
        }
        store.save();
        store
    }

    pub(super) fn by_tag(&self, tag: &str) -> Option<&Release> {
        self.releases.iter().find(|release| release.tag == tag)
    }

    pub(super) fn by_id(&self, id: u64) -> Option<&Release> {
        self.releases.iter().find(|release| release.id == id)
    }

    /// The release or bare tag named `tag`. A draft has no tag, and a tag may have no release.
    pub(super) fn tagged(&self, tag: &str) -> Option<&Release> {
        self.tags().find(|release| release.tag == tag)
    }

    pub(super) fn tag_object(&self, sha: &str) -> Option<&Release> {
        self.tags().find(|release| release.tag_object.as_deref() == Some(sha))
    }

    fn tags(&self) -> impl Iterator<Item = &Release> {
        self.releases.iter().filter(|release| !release.draft).chain(&self.bare_tags)
    }

    pub(super) fn newest_first(&self) -> Vec<Release> {
        let mut releases = self.releases.clone();
        releases.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(b.id.cmp(&a.id)));
        releases
    }

    /// The release marked as the latest, else the newest one; never a draft or a pre-release.
    pub(super) fn latest(&self) -> Option<&Release> {
        let final_ones = || self.releases.iter().filter(|release| !release.draft && !release.prerelease);
        let marked = final_ones().find(|release| Some(release.id) == self.marked_latest);
        marked.or_else(|| final_ones().max_by(|a, b| a.created_at.cmp(&b.created_at).then(a.id.cmp(&b.id))))
    }

    /// The commit that a reference points at: a tag, a branch (`main`), or a commit's name of at least seven digits.
    pub(super) fn commit(&self, reference: &str) -> Option<Commit> {
        let name = reference.strip_prefix("refs/").unwrap_or(reference);
        let head = Commit { sha: object_name("head of main"), message: "Head of main".into(), date: now() };
        if matches!(name, "main" | "heads/main" | "HEAD") || head.sha == name {
            return Some(head);
        }
        let tag = name.strip_prefix("tags/").unwrap_or(name);
        let is_abbreviation = |release: &&Release| name.len() >= 7 && release.commit.starts_with(name);
        let release = self.tagged(tag).or_else(|| self.releases.iter().chain(&self.bare_tags).find(is_abbreviation))?;
        let message = format!("Bump version to {}", release.tag);
        Some(Commit { sha: release.commit.clone(), message, date: release.created_at.clone() })
    }

    /// Adds a release, or replaces the one with its tag.
    pub(super) fn put(&mut self, mut release: Release) {
        if let Some(there) = self.releases.iter_mut().find(|there| there.tag == release.tag) {
            release.id = there.id;
            *there = release;
        } else {
            self.bare_tags.retain(|bare| bare.tag != release.tag);
            self.last_id += 16;
            release.id = self.last_id;
            self.releases.push(release);
        }
        self.save();
    }

    pub(super) fn put_tag(&mut self, tag: Release) {
        self.bare_tags.push(tag);
    }

    /// Removes a release and its tag, or a tag without a release.
    pub(super) fn remove(&mut self, tag: &str) -> Option<Release> {
        let from = if self.by_tag(tag).is_some() { &mut self.releases } else { &mut self.bare_tags };
        let at = from.iter().position(|release| release.tag == tag)?;
        let removed = from.remove(at);
        self.save();
        Some(removed)
    }

    /// Changes a release according to the body of a `PATCH`. Returns the changed release, or GitHub's refusal; `None`
    /// if there is no such release.
    pub(super) fn update(&mut self, id: u64, change: &Value) -> Option<Result<Release, Value>> {
        let taken = |tag: &str| self.releases.iter().any(|release| release.tag == tag && release.id != id);
        if change["tag_name"].as_str().is_some_and(taken) {
            return Some(Err(invalid(
                &json!({ "resource": "Release", "code": "already_exists", "field": "tag_name" }),
            )));
        }
        let length = change["body"].as_str().map_or(0, |body| body.chars().count());
        let release = self.releases.iter_mut().find(|release| release.id == id)?;
        if length > LONGEST_BODY {
            return Some(Err(invalid(&json!({
                "resource": "Release",
                "code": "custom",
                "field": "body",
                "message": format!("body is too long (maximum is {LONGEST_BODY} characters)"),
            }))));
        }
        let set_text = |field: &mut String, name: &str| {
            if let Some(text) = change[name].as_str() {
                text.clone_into(field);
            }
        };
        set_text(&mut release.tag, "tag_name");
        set_text(&mut release.target, "target_commitish");
        set_text(&mut release.name, "name");
        set_text(&mut release.body, "body");
        release.draft = change["draft"].as_bool().unwrap_or(release.draft);
        release.prerelease = change["prerelease"].as_bool().unwrap_or(release.prerelease);
        let release = release.clone();
        match change["make_latest"].as_str() {
            Some("true") => self.marked_latest = Some(id),
            Some("false") if self.marked_latest == Some(id) => self.marked_latest = None,
            _ => {}
        }
        self.save();
        Some(Ok(release))
    }

    fn save(&self) {
        if let Some(path) = &self.file {
            let text = serde_json::to_vec_pretty(&self.releases).expect("releases are plain data");
            std::fs::write(path, text).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
        }
    }
}

fn invalid(error: &Value) -> Value {
    json!({
        "message": "Validation Failed",
        "errors": [error],
        "documentation_url": "https://docs.github.com/rest/releases/releases#update-a-release",
        "status": "422",
    })
}
