use super::*;
use crate::http::{self, Answer};
use crate::parts::skip;

struct Client {
    github: GitHub,
}

impl Client {
    fn new(releases: Vec<Release>) -> Option<Self> {
        let github = GitHub::start("acme/tool", releases);
        if github.is_none() {
            skip("PV_GITHUB_OPENAPI is not set");
        }
        Some(Self { github: github? })
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_send(method, path, token, headers, body).await.unwrap()
    }

    async fn try_send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Broken> {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let mut headers = headers.to_vec();
        headers.push(("user-agent", "tests"));
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        http::request(method, &format!("{}{path}", self.github.url()), &headers, body.to_owned()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", &format!("/repos/acme/tool{path}"), Some(READ_TOKEN), &[], "").await
    }

    async fn patch(&self, id: u64, token: Option<&str>, body: Value) -> Answer {
        self.send("PATCH", &format!("/repos/acme/tool/releases/{id}"), token, &[], &body.to_string()).await
    }
}

#[tokio::test]
async fn every_operation_answers_as_the_description_says() {
    let Some(client) = Client::new(vec![Release::new("1.0.0"), Release::new("1.1.0").annotated()]) else { return };
    let repository = client.get("").await;
    assert_eq!((repository.status.as_u16(), &repository.json()["full_name"]), (200, &json!("acme/tool")));
    let release = client.get("/releases/tags/1.0.0").await.json();
    assert_eq!(release["tag_name"], "1.0.0");
    assert_eq!(client.get(&format!("/releases/{}", release["id"])).await.json(), release);
    assert_eq!(client.get("/releases/latest").await.json()["tag_name"], "1.1.0");
    assert_eq!(client.get("/releases").await.json().as_array().unwrap().len(), 2);

    let sha = client.github.release("1.1.0").commit;
    assert_eq!(client.get("/commits/1.1.0").await.json()["sha"], sha);
    assert_eq!(client.get("/commits/tags/1.1.0").await.json()["sha"], sha);
    assert_eq!(client.get("/commits/main").await.status, 200);
    let accept = [("accept", "application/vnd.github.sha")];
    assert_eq!(client.send("GET", "/repos/acme/tool/commits/1.1.0", None, &accept, "").await.text(), sha);
    assert_eq!(client.get("/git/ref/tags/1.0.0").await.json()["object"]["type"], "commit");
    let reference = client.get("/git/ref/tags/1.1.0").await.json();
    assert_eq!(reference["object"]["type"], "tag");
    let tag = client.get(&format!("/git/tags/{}", reference["object"]["sha"].as_str().unwrap())).await.json();
    assert_eq!(tag["object"]["sha"], sha);
    assert_eq!(client.github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn files_are_read_at_a_commit_by_those_who_may() {
    let Some(client) = Client::new(vec![]) else { return };
    let (commit, path) = ("ec26c3e57ca3a959ca5aad62de7213c562f8c821", ".github/variants.yml");
    let at = format!("/contents/{path}?ref={commit}");
    assert_eq!(client.get(&at).await.json()["message"], "Not Found");
    client.github.put_file(commit, path, &"alpine:3.23,alpine\n".repeat(10));
    let file = client.get(&at).await.json();
    assert_eq!(
        (&file["encoding"], &file["size"], &file["name"]),
        (&json!("base64"), &json!(190), &json!("variants.yml"))
    );
    assert!(file["content"].as_str().unwrap().lines().count() > 1, "{file}");
    assert_eq!(client.get(&format!("/contents/{path}?ref=main")).await.status, 404);
    client.github.put_file(commit, path, &"#".repeat(2 << 20));
    assert_eq!((&client.get(&at).await.json()["content"], client.get(&at).await.status.as_u16()), (&json!(""), 200));
    client.github.refuse_contents();
    let refused = client.get(&at).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["message"]),
        (403, &json!("Resource not accessible by integration"))
    );
    assert_eq!(client.github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_githubs_words() {
    let Some(client) = Client::new(vec![Release::new("1.0.0"), Release::new("2.0.0").draft()]) else { return };
    for path in ["/releases/tags/3.0.0", "/releases/tags/2.0.0", "/releases/1", "/git/ref/tags/3.0.0"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["message"]), (404, &json!("Not Found")), "{path}");
    }
    assert_eq!(client.send("GET", "/repos/acme/other/releases", None, &[], "").await.status, 404);
    assert_eq!(client.get("/commits/3.0.0").await.json()["message"], "No commit found for SHA: 3.0.0");
}

#[tokio::test]
async fn a_tag_may_exist_without_a_release_and_beside_a_draft() {
    let Some(client) = Client::new(vec![Release::new("1.1.0").draft()]) else { return };
    assert_eq!(client.get("/git/ref/tags/1.1.0").await.status, 404);
    for tag in ["1.1.0", "tool/1.2.0"] {
        client.github.add_tag(Release::new(tag));
        let sha = Release::new(tag).commit;
        let escaped = tag.replace('/', "%2F");
        assert_eq!(client.get(&format!("/git/ref/tags/{escaped}")).await.json()["object"]["sha"], sha);
        assert_eq!(client.get(&format!("/commits/tags%2F{escaped}")).await.json()["sha"], sha);
        assert_eq!(client.get(&format!("/releases/tags/{escaped}")).await.status, 404);
    }
    assert_eq!(client.github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn notes_are_changed_by_those_who_may() {
    let Some(client) = Client::new(vec![Release::new("1.0.0")]) else { return };
    let id = client.github.release("1.0.0").id;
    let change = json!({ "body": "new notes" });
    for (token, status, message) in [
        (None, 401, "Requires authentication"),
        (Some("wrong"), 401, "Bad credentials"),
        (Some(READ_TOKEN), 403, "Resource not accessible by integration"),
    ] {
        let answer = client.patch(id, token, change.clone()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["message"]), (status, &json!(message)));
    }
    assert_ne!(client.github.release("1.0.0").body, "new notes");
    assert_eq!(client.patch(id, Some(WRITE_TOKEN), change.clone()).await.json()["body"], "new notes");
    assert_eq!(client.github.release("1.0.0").body, "new notes");
    assert_eq!(client.patch(1, Some(WRITE_TOKEN), change).await.status, 404);
}

#[tokio::test]
async fn notes_of_more_than_125000_characters_are_refused() {
    let Some(client) = Client::new(vec![Release::new("1.0.0")]) else { return };
    let id = client.github.release("1.0.0").id;
    let body = |length| json!({ "body": "é".repeat(length) });
    assert_eq!(client.patch(id, Some(WRITE_TOKEN), body(125_000)).await.status, 200);
    let refused = client.patch(id, Some(WRITE_TOKEN), body(125_001)).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["field"]), (422, &json!("body")));
}

