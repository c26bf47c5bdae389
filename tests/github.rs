//! `api::github` with a stand-in that is validated with GitHub's own description.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::time::Duration;

use publish_variants::api::github::{Edited, Error, GitHub, Standing};
use publish_variants::error::{Failure, StageError as _};
use publish_variants::secret::Secret;
use support::github::{self, Failure as Broken, READ_TOKEN, Release, WRITE_TOKEN};

const REPOSITORY: &str = "acme/tool";

/// Starts a stand-in with these releases; `None` if GitHub's description isn't available.
fn stand_in(releases: Vec<Release>) -> Option<github::GitHub> {
    let stand_in = github::GitHub::start(REPOSITORY, releases);
    if stand_in.is_none() {
        support::parts::skip("GitHub's description is not at hand");
    }
    stand_in
}

fn client(stand_in: &github::GitHub, token: &str) -> GitHub {
    GitHub::new(&stand_in.url(), Secret::new(token).as_ref(), REPOSITORY, &[])
        .unwrap()
        .with_deadline(Duration::from_secs(8))
}

/// Appends a line, once.
fn with_line(body: &str) -> Result<String, Failure> {
    Ok(if body.ends_with("our line\n") { body.to_owned() } else { format!("{body}our line\n") })
}

#[tokio::test]
async fn a_release_is_found_by_its_tag_and_a_draft_is_not() {
    let releases = vec![Release::new("v1.4.0"), Release::new("tool/1.5"), Release::new("2.0.0").draft()];
    let Some(stand_in) = stand_in(releases) else { return };
    for token in [WRITE_TOKEN, READ_TOKEN, ""] {
        let client = client(&stand_in, token);
        let release = client.release_by_tag("v1.4.0").await.unwrap().unwrap();
        assert_eq!((release.tag_name.as_str(), release.draft, release.prerelease), ("v1.4.0", false, false));
        assert_eq!(release.published_at.unwrap().to_rfc3339(), "2026-01-15T20:53:11+00:00");
        assert_eq!(release.body, stand_in.release("v1.4.0").body);
        assert_eq!(client.release_by_tag("tool/1.5").await.unwrap().unwrap().tag_name, "tool/1.5");
        assert_eq!(client.release_by_tag("2.0.0").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_release_that_is_not_there_is_reported_with_all_that_was_looked_for() {
    let Some(stand_in) = stand_in(vec![Release::new("v1.4.0")]) else { return };
    let client = client(&stand_in, READ_TOKEN);
    assert_eq!(client.release(&["1.4.0", "v1.4.0"]).await.unwrap().tag_name, "v1.4.0");
    let failure = Failure::from(client.release(&["1.4.1", "v1.4.1"]).await.unwrap_err());
    insta::assert_snapshot!(failure, @r"
    `acme/tool` has no release of `1.4.1` or `v1.4.1`
    hint: publish the release first (a draft has no tag), or correct `version`
    ");
    assert_eq!(failure.exit_code(), 2);
}

#[tokio::test]
async fn a_tag_leads_to_its_commit_also_when_it_is_annotated() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let releases = vec![Release::new("1.4.0").commit(commit).annotated(), Release::new("tool/1.5")];
    let Some(stand_in) = stand_in(releases) else { return };
    let client = client(&stand_in, READ_TOKEN);
    assert_eq!(client.commit_of_tag("1.4.0").await.unwrap().sha, commit);
    assert_eq!(client.commit_of_tag("tool/1.5").await.unwrap().sha, stand_in.release("tool/1.5").commit);
    // `main` is a branch, but only tags are looked up.
    let failure = Failure::from(client.commit_of_tag("main/../1.4").await.unwrap_err());
    insta::assert_snapshot!(failure, @r"
    `acme/tool` has no tag `main/../1.4`
    hint: push the tag, or correct `version`
    ");
}

#[tokio::test]
async fn the_first_spelling_of_a_tag_that_exists_determines_the_standing_of_a_version() {
    let releases = vec![
        Release::new("1.0.0"),
        Release::new("v1.1.0"),
        Release::new("v1.2.0").prerelease(),
        Release::new("1.3.0").draft().prerelease(),
        Release::new("1.4.0").draft(),
        Release::new("v1.5.0").draft(),
        Release::new("tool/1.7.0"),
        Release::new("v1.8.0"),
        Release::new("1.9.0").draft().prerelease(),
    ];
    let Some(stand_in) = stand_in(releases) else { return };
    for tag in ["v1.5.0", "1.6.0", "1.8.0", "1.9.0"] {
        stand_in.add_tag(Release::new(tag));
    }
    let writer = client(&stand_in, WRITE_TOKEN);
    for (version, standing, unseen) in [
        ("1.0.0", Standing::Final, Standing::Final),
        ("1.1.0", Standing::Final, Standing::Final),
        ("1.2.0", Standing::Prerelease, Standing::Prerelease),
        ("1.3.0", Standing::Prerelease, Standing::Absent),
        ("1.4.0", Standing::Absent, Standing::Absent),
        ("1.5.0", Standing::Tagged, Standing::Tagged),
        ("1.6.0", Standing::Tagged, Standing::Tagged),
        ("1.8.0", Standing::Tagged, Standing::Tagged),
        ("1.9.0", Standing::Prerelease, Standing::Tagged),
        ("1.10.0", Standing::Absent, Standing::Absent),
    ] {
        let tags = [version, &format!("v{version}")];
        assert_eq!(writer.standing(&tags).await.unwrap(), standing, "{version}");
        // A client that may not write can't see drafts.
        for token in [READ_TOKEN, ""] {
            assert_eq!(client(&stand_in, token).standing(&tags).await.unwrap(), unseen, "{version}");
        }
    }
    assert_eq!(writer.standing(&["1.7.0", "tool/1.7.0"]).await.unwrap(), Standing::Final);
    assert_eq!(writer.standing(&[]).await.unwrap(), Standing::Absent);
}

#[tokio::test]
async fn drafts_are_listed_once_and_not_before_they_are_needed() {
    let mut releases: Vec<_> = (0..350).map(|patch| Release::new(&format!("1.0.{patch}"))).collect();
    releases.push(Release::new("0.9.0").draft().prerelease().published_at("2020-01-01T00:00:00Z"));
    let draft = Release::new("2.0.0").draft().prerelease();
    releases.insert(60, draft);
    let Some(stand_in) = stand_in(releases) else { return };
    let client = client(&stand_in, WRITE_TOKEN);
    let pages = || -> Vec<String> {
        let requests = stand_in.requests();
        requests.iter().filter(|asked| asked.target.contains("/releases?")).map(|asked| asked.target.clone()).collect()
    };
    assert_eq!(client.standing(&["1.0.7"]).await.unwrap(), Standing::Final);
    assert_eq!(pages(), Vec::<String>::new());
    for _ in 0..2 {
        let other = client.clone();
        let (standing, beyond) = tokio::join!(client.standing(&["2.0.0"]), other.standing(&["0.9.0"]));
        assert_eq!((standing.unwrap(), beyond.unwrap()), (Standing::Prerelease, Standing::Absent), "300 are read");
    }
    let list = "/repos/acme/tool/releases?per_page=100";
    assert_eq!(pages(), [list.to_owned(), format!("{list}&page=2"), format!("{list}&page=3")]);
}

#[tokio::test]
async fn the_standing_of_a_version_survives_transient_failures_and_is_not_guessed_after_permanent_ones() {
    let Some(stand_in) = stand_in(vec![]) else { return };
    stand_in.add_tag(Release::new("1.4.0"));
    let client = client(&stand_in, WRITE_TOKEN);
    stand_in.fail("GET", 1, Broken::BadGateway);
    assert_eq!(client.standing(&["1.4.0"]).await.unwrap(), Standing::Tagged);
    stand_in.fail("GET", 1_000, Broken::ServerError);
    let error = client.with_deadline(Duration::from_secs(1)).standing(&["1.4.0"]).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 500, .. }), "{error:?}");
}

#[tokio::test]
async fn optional_things_are_found_or_none() {
    let releases = vec![Release::new("v1.4.0").annotated(), Release::new("1.5.0").draft()];
    let Some(stand_in) = stand_in(releases) else { return };
    stand_in.add_tag(Release::new("1.6.0"));
    let client = client(&stand_in, READ_TOKEN);
    let found = client.find_release(&["1.4.0", "v1.4.0"]).await.unwrap().unwrap();
    assert_eq!(found.tag_name, "v1.4.0");
    let commit = client.find_commit(&["1.4.0", "v1.4.0"]).await.unwrap().unwrap();
    assert_eq!(commit.sha, stand_in.release("v1.4.0").commit);
    for tags in [&["1.5.0", "v1.5.0"], &["1.7.0", "v1.7.0"]] {
        assert_eq!(client.find_release(tags).await.unwrap(), None);
        assert_eq!(client.find_commit(tags).await.unwrap(), None);
    }
    assert_eq!(client.find_release(&["1.6.0"]).await.unwrap(), None);
    assert_eq!(client.find_commit(&["v1.6.0", "1.6.0"]).await.unwrap().unwrap().sha, Release::new("1.6.0").commit);

    let stranger = self::client(&stand_in, "ghs_an_expired_token");
    assert!(matches!(stranger.find_release(&["1.4.0"]).await, Err(Error::Unauthorized { .. })));
    assert!(matches!(stranger.find_commit(&["1.4.0"]).await, Err(Error::Unauthorized { .. })));
}

#[tokio::test]
async fn previous_releases_are_those_published_before_the_newest_first() {
    let releases = vec![
        Release::new("1.2.0").published_at("2026-01-01T00:00:00Z"),
        Release::new("1.4.0").published_at("2026-03-01T00:00:00Z"),
        Release::new("1.3.0").published_at("2026-02-01T00:00:00Z"),
        Release::new("1.5.0").published_at("2026-04-01T00:00:00Z").draft(),
    ];
    let Some(stand_in) = stand_in(releases) else { return };
    let client = client(&stand_in, WRITE_TOKEN);
    let release = client.release(&["1.3.0"]).await.unwrap();
    let previous = client.previous_releases(Some(&release)).await.unwrap();
    assert_eq!(previous.iter().map(|release| release.tag_name.as_str()).collect::<Vec<_>>(), ["1.2.0"]);
    let release = client.release(&["1.4.0"]).await.unwrap();
    let previous = client.previous_releases(Some(&release)).await.unwrap();
    assert_eq!(previous.iter().map(|release| release.tag_name.as_str()).collect::<Vec<_>>(), ["1.3.0", "1.2.0"]);
}

#[tokio::test]
async fn the_repository_tells_its_facts() {
    let Some(stand_in) = stand_in(vec![]) else { return };
    let facts = client(&stand_in, READ_TOKEN).repository().await.unwrap();
    assert_eq!((facts.full_name.as_str(), facts.name.as_str()), (REPOSITORY, "tool"));
    assert!(facts.html_url.ends_with("/acme/tool"), "{}", facts.html_url);

    let elsewhere = GitHub::new(&stand_in.url(), None, "acme/other", &[]).unwrap();
    insta::assert_snapshot!(Failure::from(elsewhere.repository().await.unwrap_err()), @r"
    repository `acme/other` was not found on GitHub
    hint: a private repository needs `github-token`
    ");
}

#[tokio::test]
async fn notes_are_written_once_and_left_alone_the_second_time() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0").body("Notes\r\n")]) else { return };
    let client = client(&stand_in, WRITE_TOKEN);
    let id = stand_in.release("1.4.0").id;
    assert_eq!(client.edit_release_body(id, with_line).await.unwrap(), Edited::Written);
    assert_eq!(stand_in.release("1.4.0").body, "Notes\r\nour line\n");
    assert_eq!(client.edit_release_body(id, with_line).await.unwrap(), Edited::AlreadyThere);
    assert_eq!(stand_in.count("PATCH"), 1);
}

#[tokio::test]
async fn edits_by_others_are_kept() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0").body("Notes\n")]) else { return };
    let client = client(&stand_in, WRITE_TOKEN);
    stand_in.edit_after_next_read("1.4.0", "Better notes\n");
    client.edit_release_body(stand_in.release("1.4.0").id, with_line).await.unwrap();
    assert_eq!(stand_in.release("1.4.0").body, "Better notes\nour line\n");
}

