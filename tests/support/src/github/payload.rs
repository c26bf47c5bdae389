//! Bodies in the form of GitHub's API: with every property that its description requires, and those that clients read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::release::{Release, object_name};

const SITE: &str = "https://github.com";

/// The addresses of a repository's objects.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The API's URL, as the client reached it.
    pub(super) api: String,
    pub(super) owner: String,
    pub(super) name: String,
}

impl Place {
    fn api(&self, path: &str) -> String {
        format!("{}/repos/{}/{}{path}", self.api, self.owner, self.name)
    }

    fn site(&self, path: &str) -> String {
        format!("{SITE}/{}/{}{path}", self.owner, self.name)
    }
}

pub(super) fn error(status: u16, message: &str, page: &str) -> Value {
    json!({ "message": message, "documentation_url": format!("https://docs.github.com/rest{page}"), "status": status.to_string() })
}

pub(super) fn release(place: &Place, release: &Release) -> Value {
    let id = release.id;
    let tag = &release.tag;
    let page = if release.draft { format!("untagged-{}", &object_name(tag)[..20]) } else { tag.clone() };
    json!({
        "url": place.api(&format!("/releases/{id}")),
        "assets_url": place.api(&format!("/releases/{id}/assets")),
        "upload_url": format!("https://uploads.github.com/repos/{}/{}/releases/{id}/assets{{?name,label}}", place.owner, place.name),
        "html_url": place.site(&format!("/releases/tag/{page}")),
        "id": id,
        "author": user(&place.api, "github-actions[bot]", 41_898_282, "Bot"),
        "node_id": format!("RE_kwDOKbIBZc4{id:08x}"),
        "tag_name": tag,
        "target_commitish": release.target,
        "name": release.name,
        "draft": release.draft,
        "immutable": false,
        "prerelease": release.prerelease,
        "created_at": release.created_at,
        "updated_at": release.published_at,
        "published_at": if release.draft { Value::Null } else { json!(release.published_at) },
        "assets": [asset(place, release)],
        "tarball_url": if release.draft { Value::Null } else { json!(place.api(&format!("/tarball/{tag}"))) },
        "zipball_url": if release.draft { Value::Null } else { json!(place.api(&format!("/zipball/{tag}"))) },
        "body": release.body,
    })
}

fn asset(place: &Place, release: &Release) -> Value {
    let id = release.id + 1;
    let name = format!("{}-x86_64-unknown-linux-musl.tar.gz", place.name);
    json!({
        "url": place.api(&format!("/releases/assets/{id}")),
        "id": id,
        "node_id": format!("RA_kwDOKbIBZc4{id:08x}"),
        "name": name,
        "label": "",
        "uploader": user(&place.api, "github-actions[bot]", 41_898_282, "Bot"),
        "content_type": "application/gzip",
        "state": "uploaded",
        "size": 23_441_920,
        "digest": crate::image::digest(name.as_bytes()),
        "download_count": 12_345,
        "created_at": release.created_at,
        "updated_at": release.created_at,
        "browser_download_url": place.site(&format!("/releases/download/{}/{name}", release.tag)),
    })
}

pub(super) fn git_ref(place: &Place, release: &Release) -> Value {
    let tag = &release.tag;
    let (kind, sha) = match &release.tag_object {
        Some(sha) => ("tag", sha),
        None => ("commit", &release.commit),
    };
    json!({
        "ref": format!("refs/tags/{tag}"),
        "node_id": "REF_kwDOKbIBZbByZWZzL3RhZ3M",
        "url": place.api(&format!("/git/refs/tags/{tag}")),
        "object": { "sha": sha, "type": kind, "url": place.api(&format!("/git/{kind}s/{sha}")) },
    })
}

pub(super) fn git_tag(place: &Place, release: &Release) -> Value {
    let sha = release.tag_object.clone().unwrap_or_default();
    json!({
        "node_id": "TA_kwDOKbIBZdoAKDk",
        "sha": sha,
        "url": place.api(&format!("/git/tags/{sha}")),
        "tagger": { "name": "Release", "email": "release@example.org", "date": release.created_at },
        "object": { "sha": release.commit, "type": "commit", "url": place.api(&format!("/git/commits/{}", release.commit)) },
        "tag": release.tag,
        "message": format!("{}\n", release.tag),
        "verification": unsigned(),
    })
}

