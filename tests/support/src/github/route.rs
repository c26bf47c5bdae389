//! Maps requests to operations of the description.

use hyper::Method;

use crate::http::decoded;

/// An operation that the stand-in serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    Repository,
    Releases,
    LatestRelease,
    ReleaseByTag(String),
    Release(String),
    UpdateRelease(String),
    Commit(String),
    Contents(String),
    TagRef(String),
    TagObject(String),
}

/// An operation, and the repository that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) owner: String,
    pub(super) repository: String,
    pub(super) operation: Operation,
}

impl Route {
    /// The route of a request; `None` if the stand-in doesn't serve it. A reference may contain slashes.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let mut steps = path.strip_prefix("/repos/")?.splitn(3, '/').map(decoded);
        let (owner, repository, rest) = (steps.next()?, steps.next()?, steps.next().unwrap_or_default());
        let operation = match *method {
            Method::GET => Self::read(&rest),
            Method::PATCH => rest.strip_prefix("releases/").map(|id| Operation::UpdateRelease(id.into())),
            _ => None,
        }?;
        Some(Self { owner, repository, operation })
    }

    fn read(rest: &str) -> Option<Operation> {
        let (first, below) = rest.split_once('/').unwrap_or((rest, ""));
        Some(match (first, below) {
            ("", "") => Operation::Repository,
            ("releases", "") => Operation::Releases,
            ("releases", "latest") => Operation::LatestRelease,
            ("releases", below) => match below.split_once('/') {
                None => Operation::Release(below.into()),
                Some(("tags", tag)) => Operation::ReleaseByTag(tag.into()),
                Some(_) => return None,
            },
            ("commits", reference) if !reference.is_empty() => Operation::Commit(reference.into()),
            ("contents", path) => Operation::Contents(path.into()),
            ("git", below) => match below.split_once('/')? {
                ("ref", reference) => Operation::TagRef(reference.into()),
                ("tags", sha) => Operation::TagObject(sha.into()),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The operation's path in the description.
    pub(super) fn template(&self) -> &'static str {
        match self.operation {
            Operation::Repository => "/repos/{owner}/{repo}",
            Operation::Releases => "/repos/{owner}/{repo}/releases",
            Operation::LatestRelease => "/repos/{owner}/{repo}/releases/latest",
            Operation::ReleaseByTag(_) => "/repos/{owner}/{repo}/releases/tags/{tag}",
            Operation::Release(_) | Operation::UpdateRelease(_) => "/repos/{owner}/{repo}/releases/{release_id}",
            Operation::Commit(_) => "/repos/{owner}/{repo}/commits/{ref}",
            Operation::Contents(_) => "/repos/{owner}/{repo}/contents/{path}",
            Operation::TagRef(_) => "/repos/{owner}/{repo}/git/ref/{ref}",
            Operation::TagObject(_) => "/repos/{owner}/{repo}/git/tags/{tag_sha}",
        }
    }

    /// The parameters of the operation's path.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![("owner", self.owner.clone()), ("repo", self.repository.clone())];
        parameters.extend(match &self.operation {
            Operation::ReleaseByTag(tag) => Some(("tag", tag.clone())),
            Operation::Release(id) | Operation::UpdateRelease(id) => Some(("release_id", id.clone())),
            Operation::Commit(reference) | Operation::TagRef(reference) => Some(("ref", reference.clone())),
            Operation::Contents(path) => Some(("path", path.clone())),
            Operation::TagObject(sha) => Some(("tag_sha", sha.clone())),
            Operation::Repository | Operation::Releases | Operation::LatestRelease => None,
        });
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_operations() {
        for (method, path, expected) in [
            (Method::GET, "/repos/a/b", Some(Operation::Repository)),
            (Method::GET, "/repos/a/b/releases", Some(Operation::Releases)),
            (Method::GET, "/repos/a/b/releases/latest", Some(Operation::LatestRelease)),
            (Method::GET, "/repos/a/b/releases/7", Some(Operation::Release("7".into()))),
            (Method::PATCH, "/repos/a/b/releases/7", Some(Operation::UpdateRelease("7".into()))),
            (Method::GET, "/repos/a/b/releases/tags/tool%2F1.0", Some(Operation::ReleaseByTag("tool/1.0".into()))),
            (Method::GET, "/repos/a/b/commits/refs/tags/1.0", Some(Operation::Commit("refs/tags/1.0".into()))),
            (Method::GET, "/repos/a/b/contents/.github/x.yml", Some(Operation::Contents(".github/x.yml".into()))),
            (Method::GET, "/repos/a/b/git/ref/tags/1.0", Some(Operation::TagRef("tags/1.0".into()))),
            (Method::GET, "/repos/a/b/git/tags/abc", Some(Operation::TagObject("abc".into()))),
            (Method::POST, "/repos/a/b/releases", None),
            (Method::GET, "/repos/a/b/releases/7/assets", None),
            (Method::GET, "/user", None),
        ] {
            assert_eq!(Route::of(&method, path).map(|route| route.operation), expected, "{method} {path}");
        }
    }
}
