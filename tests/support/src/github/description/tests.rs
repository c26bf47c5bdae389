use super::*;
use crate::parts;

const RELEASE: &str = "/repos/{owner}/{repo}/releases/{release_id}";

fn description() -> Option<Arc<Description>> {
    let path = parts::github_openapi();
    if path.is_none() {
        parts::skip("PV_GITHUB_OPENAPI is not set");
    }
    path.as_deref().map(Description::read)
}

fn path(id: &str) -> Vec<(&'static str, String)> {
    vec![("owner", "acme".into()), ("repo", "tool".into()), ("release_id", id.into())]
}

#[test]
fn wrong_requests_are_told_from_right_ones() {
    let Some(description) = description() else { return };
    for (method, id, query, body, expected) in [
        ("PATCH", "1", None, Some(json!({ "body": "text", "make_latest": "true" })), None),
        ("PATCH", "1", None, Some(json!({ "body": 5 })), Some("body/body: 5 is not of type \"string\"")),
        ("PATCH", "1", None, Some(json!({ "body": null })), Some("body/body: null is not of type \"string\"")),
        ("PATCH", "1", None, Some(json!({ "make_latest": "yes" })), Some("body/make_latest: \"yes\" is not one of")),
        ("PATCH", "1", None, Some(json!({ "notes": "x" })), Some("`notes` is no property of its body")),
        ("PATCH", "1", None, Some(json!({ "release_id": 1, "body": "text" })), None),
        ("PATCH", "1", None, Some(json!({ "release_id": 2 })), Some("`release_id` is no property of its body")),
        ("PATCH", "0.9.26", None, Some(json!({})), Some("`release_id`: \"0.9.26\" is not of type \"integer\"")),
        ("GET", "1", None, None, None),
        ("GET", "1", Some("page"), None, Some("`page` is no parameter of its query")),
        ("GET", "1", None, Some(json!({})), Some("it takes no body")),
    ] {
        let query: Vec<_> = query.map(|name| (name.to_owned(), "1".to_owned())).into_iter().collect();
        let given = Given { path: &path(id), query: &query, body: body.as_ref() };
        let wrong = description.request(method, RELEASE, given);
        match expected {
            None => assert!(wrong.is_empty(), "{method} {body:?}: {wrong:?}"),
            Some(expected) => assert!(wrong.len() == 1 && wrong[0].contains(expected), "{wrong:?}"),
        }
    }
}

#[test]
fn responses_are_validated_with_their_schema() {
    let Some(description) = description() else { return };
    let judge = |status, body| {
        description.response("GET", "/repos/{owner}/{repo}/git/ref/{ref}", status, "application/json", &body)
    };
    let mut body = json!({
        "ref": "refs/tags/1", "node_id": "x", "url": "https://example.org/",
        "object": { "type": "commit", "sha": "a".repeat(40), "url": "https://example.org/" },
    });
    assert_eq!(judge(200, body.clone()), Vec::<String>::new());
    body["object"]["sha"] = "short".into();
    assert_eq!(judge(200, body.clone()).len(), 1);
    body.as_object_mut().unwrap().remove("node_id");
    assert_eq!(judge(200, body.clone()).len(), 2);
    assert_eq!(judge(202, body).len(), 1);
    assert_eq!(judge(403, json!({ "message": 1 })).len(), 1);
    assert_eq!(judge(403, json!({ "message": "no" })).len(), 0);
}

#[test]
fn null_is_allowed_if_the_description_says_so() {
    let mut schema =
        json!({ "properties": { "a": { "type": "string", "nullable": true }, "b": { "type": "string" } } });
    allow_null(&mut schema);
    let schema = jsonschema::validator_for(&schema).unwrap();
    assert!(schema.is_valid(&json!({ "a": null, "b": "x" })));
    assert!(!schema.is_valid(&json!({ "a": 1 })));
    assert!(!schema.is_valid(&json!({ "b": null })));
}
