//! What outsiders see of publications: in order, in parallel, disturbed, and stopped half-way.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use support::fault_proxy::{Fault, FaultProxy, Recorded, Rule};
use support::image::{TinyImage, executable};
use support::parts;
use support::registry::{Auth, Registry};
use support::runner::Done;
use support::token_server::TokenServer;

use world::{PASSWORD, World, pushes};

const AMD64: &[&str] = &["linux/amd64"];

/// The digest that a tag names.
async fn digest(registry: &Registry, repository: &str, tag: &str) -> Option<String> {
    registry.manifest(repository, tag).await.map(|manifest| manifest.digest())
}

async fn setting(versions: &[&str]) -> Option<(World, String)> {
    let Some(engine) = parts::engine() else {
        parts::skip("no engine");
        return None;
    };
    Some((World::start(AMD64, versions).await?, engine))
}

/// The tags that were kept at the first destination, each as `tag: reason`.
fn kept(done: &Done) -> Vec<String> {
    let report = done.json("images");
    let variants = report["variants"].as_array().unwrap().clone();
    let kept = variants.iter().flat_map(|variant| variant["destinations"][0]["kept"].as_array().unwrap().clone());
    kept.map(|kept| format!("{}: {}", kept["tag"].as_str().unwrap(), kept["reason"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_rolling_tag_never_goes_back_and_each_series_goes_its_own_way() {
    let Some((world, engine)) = setting(&["0.9.20", "0.9.26", "0.9.27", "0.9.28", "1.0.0"]).await else { return };
    let publish = async |version: &str| world.small_step(&engine, "acme", version).run().await.succeeded();
    let named = async |tag: &str| digest(&world.open, "acme/uv", tag).await.unwrap();

    let newer = publish("0.9.27").await.json("digests")["alpine3.23"].clone();
    let older = publish("0.9.26").await;
    for tag in ["alpine", "alpine3.23", "0.9-alpine", "0.9-alpine3.23"] {
        assert_eq!(newer, named(tag).await, "{tag}");
    }
    assert_eq!(older.json("digests")["alpine3.23"], named("0.9.26-alpine").await);
    let expected = ["0.9-alpine3.23", "0.9-alpine", "alpine3.23", "alpine"];
    let expected = expected.map(|tag| format!("{tag}: belongs to 0.9.27, which is newer"));
    assert_eq!(kept(&older), expected);
    let kept = "acme/uv  kept (belongs to 0.9.27, which is newer): 0.9-alpine3.23, 0.9-alpine, alpine3.23, alpine";
    assert!(older.log.contains(kept), "{}", older.log);
    assert!(world.github.release("0.9.26").body.contains("belongs to 0.9.27, which is newer"));

    let first = publish("1.0.0").await.json("digests")["alpine3.23"].clone();
    let backport = publish("0.9.28").await.json("digests")["alpine3.23"].clone();
    assert_eq!((first.clone(), backport), (named("alpine").await.into(), named("0.9-alpine").await.into()));

    publish("0.9.20").await;
    assert_eq!(first, named("alpine").await, "an old release that is published late gets its exact tags");
    assert!(world.open.tags("acme/uv").await.contains(&"0.9.20-alpine".to_owned()));
}

#[tokio::test]
async fn a_newer_release_of_another_tool_holds_the_rolling_tags_if_github_has_it_and_whatever_its_labels_say() {
    let Some((world, engine)) = setting(&["0.9.26", "0.9.27"]).await else { return };
    let labelled = |version: &str| {
        let labels = json!({ "org.opencontainers.image.version": format!("{version}-alpine3.22") });
        TinyImage::new(AMD64).layer(vec![executable("/x", version)]).config("Labels", labels)
    };
    let (newer, older) = (labelled("0.9.27").without_index().build(), labelled("0.9.25").build());
    world.open.push(&newer, "acme/uv", "0.9.27-alpine").await;
    let newer = world.open.push(&newer, "acme/uv", "alpine").await;
    // A label alone is no evidence: anybody can set one, and bases have their own.
    world.open.push(&labelled("0.9.28").build(), "acme/uv", "alpine3.23").await;
    world.open.push(&older, "acme/uv", "0.9-alpine3.23").await;
    let done = world.small_step(&engine, "acme", "0.9.26").run().await.succeeded();
    assert_eq!(digest(&world.open, "acme/uv", "alpine").await, Some(newer));
    let kept = kept(&done);
    let held = |tag: &str| kept.iter().any(|kept| kept.starts_with(&format!("{tag}: probably belongs to 0.9.27")));
    assert!(kept.len() == 2 && held("alpine") && held("0.9-alpine"), "{kept:?}");
    assert!(done.log.contains("::warning") && done.log.contains("ignore-versions"), "{}", done.log);
    for tag in ["alpine3.23", "0.9-alpine3.23"] {
        assert_eq!(done.json("digests")["alpine3.23"], digest(&world.open, "acme/uv", tag).await.unwrap(), "{tag}");
    }
}

/// Registries can be told to remove untagged content, and some people remove too much.
#[tokio::test]
async fn a_rolling_tag_of_an_image_with_missing_parts_moves_on() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let old = TinyImage::new(AMD64).layer(vec![executable("/x", "0.9.25")]).build();
    world.open.push(&old, "acme/uv", "alpine").await;
    let child = world.open.manifest("acme/uv", "alpine").await.unwrap().json()["manifests"][0]["digest"].clone();
    world.open.delete_manifest("acme/uv", child.as_str().unwrap()).await;
    let done = world.small_step(&engine, "acme", "0.9.26").run().await.succeeded();
    assert_eq!(done.json("digests")["alpine3.23"], digest(&world.open, "acme/uv", "alpine").await.unwrap());
}

#[tokio::test]
async fn no_rolling_tag_moves_with_never_and_every_one_moves_with_always() {
    let Some((world, engine)) = setting(&["0.9.26", "0.9.27"]).await else { return };
    let run = async |version: &str, rolling: &str| {
        world.small_step(&engine, "acme", version).input("rolling", rolling).run().await.succeeded();
        digest(&world.open, "acme/uv", "alpine").await
    };
    assert_eq!(run("0.9.27", "never").await, None);
    let newer = run("0.9.27", "always").await;
    assert!(newer.is_some());
    assert_ne!(run("0.9.26", "always").await, newer);
}

/// The tags of the small step.
const TAGS: [&str; 6] = ["0.9.26-alpine3.23", "0.9.26-alpine", "0.9-alpine3.23", "0.9-alpine", "alpine3.23", "alpine"];

/// The one digest that all tags of the small step name.
async fn named(registry: &Registry) -> String {
    let mut digests = BTreeSet::new();
    for tag in TAGS {
        digests.insert(digest(registry, "acme/uv", tag).await.unwrap());
    }
    assert_eq!(digests.len(), 1, "the tags of one variant disagree");
    digests.pop_first().unwrap()
}

#[tokio::test]
async fn a_release_is_finished_on_the_bases_that_it_was_begun_on_and_replaced_only_on_request() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let begun = world.small_step(&engine, "acme", "0.9.26").run().await.succeeded();
    let published = named(&world.open).await;
    assert_eq!(begun.json("digests")["alpine3.23"], published);
    world.push_alpine(AMD64, "3.23.1").await;

    let images = format!("{}/acme/uv\n{}/acme/uv", world.open.host(), world.closed.host());
    let step = |on_conflict: &str| {
        world.small_step(&engine, "acme", "0.9.26").input("images", &images).input("on-conflict", on_conflict)
    };
    let finished = step("fail").run().await.succeeded();
    assert_eq!((named(&world.open).await, named(&world.closed).await), (published.clone(), published.clone()));
    assert_eq!(finished.json("digests")["alpine3.23"], published);
    assert!(finished.log.contains("0 variants to be built"), "{}", finished.log);
    assert!(finished.summary.contains("it is published"), "{}", finished.summary);
    assert_eq!(step("").run().await.succeeded().outputs["status"], "unchanged");

    let replaced = step("replace").run().await.succeeded();
    let now = named(&world.open).await;
    assert!(replaced.log.contains("1 variant to be built"), "{}", replaced.log);
    assert_eq!((replaced.json("digests")["alpine3.23"].as_str().unwrap(), &now), (&*now, &named(&world.closed).await));
    assert_ne!(now, published);
}

#[tokio::test]
async fn an_exact_tag_that_another_plan_has_taken_is_kept_or_replaced_or_fails_the_run() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    world.small_step(&engine, "acme", "0.9.26").run().await.succeeded();
    let published = named(&world.open).await;
    let step = |on_conflict: &str| {
        world.small_step(&engine, "acme", "0.9.26").input("env", "OTHER=plan").input("on-conflict", on_conflict)
    };

    let failed = step("fail").run().await;
    assert_eq!(failed.code, Some(1), "{}", failed.log);
    assert!(failed.log.contains("0.9.26-alpine3.23` already names sha256:"), "{}", failed.log);
    assert_eq!(named(&world.open).await, published);

    let keeping = step("");
    let kept = keeping.run().await.succeeded();
    assert!(kept.log.contains("::warning"), "a conflict is told:\n{}", kept.log);
    assert_eq!(named(&world.open).await, published);
    assert_eq!(kept.outputs["status"], "unchanged");
    assert_eq!((kept.json("digests"), &*kept.outputs["tags"]), (json!({}), ""), "what was taken is not this release's");
    assert_eq!(kept.outputs["kept"].lines().count(), TAGS.len(), "{}", kept.outputs["kept"]);
    let checksums = std::fs::read_to_string(keeping.workspace().join(&kept.outputs["checksums"])).unwrap();
    assert_eq!(checksums, "");

    let replaced = step("replace").run().await.succeeded();
    assert_eq!(replaced.json("digests")["alpine3.23"], named(&world.open).await);
    assert_ne!(named(&world.open).await, published);
}

/// The matrix may have moved `alpine` to the next version of Alpine since the release.
#[tokio::test]
async fn a_taken_exact_tag_holds_only_its_own_entry() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let other = TinyImage::new(AMD64).layer(vec![executable("/x", "on alpine 3.22")]).build();
    let other = world.open.push(&other, "acme/uv", "0.9.26-alpine").await;
    let done = world.small_step(&engine, "acme", "0.9.26").run().await.succeeded();
    let ours = done.json("digests")["alpine3.23"].as_str().unwrap().to_owned();
    assert_ne!(ours, other);
    let named = async |tag: &str| digest(&world.open, "acme/uv", tag).await;
    for tag in ["0.9.26-alpine3.23", "0.9-alpine3.23", "alpine3.23"] {
        assert_eq!(named(tag).await.as_deref(), Some(&*ours), "{tag}");
    }
    assert_eq!(named("0.9.26-alpine").await, Some(other.clone()));
    for tag in ["0.9-alpine", "alpine"] {
        assert_eq!(named(tag).await, None, "{tag} isn't given to an image that nobody knows");
    }
    let told = format!("0.9.26-alpine: already names {other}, which another tool has published");
    assert!(kept(&done).contains(&told), "{:?}", kept(&done));
    assert!(!done.outputs["tags"].contains("0.9.26-alpine\n"), "{}", done.outputs["tags"]);
}