#[tokio::test]
async fn a_request_that_the_description_does_not_allow_is_a_violation() {
    let Some(client) = Client::new(vec![Release::new("1.0.0")]) else { return };
    let id = client.github.release("1.0.0").id;
    assert_eq!(client.patch(id, Some(WRITE_TOKEN), json!({ "body": 5 })).await.status, 422);
    assert_eq!(client.get("/releases?perpage=5").await.status, 422);
    assert_eq!(client.send("DELETE", "/repos/acme/tool/releases/1", Some(WRITE_TOKEN), &[], "").await.status, 404);
    let broken = client.send("PATCH", &format!("/repos/acme/tool/releases/{id}"), Some(WRITE_TOKEN), &[], "{").await;
    assert_eq!(broken.status, 400);
    assert_eq!(http::get(&client.github.url(), &[]).await.unwrap().status, 403);
    let violations = client.github.take_violations();
    assert_eq!(violations.len(), 5, "{violations:#?}");
    assert!(violations[0].contains("body/body: 5 is not of type \"string\""), "{violations:#?}");
}

#[tokio::test]
async fn an_answer_of_its_own_that_github_would_not_give_is_a_violation() {
    let Some(client) = Client::new(vec![Release::new("1.0.0").published_at("yesterday")]) else { return };
    assert_eq!(client.get("/releases/tags/1.0.0").await.status, 500);
    let violations = client.github.take_violations();
    assert!(violations.len() == 1 && violations[0].contains("published_at"), "{violations:?}");
}

#[tokio::test]
#[should_panic(expected = "GitHub's description was violated")]
async fn violations_that_nobody_took_fail_the_test() {
    let Some(client) = Client::new(Vec::new()) else { panic!("GitHub's description was violated: (skipped)") };
    client.get("/releases?nonsense=1").await;
}

#[tokio::test]
async fn pages_are_linked() {
    let Some(client) = Client::new((0..5).map(|patch| Release::new(&format!("1.0.{patch}"))).collect()) else { return };
    let page = client.get("/releases?per_page=2&page=2").await;
    let tags: Vec<_> = page.json().as_array().unwrap().iter().map(|release| release["tag_name"].clone()).collect();
    assert_eq!(tags, ["1.0.2", "1.0.1"]);
    let link = page.header("link");
    assert!(link.contains("page=3>; rel=\"next\"") && link.contains("page=1>; rel=\"prev\""), "{link}");
    let next = link.split(", ").find(|part| part.contains("next")).unwrap();
    let url = &next[1..next.find('>').unwrap()];
    let last = http::get(url, &[("user-agent", "tests")]).await.unwrap();
    assert_eq!(last.json()[0]["tag_name"], "1.0.0");
    assert!(!last.header("link").contains("next"));
}

#[tokio::test]
async fn a_prerelease_is_never_the_latest_one() {
    let releases =
        vec![Release::new("1.0.0"), Release::new("2.0.0rc1").prerelease().published_at("2026-02-01T00:00:00Z")];
    let Some(client) = Client::new(releases) else { return };
    assert_eq!(client.get("/releases/latest").await.json()["tag_name"], "1.0.0");
    let prerelease = client.github.release("2.0.0rc1").id;
    client.patch(prerelease, Some(WRITE_TOKEN), json!({ "prerelease": false })).await;
    assert_eq!(client.get("/releases/latest").await.json()["tag_name"], "2.0.0rc1");
    let old = client.github.release("1.0.0").id;
    client.patch(old, Some(WRITE_TOKEN), json!({ "make_latest": "true" })).await;
    assert_eq!(client.get("/releases/latest").await.json()["tag_name"], "1.0.0");
}