#[tokio::test]
async fn edits_by_others_during_a_retry_are_kept() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0").body("Notes\n")]) else { return };
    let client = client(&stand_in, WRITE_TOKEN);
    let id = stand_in.release("1.4.0").id;
    stand_in.fail("PATCH", 1, Broken::SecondaryRateLimit { status: 403, retry_after: Some(2) });
    let edit = client.edit_release_body(id, with_line);
    let somebody = async {
        while stand_in.count("PATCH") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stand_in.set_body("1.4.0", "Better notes\n");
    };
    let (edited, ()) = tokio::join!(edit, somebody);
    assert_eq!(edited.unwrap(), Edited::Written);
    assert_eq!(stand_in.release("1.4.0").body, "Better notes\nour line\n");
}

#[tokio::test]
async fn a_lost_answer_to_a_write_is_noticed_by_reading() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0").body("Notes\n")]) else { return };
    let client = client(&stand_in, WRITE_TOKEN);
    stand_in.fail("PATCH", 1, Broken::LoseAnswer);
    let edited = client.edit_release_body(stand_in.release("1.4.0").id, with_line).await.unwrap();
    assert_eq!(edited, Edited::Written);
    assert_eq!(stand_in.count("PATCH"), 1);
    assert_eq!(stand_in.release("1.4.0").body, "Notes\nour line\n");
}