/// Without knowing that a variant is called `22`, `0.9.26-22` is version `0.9.26.post22` of the source.
#[tokio::test]
async fn the_sources_rolling_tags_are_never_a_variants() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let matrix = format!("{}/library/alpine:3.23,22", world.open.host());
    let step = world.small_step(&engine, "acme", "0.9.26").input("source-tags", "default").input("matrix", &matrix);
    let source = world.open.manifest("astral-sh/uv", "0.9.26").await.unwrap().json();
    for _ in 0..2 {
        let done = step.run().await.succeeded();
        let named = async |tag: &str| digest(&world.open, "acme/uv", tag).await.unwrap();
        let latest = world.open.manifest("acme/uv", "latest").await.unwrap().json();
        assert_eq!(latest["manifests"], source["manifests"], "the source's manifests stay as they are");
        assert_eq!(latest["annotations"]["org.opencontainers.image.version"], "0.9.26");
        assert_eq!((named("0.9").await, named("0.9.26").await), (named("latest").await, named("latest").await));
        assert_eq!(done.json("digests")["22"], named("22").await);
    }
}

/// Ubuntu's images state the version `24.04`, and so do images that other tools build on them without setting a label.
#[tokio::test]
async fn a_version_that_may_belong_to_the_base_holds_no_rolling_tag() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let labels = json!({ "org.opencontainers.image.version": "24.04" });
    let before = TinyImage::new(AMD64).layer(vec![executable("/x", "0.9.25")]).config("Labels", labels).build();
    world.open.push(&before, "acme/uv", "alpine").await;
    let done = world.small_step(&engine, "acme", "0.9.26").run().await.succeeded();
    assert_eq!(done.json("digests")["alpine3.23"], digest(&world.open, "acme/uv", "alpine").await.unwrap());
}

