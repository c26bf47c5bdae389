//! Lists of tags: a complete list, or an error.

use std::sync::atomic::{AtomicU64, Ordering};

use publish_variants::error::{Fault, StageError as _};

use super::canned::{Canned, ok, status};
use super::*;

/// The list of tags of `a/b` on a server that answers with `page(query)`.
async fn list(page: impl Fn(&str) -> String + Send + 'static) -> Result<Vec<String>, RegistryError> {
    let server = Canned::start(move |target| match target.strip_prefix("/v2/a/b/tags/list") {
        Some(query) => page(query),
        None => panic!("{target}"),
    });
    let tags = Client::new().registries.tags(&repository(&server.host(), "a/b")).await?;
    Ok(tags.iter().map(ToString::to_string).collect())
}

/// A first page with the tags `1` and `2`, and with this link in its header.
fn first(link: &str) -> String {
    ok(&format!("Link: {link}"), r#"{"name":"a/b","tags":["1","2"]}"#)
}

#[tokio::test]
async fn a_list_of_tags_is_followed_page_by_page() {
    let tags = list(|query| match query {
        "?n=1000" => ok(r#"Link: </v2/a/b/tags/list?last=2>; rel="next""#, r#"{"tags":["1","2","not a tag"]}"#),
        "?last=2" => ok(r#"Link: <list?last=3>; rel="next""#, r#"{"tags":null}"#),
        "?last=3" => ok("X: y", r#"{"tags":["3"]}"#),
        _ => panic!("{query}"),
    });
    assert_eq!(tags.await.unwrap(), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_next_page_may_be_linked_in_every_form_and_is_asked_for_at_our_own_origin() {
    for link in [
        r#"</v2/a/b/tags/list?last=2&n=2>; rel="next""#,
        "<?last=2&n=2>; rel=next",
        "<list?last=2&n=2>; rel=next",
        "<../tags/list?last=2&n=2>; rel=next",
        "<http://registry.internal:5000/v2/a/b/tags/list?last=2&n=2>; rel=\"next\"",
        "<https://127.0.0.1:9/v2/a/b/tags/list?last=2&n=2>; rel=\"next\"",
        "<//registry.internal/v2/a/b/tags/list?last=2&n=2>; rel=\"next\"",
        "</v2/a/b/tags/list>; rel=first, <?last=2&n=2>; title=\"a, b\"; rel=\"last next\"",
        "</v2/a/b/tags/list?n=2>; rel=first\r\nLink: <?last=2&n=2>; rel=next",
    ] {
        let tags = list(move |query| match query {
            "?n=1000" => first(link),
            "?last=2&n=2" => ok("X: y", r#"{"tags":["3"]}"#),
            _ => panic!("{query}"),
        });
        assert_eq!(tags.await.unwrap(), ["1", "2", "3"], "{link}");
    }
}

#[tokio::test]
async fn an_incomplete_list_is_an_error_that_says_what_is_wrong() {
    let second = |answer: fn() -> String| answer;
    let none = second(|| status("404 Not Found", "X: y", r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#));
    let last = second(|| ok("X: y", r#"{"tags":["3"]}"#));
    let unlisted = second(|| ok("X: y", r#"{"name":"a/b"}"#));
    let back = second(|| ok("Link: </v2/a/b/tags/list?n=1000>; rel=next", r#"{"tags":["3"]}"#));
    let again = second(|| ok("Link: <?last=2>; rel=next", r#"{"tags":["3"]}"#));
    for (link, second, why) in [
        ("<?last=2>; rel=next", none, "a page of it is missing"),
        ("<?last=2>; rel=next", unlisted, "a page of it has no `tags`"),
        ("<?last=2>; rel=next", back, "a page links to an earlier one"),
        ("<?last=2>; rel=next", again, "a page links to an earlier one"),
        ("<>; rel=next", last, "the link to its next page is empty"),
        ("</v2/a/b/tags/list?last=2; rel=next", last, "the link to its next page can't be read"),
        ("/v2/a/b/tags/list?last=2; rel=next", last, "the link to its next page can't be read"),
        ("<http://[/v2/a/b/tags/list?last=2>; rel=next", last, "the link to its next page can't be read"),
        ("</v2/a/other/tags/list?last=2>; rel=next", last, "leads to `/v2/a/other/tags/list`"),
        ("</v2/a/b/tags/list/../../manifests/x?last=2>; rel=next", last, "leads to `/v2/a/b/manifests/x`"),
        ("<mailto:registry@example.org>; rel=next", last, "something else"),
    ] {
        let error = list(move |query| if query == "?n=1000" { first(link) } else { second() }).await.unwrap_err();
        assert!(matches!(error, RegistryError::TagsIncomplete { .. }), "{link}: {error:?}");
        assert_eq!(error.fault(), Fault::Publication);
        let said = said(error);
        assert!(said.contains("the list of tags of `") && said.contains(why), "{link}: {said}");
        assert!(said.contains("\nhint: "), "{link}: {said}");
    }
    // These aren't even first pages.
    let error = list(|_| ok("X: y", r#"{"errors":[{"code":"UNKNOWN"}]}"#)).await.unwrap_err();
    assert!(matches!(error, RegistryError::TagsIncomplete { .. }), "{error:?}");
    for body in ["", "<html>", "[]", r#"{"tags":{}}"#, r#"{"tags":[1]}"#] {
        let error = list(move |_| ok("X: y", body)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Failed { .. }), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn an_endless_list_is_an_error() {
    let error = list(|query| {
        let page: u64 = query.strip_prefix("?page=").map_or(0, |page| page.parse().unwrap());
        first(&format!("<?page={}>; rel=next", page + 1))
    });
    let said = said(error.await.unwrap_err());
    assert!(said.contains("it has more than 1000 pages"), "{said}");
}

#[tokio::test]
async fn a_missing_repository_has_no_tags() {
    for body in [r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#, "", "<html>"] {
        let tags = list(move |_| status("404 Not Found", "X: y", body));
        assert_eq!(tags.await.unwrap(), Vec::<String>::new(), "{body}");
    }
    for body in [r#"{"tags":null}"#, r#"{"tags":[]}"#, r#"{"name":"a/b"}"#] {
        assert_eq!(list(move |_| ok("X: y", body)).await.unwrap(), Vec::<String>::new(), "{body}");
    }
}

#[tokio::test]
async fn a_page_that_is_missing_for_a_moment_is_requested_again() {
    let asked = AtomicU64::new(0);
    let tags = list(move |query| match query {
        "?n=1000" => first("<?last=2>; rel=next"),
        _ if asked.fetch_add(1, Ordering::Relaxed) < 2 => status("404 Not Found", "X: y", ""),
        _ => ok("X: y", r#"{"tags":["3"]}"#),
    });
    assert_eq!(tags.await.unwrap(), ["1", "2", "3"]);
}