#[tokio::test]
async fn notes_that_keep_changing_are_an_error() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0").body("Notes\n")]) else { return };
    let client = client(&stand_in, WRITE_TOKEN);
    for n in 0..100 {
        stand_in.edit_after_next_read("1.4.0", &format!("Notes {n}\n"));
    }
    let error = client.edit_release_body(stand_in.release("1.4.0").id, with_line).await.unwrap_err();
    assert!(error.to_string().contains("changed each time"), "{error}");
    assert_eq!(stand_in.count("PATCH"), 0);
}

/// The jobs of a workflow's matrix end at about the same time.
#[tokio::test]
async fn notes_that_many_jobs_write_are_written_in_the_end() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0").body("Notes\n")]) else { return };
    for n in 0..12 {
        stand_in.edit_after_next_read("1.4.0", &format!("Notes {n}\n"));
    }
    let client = client(&stand_in, WRITE_TOKEN).with_deadline(Duration::from_secs(120));
    client.edit_release_body(stand_in.release("1.4.0").id, with_line).await.unwrap();
    assert_eq!(stand_in.release("1.4.0").body, "Notes 11\nour line\n");
}

/// Another job has read the notes before this one wrote them, and writes after this one has read them back.
#[tokio::test]
async fn a_section_that_another_job_overwrites_is_written_again() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0").body("Notes\n")]) else { return };
    for (_read, then) in [("at first", "Notes\n"), ("before the write", "Notes\n"), ("after it", "Notes\ntheirs\n")] {
        stand_in.edit_after_next_read("1.4.0", then);
    }
    client(&stand_in, WRITE_TOKEN).edit_release_body(stand_in.release("1.4.0").id, with_line).await.unwrap();
    assert_eq!(stand_in.release("1.4.0").body, "Notes\ntheirs\nour line\n");
    assert_eq!(stand_in.count("PATCH"), 2);
}