/// The manifests that were pushed, in order: digests, exact tags and rolling tags, each with its repository.
fn puts(proxy: &FaultProxy) -> Vec<(String, String)> {
    let requests = proxy.requests().into_iter().filter(|request| request.asked.method == "PUT");
    let manifest = |path: &str| path.strip_prefix("/v2/")?.split_once("/manifests/").map(|(a, b)| (a.into(), b.into()));
    requests.filter_map(|request| manifest(&request.asked.path)).collect()
}

#[tokio::test]
async fn tags_are_written_after_all_content_and_rolling_ones_after_exact_ones() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let proxy = FaultProxy::start(world.open.host());
    let images = format!("{host}/one/uv\n{host}/two/uv", host = proxy.host());
    let step = world.step(&engine, "unused", "0.9.26").input("images", &images).input("source-tags", "default");
    step.run().await.succeeded();
    let class = |(_, name): &(String, String)| match name.as_str() {
        name if name.starts_with("sha256:") => 0,
        name if name.starts_with("0.9.26") => 1,
        "0.9" | "latest" => 3,
        _ => 2,
    };
    let order: Vec<i32> = puts(&proxy).iter().map(class).collect();
    assert!(order.is_sorted(), "{:#?}", puts(&proxy));
    let count = |wanted| order.iter().filter(|class| **class == wanted).count();
    // In two repositories each: four exact tags of variants and one of the source, eight rolling ones, and two of the
    // source.
    assert_eq!([count(1), count(2), count(3)], [2 * 5, 2 * 8, 2 * 2]);
    let requests = proxy.requests();
    let is_put = |put: &&Recorded| put.asked.method == "PUT" && put.asked.path.contains("/manifests/");
    let first_tag = requests.iter().position(|r| is_put(&r) && r.asked.path.contains("/manifests/0.")).unwrap();
    let pushed: Vec<usize> = (0..first_tag).filter(|at| is_put(&&requests[*at])).collect();
    assert!(pushed.len() >= 2 * (2 * 3), "{requests:#?}");
    for at in pushed {
        let path = &requests[at].asked.path;
        let read_back = requests[at..first_tag].iter().any(|r| r.asked.method == "HEAD" && r.asked.path == *path);
        assert!(read_back, "{path} isn't read back before the first tag is written");
    }
}