pub(super) fn commit(place: &Place, sha: &str, message: &str, date: &str) -> Value {
    let tree = object_name(&format!("tree {sha}"));
    let parent = object_name(&format!("parent {sha}"));
    let person = json!({ "name": "Release", "email": "release@example.org", "date": date });
    json!({
        "sha": sha,
        "node_id": "C_kwDOKbIBZdoAKGVlNGYwMDM2",
        "commit": {
            "author": person,
            "committer": person,
            "message": message,
            "tree": { "sha": tree, "url": place.api(&format!("/git/trees/{tree}")) },
            "url": place.api(&format!("/git/commits/{sha}")),
            "comment_count": 0,
            "verification": unsigned(),
        },
        "url": place.api(&format!("/commits/{sha}")),
        "html_url": place.site(&format!("/commit/{sha}")),
        "comments_url": place.api(&format!("/commits/{sha}/comments")),
        "author": null,
        "committer": null,
        "parents": [{
            "sha": parent,
            "url": place.api(&format!("/commits/{parent}")),
            "html_url": place.site(&format!("/commit/{parent}")),
        }],
        "stats": { "total": 2, "additions": 1, "deletions": 1 },
        "files": [{
            "sha": object_name(&format!("file {sha}")),
            "filename": "Cargo.toml",
            "status": "modified",
            "additions": 1,
            "deletions": 1,
            "changes": 2,
            "blob_url": place.site(&format!("/blob/{sha}/Cargo.toml")),
            "raw_url": place.site(&format!("/raw/{sha}/Cargo.toml")),
            "contents_url": place.api(&format!("/contents/Cargo.toml?ref={sha}")),
            "patch": "@@ -1,1 +1,1 @@",
        }],
    })
}

/// A file at a commit. GitHub breaks the lines of its base64, and leaves the content out if it is larger than 1 MB.
pub(super) fn file(place: &Place, path: &str, reference: &str, text: &str) -> Value {
    let encoded = STANDARD.encode(text);
    let lines = encoded.as_bytes().chunks(60).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    let (encoding, content) = if text.len() > 1 << 20 { ("none", String::new()) } else { ("base64", lines.collect()) };
    let blob = object_name(&format!("blob {text}"));
    let this = place.api(&format!("/contents/{path}?ref={reference}"));
    let (git, html) = (place.api(&format!("/git/blobs/{blob}")), place.site(&format!("/blob/{reference}/{path}")));
    json!({
        "type": "file",
        "name": path.rsplit('/').next(),
        "path": path,
        "sha": blob,
        "size": text.len(),
        "encoding": encoding,
        "content": content,
        "url": this,
        "git_url": git,
        "html_url": html,
        "download_url": place.site(&format!("/raw/{reference}/{path}")),
        "_links": { "self": this, "git": git, "html": html },
    })
}

pub(super) fn repository(place: &Place) -> Value {
    let mut repository = json!({
        "id": 699_532_645,
        "node_id": "R_kgDOKbIBZQ",
        "name": place.name,
        "full_name": format!("{}/{}", place.owner, place.name),
        "private": false,
        "owner": user(&place.api, &place.owner, 115_962_839, "Organization"),
        "organization": user(&place.api, &place.owner, 115_962_839, "Organization"),
        "html_url": place.site(""),
        "description": "A tool that ships as a static binary",
        "fork": false,
        "url": place.api(""),
        "created_at": "2023-10-02T20:24:11Z",
        "updated_at": "2026-01-15T21:00:00Z",
        "pushed_at": "2026-01-15T20:50:58Z",
        "git_url": format!("git://github.com/{}/{}.git", place.owner, place.name),
        "ssh_url": format!("git@github.com:{}/{}.git", place.owner, place.name),
        "clone_url": place.site(".git"),
        "svn_url": place.site(""),
        "homepage": "https://example.org",
        "size": 112_345,
        "language": "Rust",
        "has_issues": true,
        "has_projects": true,
        "has_downloads": true,
        "has_wiki": false,
        "has_pages": false,
        "has_discussions": false,
        "mirror_url": null,
        "archived": false,
        "disabled": false,
        "license": {
            "key": "apache-2.0",
            "name": "Apache License 2.0",
            "spdx_id": "Apache-2.0",
            "url": format!("{}/licenses/apache-2.0", place.api),
            "node_id": "MDc6TGljZW5zZTI=",
        },
        "allow_forking": true,
        "is_template": false,
        "web_commit_signoff_required": false,
        "topics": ["packaging"],
        "visibility": "public",
        "default_branch": "main",
    });
    let object = repository.as_object_mut().expect("made as an object");
    object.extend(COUNTS.iter().map(|(name, count)| ((*name).to_owned(), json!(count))));
    object.extend(LINKS.iter().map(|(name, path)| (format!("{name}_url"), json!(place.api(path)))));
    repository
}