#[tokio::test]
async fn transient_failures_are_retried() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0")]) else { return };
    let client = client(&stand_in, READ_TOKEN);
    for failure in [
        Broken::Reset,
        Broken::BadGateway,
        Broken::ServerError,
        Broken::Unavailable,
        Broken::LoseAnswer,
        Broken::RateLimit { reset_in: 1 },
        Broken::SecondaryRateLimit { status: 403, retry_after: Some(1) },
        Broken::SecondaryRateLimit { status: 429, retry_after: Some(1) },
    ] {
        stand_in.fail("GET", 1, failure.clone());
        let before = stand_in.count("GET");
        let release = client.release_by_tag("1.4.0").await.unwrap_or_else(|error| panic!("{failure:?}: {error}"));
        assert!(release.is_some(), "{failure:?}");
        // The HTTP client also reopens a kept connection that was closed.
        assert!(stand_in.count("GET") >= before + 2, "{failure:?} was not met");
    }
}

#[tokio::test]
async fn a_limit_beyond_the_deadline_is_not_waited_for() {
    let Some(stand_in) = stand_in(vec![]) else { return };
    stand_in.fail("GET", 1, Broken::RateLimit { reset_in: 3_000 });
    let error = client(&stand_in, "").repository().await.unwrap_err();
    assert!(matches!(error, Error::Limited { .. }), "{error:?}");
    let text = Failure::from(error).to_string();
    assert!(
        text.contains("GitHub asks to wait until 20") && text.contains("with `github-token` the limit is higher"),
        "{text}"
    );
    assert_eq!(stand_in.count("GET"), 1);
}