/// Two releases at the same time: whichever is delayed, and wherever, the rolling tags end at the newer one.
#[tokio::test]
async fn two_runs_that_cross_leave_the_rolling_tags_at_the_newer_version() {
    let Some((world, engine)) = setting(&["0.9.27", "0.9.28"]).await else { return };
    let moments = ["/manifests/sha256:", "-alpine", "/manifests/alpine", "/tags/list", "/manifests/0.9-alpine"];
    for (number, held_up) in moments.iter().flat_map(|moment| [(*moment, "0.9.27"), (*moment, "0.9.28")]).enumerate() {
        let owner = format!("race-{number}");
        let run = async |version: &str| {
            let proxy = FaultProxy::start(world.open.host());
            if held_up.1 == version {
                proxy.inject(Rule::on("*", held_up.0, Fault::Stall(Duration::from_millis(700))).and(&owner).times(2));
            }
            let images = format!("{}/{owner}/uv", proxy.host());
            world.small_step(&engine, &owner, version).input("images", &images).run().await.succeeded()
        };
        let (_, newer) = tokio::join!(run("0.9.27"), run("0.9.28"));
        let expected = newer.json("digests")["alpine3.23"].clone();
        for tag in ["alpine", "alpine3.23", "0.9-alpine", "0.9-alpine3.23"] {
            let shown = digest(&world.open, &format!("{owner}/uv"), tag).await.unwrap();
            assert_eq!(expected, shown, "{tag}, with {held_up:?} held up");
        }
    }
}