#[tokio::test]
async fn failures_occur_as_often_as_requested() {
    let Some(client) = Client::new(vec![Release::new("1.0.0")]) else { return };
    client.github.fail("GET", 1, Failure::RateLimit { reset_in: 60 });
    client.github.fail("GET", 1, Failure::SecondaryRateLimit { status: 429, retry_after: Some(7) });
    client.github.fail("*", 1, Failure::BadGateway);
    let limited = client.get("").await;
    assert_eq!((limited.status.as_u16(), limited.header("x-ratelimit-remaining")), (403, "0"));
    let secondary = client.get("").await;
    assert_eq!((secondary.status.as_u16(), secondary.header("retry-after")), (429, "7"));
    assert!(client.get("").await.text().contains("Unicorn"));
    assert_eq!(client.get("").await.status, 200);

    let path = format!("/repos/acme/tool/releases/{}", client.github.release("1.0.0").id);
    client.github.fail("PATCH", 1, Failure::Reset);
    client.github.fail("PATCH", 1, Failure::LoseAnswer);
    for notes in [None, Some("new")] {
        let patch = client.try_send("PATCH", &path, Some(WRITE_TOKEN), &[], r#"{"body":"new"}"#).await;
        assert!(patch.is_err());
        assert_eq!(client.github.release("1.0.0").body == "new", notes.is_some());
    }
    assert_eq!(client.github.requests().last().unwrap().status, None);
}

#[tokio::test]
async fn somebody_else_edits_between_reading_and_writing() {
    let Some(client) = Client::new(vec![Release::new("1.0.0").body("first")]) else { return };
    client.github.edit_after_next_read("1.0.0", "theirs");
    assert_eq!(client.get("/releases/tags/1.0.0").await.json()["body"], "first");
    assert_eq!(client.get("/releases/tags/1.0.0").await.json()["body"], "theirs");
}

#[tokio::test]
async fn releases_and_tags_come_and_go() {
    let Some(client) = Client::new(vec![Release::new("1.0.0"), Release::new("1.1.0")]) else { return };
    let github = &client.github;
    let statuses = async |tag: &str| {
        let release = client.get(&format!("/releases/tags/{tag}")).await.status.as_u16();
        let commit = client.get(&format!("/commits/tags/{tag}")).await.status.as_u16();
        [release, commit, client.get(&format!("/git/ref/tags/{tag}")).await.status.as_u16()]
    };
    let (here, tag_only, gone) = ([200, 200, 200], [404, 200, 200], [404, 422, 404]);
    github.flag_prerelease("1.1.0", true);
    assert_eq!(client.get("/releases/tags/1.1.0").await.json()["prerelease"], true);
    assert_eq!(client.get("/releases/latest").await.json()["tag_name"], "1.0.0");
    github.flag_prerelease("1.1.0", false);
    assert_eq!(client.get("/releases/latest").await.json()["tag_name"], "1.1.0");

    let id = github.release("1.1.0").id;
    github.withdraw("1.1.0");
    assert_eq!(statuses("1.1.0").await, gone);
    assert_eq!(client.get("/releases").await.json().as_array().unwrap().len(), 1);
    github.add(Release::new("1.1.0"));
    assert_eq!(statuses("1.1.0").await, here);
    assert_ne!(github.release("1.1.0").id, id);

    github.delete_release("1.1.0");
    assert_eq!(statuses("1.1.0").await, tag_only);
    github.add_tag(Release::new("1.2.0").annotated());
    assert_eq!(statuses("1.2.0").await, tag_only);
    let object = client.get("/git/ref/tags/1.2.0").await.json()["object"].clone();
    assert_eq!(object["type"], "tag");
    assert_eq!(client.get(&format!("/git/tags/{}", object["sha"].as_str().unwrap())).await.status, 200);
    github.add(Release::new("1.2.0"));
    github.withdraw("1.2.0");
    assert_eq!(statuses("1.2.0").await, gone);
    github.withdraw("1.1.0");
    assert_eq!(statuses("1.1.0").await, gone);

    github.delete_tag("1.0.0");
    assert_eq!(statuses("1.0.0").await, gone);
    assert!(github.release("1.0.0").draft);
    assert_eq!(client.get("/releases/latest").await.status, 404);
}

#[tokio::test]
async fn a_state_file_keeps_the_notes() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        listen: "127.0.0.1:0".into(),
        repository: "acme/tool".into(),
        releases: vec![Release::new("1.0.0")],
        token: None,
        description: None,
        state: Some(folder.path().join("state.json")),
        log: false,
    };
    GitHub::serve(setup.clone()).set_body("1.0.0", "kept");
    let again = GitHub::serve(Setup { releases: vec![Release::new("1.0.0"), Release::new("1.0.1")], ..setup });
    assert_eq!(again.release("1.0.0").body, "kept");
    assert_ne!(again.release("1.0.1").id, again.release("1.0.0").id);
}