const COUNTS: [(&str, u64); 9] = [
    ("forks", 2_000),
    ("forks_count", 2_000),
    ("open_issues", 2_100),
    ("open_issues_count", 2_100),
    ("stargazers_count", 75_000),
    ("watchers", 75_000),
    ("watchers_count", 75_000),
    ("subscribers_count", 180),
    ("network_count", 2_000),
];

/// The `*_url` properties of a repository, most of them URI templates.
const LINKS: [(&str, &str); 36] = [
    ("archive", "/{archive_format}{/ref}"),
    ("assignees", "/assignees{/user}"),
    ("blobs", "/git/blobs{/sha}"),
    ("branches", "/branches{/branch}"),
    ("collaborators", "/collaborators{/collaborator}"),
    ("comments", "/comments{/number}"),
    ("commits", "/commits{/sha}"),
    ("compare", "/compare/{base}...{head}"),
    ("contents", "/contents/{+path}"),
    ("contributors", "/contributors"),
    ("deployments", "/deployments"),
    ("downloads", "/downloads"),
    ("events", "/events"),
    ("forks", "/forks"),
    ("git_commits", "/git/commits{/sha}"),
    ("git_refs", "/git/refs{/sha}"),
    ("git_tags", "/git/tags{/sha}"),
    ("hooks", "/hooks"),
    ("issue_comment", "/issues/comments{/number}"),
    ("issue_events", "/issues/events{/number}"),
    ("issues", "/issues{/number}"),
    ("keys", "/keys{/key_id}"),
    ("labels", "/labels{/name}"),
    ("languages", "/languages"),
    ("merges", "/merges"),
    ("milestones", "/milestones{/number}"),
    ("notifications", "/notifications{?since,all,participating}"),
    ("pulls", "/pulls{/number}"),
    ("releases", "/releases{/id}"),
    ("stargazers", "/stargazers"),
    ("statuses", "/statuses/{sha}"),
    ("subscribers", "/subscribers"),
    ("subscription", "/subscription"),
    ("tags", "/tags"),
    ("teams", "/teams"),
    ("trees", "/git/trees{/sha}"),
];

fn user(api: &str, login: &str, id: u64, kind: &str) -> Value {
    let path = format!("{api}/users/{}", login.replace('[', "%5B").replace(']', "%5D"));
    let mut user = Map::new();
    for (name, path) in [
        ("followers", format!("{path}/followers")),
        ("following", format!("{path}/following{{/other_user}}")),
        ("gists", format!("{path}/gists{{/gist_id}}")),
        ("starred", format!("{path}/starred{{/owner}}{{/repo}}")),
        ("subscriptions", format!("{path}/subscriptions")),
        ("organizations", format!("{path}/orgs")),
        ("repos", format!("{path}/repos")),
        ("events", format!("{path}/events{{/privacy}}")),
        ("received_events", format!("{path}/received_events")),
    ] {
        user.insert(format!("{name}_url"), path.into());
    }
    let site = login.strip_suffix("[bot]").map_or_else(|| login.to_owned(), |app| format!("apps/{app}"));
    user.extend([
        ("login".to_owned(), login.into()),
        ("id".to_owned(), id.into()),
        ("node_id".to_owned(), format!("U_kgDO{id:08x}").into()),
        ("avatar_url".to_owned(), format!("https://avatars.githubusercontent.com/u/{id}?v=4").into()),
        ("gravatar_id".to_owned(), "".into()),
        ("url".to_owned(), path.into()),
        ("html_url".to_owned(), format!("{SITE}/{site}").into()),
        ("type".to_owned(), kind.into()),
        ("user_view_type".to_owned(), "public".into()),
        ("site_admin".to_owned(), false.into()),
    ]);
    Value::Object(user)
}

fn unsigned() -> Value {
    json!({ "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null })
}