#[tokio::test]
async fn a_destination_that_refuses_a_push_is_reported_before_anything_is_built() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let tokens = TokenServer::start();
    tokens.add_user("robot", "s3cret-robot");
    tokens.grant("robot", "acme/*", "pull");
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else { return parts::skip("no docker-registry") };
    let images = format!("{}/acme/uv", registry.host());
    let step = |password: &str| {
        let credentials = format!("{} robot {password}", registry.host());
        world.small_step(&engine, "x", "0.9.26").input("images", &images).input("credentials", &credentials)
    };
    for password in ["s3cret-robot", "wrong"] {
        let done = step(password).run().await;
        assert_eq!(done.code, Some(1), "{}", done.log);
        assert!(done.log.contains(registry.host()) && done.log.contains("acme/uv"), "{}", done.log);
        assert!(done.log.contains("hint:"), "{}", done.log);
        assert!(!done.log.contains("passed"), "something was built and run:\n{}", done.log);
    }
    assert_eq!(pushes(&registry), 0);
}

#[tokio::test]
async fn tokens_that_expire_during_a_run_are_renewed() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let tokens = TokenServer::start();
    tokens.add_user("robot", "s3cret-robot");
    tokens.grant("robot", "*", "pull,push,delete");
    tokens.set_lifetime(2);
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else { return parts::skip("no docker-registry") };
    // Pushing the first manifest takes longer than its token lives.
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("PUT", "/manifests/sha256:", Fault::Stall(Duration::from_millis(2500))).times(1));
    let images = format!("{}/acme/uv\n{}/acme/uv", proxy.host(), world.open.host());
    let credentials = format!("{} robot s3cret-robot", proxy.host());
    let step = world.step(&engine, "x", "0.9.26").input("images", &images).input("credentials", &credentials);
    let done = step.run().await.succeeded();
    let given: Vec<Vec<String>> =
        tokens.requests().into_iter().filter(|request| request.status == 200).map(|request| request.scopes).collect();
    let renewed = given.iter().enumerate().any(|(number, scopes)| given[..number].contains(scopes));
    assert!(renewed, "no token has expired: {given:#?}");
    let expected = done.json("digests")["alpine3.23"].clone();
    assert_eq!(expected, digest(&registry, "acme/uv", "alpine").await.unwrap());
    assert_eq!(expected, digest(&world.open, "acme/uv", "alpine").await.unwrap());
}