#[tokio::test]
async fn permanent_outages_fail_at_the_deadline() {
    let Some(stand_in) = stand_in(vec![]) else { return };
    let client = client(&stand_in, READ_TOKEN).with_deadline(Duration::from_secs(2));
    stand_in.fail("GET", 1_000, Broken::BadGateway);
    let Error::Refused { status, attempts, message, .. } = client.repository().await.unwrap_err() else {
        panic!("another error");
    };
    assert_eq!((status, message.as_str()), (502, "an HTML page"));
    assert!(attempts > 1);

    let nobody =
        GitHub::new("http://127.0.0.1:1", None, REPOSITORY, &[]).unwrap().with_deadline(Duration::from_secs(1));
    let failure = Failure::from(nobody.repository().await.unwrap_err());
    assert!(failure.to_string().starts_with("GitHub didn't answer `GET /repos/acme/tool` in "), "{failure}");
    assert!(failure.to_string().contains("Connection refused"), "{failure}");
    assert_eq!(failure.exit_code(), 1);
}

#[tokio::test]
async fn refusals_say_what_to_change() {
    let Some(stand_in) = stand_in(vec![Release::new("1.4.0")]) else { return };
    let id = stand_in.release("1.4.0").id;

    let failure = client(&stand_in, READ_TOKEN).edit_release_body(id, with_line).await.unwrap_err();
    insta::assert_snapshot!(failure.to_string().replace(&id.to_string(), "ID"), @r"
    `github-token` may not write the releases of `acme/tool` (`PATCH /repos/acme/tool/releases/ID`: Resource not accessible by integration)
    hint: give the job `permissions: contents: write`
    ");
    assert_eq!(failure.exit_code(), 1, "images have been published before the notes are written");

    let failure = client(&stand_in, "").edit_release_body(id, with_line).await.unwrap_err();
    insta::assert_snapshot!(failure.to_string().replace(&id.to_string(), "ID"), @r"
    GitHub needs a token (`PATCH /repos/acme/tool/releases/ID`: Requires authentication)
    hint: set `github-token`; in a workflow its default is `${{ github.token }}`
    ");

    let token = "ghs_an_expired_token";
    let error = client(&stand_in, token).release_by_tag("1.4.0").await.unwrap_err();
    assert_eq!(error.fault(), publish_variants::error::Fault::Input);
    assert!(!format!("{error:?} {error}").contains(token));
    insta::assert_snapshot!(Failure::from(error), @r"
    GitHub doesn't accept `github-token` (`GET /repos/acme/tool/releases/tags/1.4.0`: Bad credentials)
    hint: the token has expired or was revoked; in a workflow, leave `github-token` at its default
    ");
}

#[tokio::test]
async fn a_debug_view_of_the_client_shows_no_token() {
    let client = GitHub::new("https://api.github.com", Secret::new(WRITE_TOKEN).as_ref(), REPOSITORY, &[]).unwrap();
    assert!(!format!("{client:?}").contains(WRITE_TOKEN));
}