#[tokio::test]
async fn a_registry_that_always_fails_ends_the_run_at_its_deadline_and_the_error_names_the_attempts() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let proxy = FaultProxy::start(world.open.host());
    proxy.inject(Rule::on("*", "/v2/", Fault::bad_gateway()));
    let images = format!("{}/acme/uv", proxy.host());
    let step = world.small_step(&engine, "acme", "0.9.26").input("images", &images);
    let step = step.variable("PUBLISH_VARIANTS_DEADLINE", "3");
    // Far more than the deadline, and far less than the default of five minutes.
    let run = tokio::time::timeout(Duration::from_secs(60), step.run()).await.unwrap();
    assert_eq!(run.code, Some(1), "{}", run.log);
    for told in [proxy.host().as_str(), "acme/uv", "POST", "attempts", "502"] {
        assert!(run.log.contains(told), "`{told}` is not told:\n{}", run.log);
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_says_what_was_done_and_leaves_nothing_behind() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let proxy = FaultProxy::start(world.open.host());
    // It is stopped while it waits for the first tag to be written.
    proxy.inject(Rule::on("PUT", "/manifests/0.9.26", Fault::Stall(Duration::from_secs(60))));
    for signal in ["TERM", "INT"] {
        let owner = format!("stopped-{}", signal.to_lowercase());
        let images = format!("{}/{owner}/uv", proxy.host());
        let step = world.small_step(&engine, &owner, "0.9.26").input("images", &images);
        let child = step.command().spawn().unwrap();
        for _ in 0..600 {
            if proxy.count("PUT", &format!("{owner}/uv/manifests/0.9.26")) > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(
            std::process::Command::new("kill")
                .args(["-s", signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let output = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap();
        let done = step.done(&output);
        assert_eq!(done.code, Some(1), "{}", done.log);
        let told = format!("the run was stopped by SIG{signal} during the stage `tag`");
        assert!(done.log.contains(&told), "{}", done.log);
        assert!(done.summary.contains(&told) && done.summary.contains("No tag was written"), "{}", done.summary);
        assert_eq!(std::fs::read_dir(step.temporary()).unwrap().count(), 0, "temporary files stay");
        assert_eq!(world.open.tags(&format!("{owner}/uv")).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn nothing_that_a_run_writes_contains_a_secret() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let good = world.step(&engine, "acme", "0.9.26").run().await.succeeded();
    let closed = world.closed.host();
    let wrong = "wr0ng-password-of-nobody";
    let bad = world.step(&engine, "acme", "0.9.26").input("credentials", &format!("{closed} somebody {wrong}"));
    let bad = bad.run().await;
    assert_eq!(bad.code, Some(1), "{}", bad.log);
    let notes = world.github.release("0.9.26").body;
    for secret in [PASSWORD, wrong, support::github::WRITE_TOKEN] {
        for done in [&good, &bad] {
            let log = done.log.lines().filter(|line| !line.starts_with("::add-mask::"));
            let outputs = done.outputs.values().map(String::as_str);
            for text in log.chain(outputs).chain([done.summary.as_str(), notes.as_str()]) {
                assert!(!text.contains(secret), "{text}");
                let encoded = support::registry::basic("publisher", secret);
                assert!(!text.contains(encoded.trim_start_matches("Basic ")), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_run_that_may_not_write_the_notes_has_published_and_sets_its_outputs() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let token = support::github::READ_TOKEN;
    let done = world.small_step(&engine, "acme", "0.9.26").input("github-token", token).run().await;
    assert_eq!(done.code, Some(1), "{}", done.log);
    assert!(done.log.contains("everything is published, but the release notes don't say so"), "{}", done.log);
    assert!(done.log.contains("contents: write"), "{}", done.log);
    assert_eq!(done.json("digests")["alpine3.23"], digest(&world.open, "acme/uv", "alpine").await.unwrap());
    assert!(done.summary.contains("0.9.26-alpine3.23"), "{}", done.summary);
    assert!(done.summary.contains("> [!CAUTION]") && done.summary.contains("contents: write"), "{}", done.summary);
}

#[tokio::test]
async fn a_failed_run_sets_no_outputs_and_says_in_the_summary_that_nothing_was_published() {
    let Some((world, engine)) = setting(&["0.9.26"]).await else { return };
    let done = world.small_step(&engine, "acme", "0.9.26").input("binaries", "/ruff").run().await;
    assert_eq!(done.code, Some(2), "{}", done.log);
    assert!(done.outputs.is_empty(), "{:?}", done.outputs);
    assert_eq!(world.open.tags("acme/uv").await, Vec::<String>::new());
    for says in ["## Docker images for uv 0.9.26", "stage `resolve`", "Nothing was published", "/ruff", "What to do"] {
        assert!(done.summary.contains(says), "{says}: {}", done.summary);
    }
}
