//! The same kinds of histories with the real program, over HTTP: with a registry in memory, and with a real one.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use publish_variants::ownership::Standing;
use support::memory_registry::{Asked, Gate, Hold, MemoryRegistry, Verdict};
use support::parts;
use support::registry::{Auth, Registry};
use support::runner::Step;

use crate::run::Ended;
use crate::script::{Event, Player, Script, short_scripts};
use crate::shop::{Shop, Store, know_all_bases};
use crate::workflow::{Workflow, workflow};
use crate::world::World;

/// This many random histories, which are the same on every machine.
fn histories(count: u32, seed: u8) -> Vec<Script> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(|_| short_scripts().new_tree(&mut runner).unwrap().current()).collect()
}

/// Plays a history in the model and for real, side by side.
async fn play(script: &Script, store: Store<'_>, owner: &str) -> Result<(), String> {
    let player = Player::new(script);
    know_all_bases(&mut player.world.borrow_mut());
    let mut shop = Shop::open(store, owner);
    let mut digests = BTreeMap::new();
    for (number, event) in script.events.iter().enumerate() {
        let (job, killed) = match event {
            Event::Release(job) | Event::Publish(job) => (*job, None),
            Event::Kill(job, at) => (*job, Some(*at)),
            _ => {
                player.play(event)?;
                let world = player.world.borrow().clone();
                shop.follow(&world).await;
                continue;
            }
        };
        if let Event::Release(job) = event {
            player.play(&Event::GitHub(job.0, 0))?;
        }
        let world = player.world.borrow().clone();
        shop.follow(&world).await;
        let ended = player.published(job)?;
        shop.build(&player.workflow(job.1).tool, player.version(job.0).text).await;
        let step = shop.step(player.workflow(job.1), player.version(job.0).text);
        if let Some(at) = killed {
            kill(&step, &shop, at).await;
        }
        let done = step.run().await;
        let code = match &ended {
            Ended::NoPlan(_) => 2,
            Ended::Published(_) => 0,
            _ => 1,
        };
        let world = player.world.borrow().clone();
        shop.catch_up(&world);
        let difference = shop.difference(&world, &mut digests).await;
        let difference = difference.or_else(|| {
            (done.code != Some(code)).then(|| format!("it ends with {:?}, and should with {code}", done.code))
        });
        if let Some(difference) = difference {
            return Err(format!(
                "at event {number}, {event:?}: {difference}\n{}\nof {:#?}\n{script:#?}",
                done.log,
                player.workflow(job.1)
            ));
        }
    }
    Ok(())
}

/// Runs a step, and kills it at its request with that number to the destination; with a real registry, after that many
/// milliseconds.
async fn kill(step: &Step, shop: &Shop<'_>, at: usize) {
    let step = step.another();
    match shop.store {
        Store::Memory(registry) => {
            let destination = format!("/v2/{}/", shop.repository());
            let gate = registry.hold(Hold::at(at + 1).when(move |asked| asked.path.starts_with(&destination)));
            let mut run = step.spawn();
            tokio::select! {
                _ = gate.reached() => drop(run.kill()),
                _ = run.wait() => {}
            }
        }
        Store::Real(_) => {
            let mut run = step.spawn();
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(at as u64 * 5)) => drop(run.kill()),
                _ = run.wait() => {}
            }
        }
    }
}

fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How many histories run in parallel: most of the time is spent waiting.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn random_histories_end_in_a_registry_in_memory_as_in_the_model() {
    let histories = histories(number("PV_MODEL_HTTP", 20), 3);
    let plays = stream::iter(&histories).map(async |script| {
        let registry = MemoryRegistry::start();
        play(script, Store::Memory(&registry), "acme").await
    });
    let ends: Vec<Result<(), String>> = plays.buffer_unordered(AT_ONCE).collect().await;
    ends.into_iter().for_each(|end| end.unwrap_or_else(|wrong| panic!("{wrong}")));
}

#[tokio::test]
async fn random_histories_end_in_a_real_registry_as_in_the_model() {
    let Some(registry) = Registry::start(Auth::None).await else { return parts::skip("no docker-registry") };
    let histories = histories(number("PV_MODEL_REAL", 50), 4);
    let plays = stream::iter(histories.iter().enumerate())
        .map(async |(number, script)| play(script, Store::Real(&registry), &format!("acme{number}")).await);
    let ends: Vec<Result<(), String>> = plays.buffer_unordered(AT_ONCE).collect().await;
    ends.into_iter().for_each(|end| end.unwrap_or_else(|wrong| panic!("{wrong}")));
}

/// An in-memory registry that knows clients by name.
struct Crossing {
    registry: MemoryRegistry,
}

impl Crossing {
    /// A shop in which `released` has been published by undisturbed runs.
    async fn shop(&self, workflow: &Workflow, released: &[&str], versions: &[&str]) -> Shop<'_> {
        let mut shop = Shop::open(Store::Memory(&self.registry), "acme");
        let mut world = World::new();
        know_all_bases(&mut world);
        shop.follow(&world).await;
        for version in versions {
            shop.build("tool", version).await;
            shop.set_standing(version, Standing::Absent, Standing::Final);
        }
        for version in released {
            self.step(&shop, workflow, version, "setting").run().await.succeeded();
        }
        shop
    }

    fn step(&self, shop: &Shop<'_>, workflow: &Workflow, version: &str, client: &str) -> Step {
        let credentials = format!("{} {client} secret-of-{client}", self.registry.host());
        shop.step(workflow, version).input("credentials", &credentials).input("concurrency", "1")
    }

    fn hold(&self, number: usize, client: &str) -> Gate {
        self.registry.hold(Hold::at(number).of(client).when(|asked| asked.path.starts_with("/v2/acme/tool/")))
    }
}

fn crossing() -> Crossing {
    let registry = MemoryRegistry::start();
    registry.require_login();
    Crossing { registry }
}

#[tokio::test]
async fn one_more_run_finishes_a_run_that_was_killed_at_any_request() {
    let workflow = workflow(&[("alpine:3.23", &["alpine"])]).with_source();
    let crossing = crossing();
    let shop = crossing.shop(&workflow, &["1.2.3"], &["1.2.3", "1.2.4"]).await;
    let before = crossing.registry.snapshot();
    let step = crossing.step(&shop, &workflow, "1.2.4", "publisher");
    step.run().await.succeeded();
    let undisturbed = shop.tags().await;
    for request in 1.. {
        crossing.registry.restore(&before);
        let gate = crossing.hold(request, "publisher");
        let mut run = step.spawn();
        let asked = tokio::select! {
            asked = gate.reached() => asked,
            _ = run.wait() => break,
        };
        drop(run.kill());
        drop(gate);
        let left = shop.tags().await;
        for rolling in ["1.2-alpine", "alpine", "1.2", "latest"] {
            let exact = ["1.2.3-alpine", "1.2.4-alpine", "1.2.3", "1.2.4"].map(|exact| left.get(exact));
            assert!(
                exact.contains(&left.get(rolling)),
                "{rolling} is ahead of its exact tag after request {request}, {asked:?}"
            );
        }
        if left["latest"] == undisturbed["latest"] {
            assert_eq!(
                left["alpine"], undisturbed["alpine"],
                "`latest` is ahead of the variants after request {request}, {asked:?}"
            );
        }
        step.run().await.succeeded();
        assert_eq!(shop.tags().await, undisturbed, "killed at request {request}, {asked:?}");
    }
}

/// The state after a run was held while another one took place.
struct Crossed {
    /// The request at which it was held.
    asked: Asked,
    /// The tags at that moment.
    between: BTreeMap<String, String>,
    /// The tags that it wrote afterwards, except for this request.
    written: Vec<String>,
    /// The tags in the end.
    tags: BTreeMap<String, String>,
    log: String,
}

/// Holds a run at each of its requests while another one takes place.
async fn cross(held: &str, other: &str, check: impl Fn(&Crossed)) {
    let workflow = workflow(&[("alpine:3.23", &["alpine"])]);
    let crossing = crossing();
    let shop = crossing.shop(&workflow, &[], &[held, other]).await;
    let before = crossing.registry.snapshot();
    let held = crossing.step(&shop, &workflow, held, "held");
    let other = crossing.step(&shop, &workflow, other, "other");
    for request in 1.. {
        crossing.registry.restore(&before);
        let gate = crossing.hold(request, "held");
        let mut run = held.spawn();
        let asked = tokio::select! {
            asked = gate.reached() => asked,
            _ = run.wait() => break,
        };
        other.run().await.succeeded();
        let between = shop.tags().await;
        gate.open();
        let log = run.wait().await.succeeded().log;
        let later = crossing.registry.requests().into_iter().map(|recorded| recorded.asked);
        let later =
            later.filter(|it| it.client.as_deref() == Some("held") && it.number > asked.number && it.is_write());
        let written = later.filter_map(|it| it.tag().map(|(_, tag)| tag.to_owned())).collect();
        check(&Crossed { asked, between, written, tags: shop.tags().await, log });
    }
}

#[tokio::test]
async fn a_run_that_is_overtaken_at_any_request_leaves_everything_at_the_newer_version() {
    for (held, other) in [("1.2.3", "1.2.4"), ("1.2.4", "1.2.3")] {
        cross(held, other, |Crossed { asked, written, tags, log, .. }| {
            let newer = &tags["1.2.4-alpine"];
            assert_ne!(tags["1.2.3-alpine"], *newer);
            for tag in ["1.2-alpine", "alpine"] {
                assert_eq!(tags[tag], *newer, "{tag}, {held} held at {asked:?}\n{log}");
                // The tag doesn't even go back for a moment, except in the last round trip, which the next look
                // repairs.
                let is_last_round_trip = asked.is_write() && asked.tag().is_some_and(|(_, of)| of == tag);
                if held == "1.2.3" && !is_last_round_trip {
                    assert!(!written.iter().any(|of| of == tag), "{tag} goes back, {held} held at {asked:?}\n{log}");
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_exact_tag_that_appears_during_another_run_is_overwritten_only_in_its_last_round_trip() {
    cross("24.1.1", "24.1", |Crossed { asked, between, tags, log, .. }| {
        assert_eq!(tags["alpine"], tags["24.1.1-alpine"], "{asked:?}");
        let is_last_round_trip = asked.method == "PUT" && asked.path.ends_with("/24.1-alpine");
        if !is_last_round_trip {
            assert_eq!(tags["24.1-alpine"], between["24.1-alpine"], "24.1.1 held at {asked:?}\n{log}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_stopped_while_it_tags_looks_once_more_and_corrects_only_its_own_writes() {
    let workflow = workflow(&[("alpine:3.23", &["alpine"])]);
    let crossing = crossing();
    let shop = crossing.shop(&workflow, &[], &["1.2.3", "1.2.4"]).await;
    let older = crossing.step(&shop, &workflow, "1.2.3", "stopped");
    let newer = crossing.step(&shop, &workflow, "1.2.4", "other");
    // It has looked up `1.2-alpine` for the last time when the newer release writes it, and overwrites that.
    let is_its = |asked: &Asked| asked.is_write() && asked.path.ends_with("/manifests/1.2-alpine");
    let gate = crossing.registry.hold(Hold::at(1).of("stopped").when(is_its).alone());
    let mut run = older.spawn();
    let number = gate.reached().await.number;
    newer.run().await.succeeded();
    // A missing tag that the run hasn't written.
    crossing.registry.untag("acme/tool", "alpine");
    let stop = std::process::Command::new("kill").args(["-s", "TERM", &run.id().to_string()]).status().unwrap();
    assert!(stop.success());
    let stopped = Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.open();
    let done = run.wait().await;
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?} to end\n{}", done.log);
    assert_eq!(done.code, Some(1), "{}", done.log);
    let told = "the run was stopped by SIGTERM during the stage `tag`; the tags that the log names were written, the others were not";
    assert!(done.log.contains(told), "{}", done.log);
    let tags = shop.tags().await;
    assert_ne!(tags["1.2.3-alpine"], tags["1.2.4-alpine"]);
    assert_eq!(tags["1.2-alpine"], tags["1.2.4-alpine"], "it isn't given back\n{}", done.log);
    assert_eq!(tags.get("alpine"), None, "it was none of its tags\n{}", done.log);
    // The write in flight, a look at everything, the look right before the correction, and the correction.
    let after = crossing.registry.requests().into_iter().map(|recorded| recorded.asked);
    let after: Vec<Asked> = after.filter(|of| of.client.as_deref() == Some("stopped") && of.number >= number).collect();
    let writes: Vec<usize> = (0..after.len()).filter(|at| after[*at].is_write()).collect();
    assert_eq!(writes, [0, after.len() - 1], "{after:#?}");
    assert!(is_its(&after[after.len() - 1]), "{after:#?}");
    assert!(after[1..after.len() - 1].iter().any(|asked| asked.path.ends_with("/tags/list")), "{after:#?}");
    assert_eq!(after[after.len() - 2].method, "HEAD", "{after:#?}");
}

#[tokio::test]
async fn a_registry_that_shows_what_tags_named_before_is_given_time() {
    const BEHIND: Duration = Duration::from_millis(2500);
    let workflow = workflow(&[("alpine:3.23", &["alpine"])]);
    let crossing = crossing();
    let shop = crossing.shop(&workflow, &["1.2.3"], &["1.2.3", "1.2.4"]).await;
    let before = shop.tags().await["alpine"].clone();
    let (stale, since) = (before.clone(), OnceLock::new());
    crossing.registry.on_request(move |asked, _| {
        if asked.tag() != Some(("acme/tool", "alpine")) {
            return Verdict::Serve;
        }
        if asked.is_write() {
            since.get_or_init(Instant::now);
        }
        match since.get() {
            Some(since) if !asked.is_write() && since.elapsed() < BEHIND => Verdict::named(&stale),
            _ => Verdict::Serve,
        }
    });
    let started = Instant::now();
    let done = crossing.step(&shop, &workflow, "1.2.4", "publisher").run().await.succeeded();
    assert!(started.elapsed() > BEHIND, "{}", done.log);
    let tags = shop.tags().await;
    assert_eq!((tags["alpine"] == before, &tags["alpine"]), (false, &tags["1.2.4-alpine"]), "{}", done.log);
}

#[tokio::test]
async fn an_empty_list_of_tags_is_not_believed_if_there_are_tags() {
    let workflow = workflow(&[("alpine:3.23", &["alpine"])]);
    let crossing = crossing();
    let shop = crossing.shop(&workflow, &["1.2.3"], &["1.2.3", "1.2.4"]).await;
    let before = shop.tags().await;
    crossing.registry.on_request(|asked, _| match asked.path.ends_with("/acme/tool/tags/list") {
        true => Verdict::refuse(404, "NAME_UNKNOWN"),
        false => Verdict::Serve,
    });
    let done = crossing.step(&shop, &workflow, "1.2.4", "publisher").run().await;
    assert_eq!(done.code, Some(1), "{}", done.log);
    assert!(
        done.log.contains("/acme/tool` is incomplete: it is empty, although there is `1.2-alpine`"),
        "{}",
        done.log
    );
    assert_eq!(shop.tags().await, before);
}

#[tokio::test]
async fn an_index_is_pushed_when_the_registry_has_confirmed_its_manifests() {
    let workflow = workflow(&[("alpine:3.23", &["alpine"])]);
    let crossing = crossing();
    let shop = crossing.shop(&workflow, &["1.2.3"], &["1.2.3"]).await;
    let index = shop.tags().await["1.2.3-alpine"].clone();
    let children = crossing.registry.manifest("acme/tool", &index).unwrap().json()["manifests"].clone();
    let requests: Vec<Asked> = crossing.registry.requests().into_iter().map(|recorded| recorded.asked).collect();
    let last = |method: &str, digest: &str| {
        let of = |asked: &Asked| asked.method == method && asked.path == format!("/v2/acme/tool/manifests/{digest}");
        requests.iter().rposition(of)
    };
    let pushed = last("PUT", &index).unwrap();
    let children: Vec<&str> =
        children.as_array().unwrap().iter().map(|child| child["digest"].as_str().unwrap()).collect();
    assert_eq!(children.len(), 2);
    for child in children {
        let looked = requests[..pushed].iter().rposition(|asked| asked.method == "HEAD" && asked.path.ends_with(child));
        assert!(last("PUT", child) < looked && looked.is_some(), "{child}: {requests:#?}");
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_completed_holds_no_tags_of_other_variants() {
    let workflow = workflow(&[("debian:13-slim", &["debian"]), ("alpine:3.23", &["alpine"])]);
    let crossing = crossing();
    let (registry, shop) = (&crossing.registry, crossing.shop(&workflow, &[], &["1.2.4"]).await);
    let before = registry.snapshot();
    let step = crossing.step(&shop, &workflow, "1.2.4", "publisher");
    step.run().await.succeeded();
    let (undisturbed, published) = (shop.tags().await, registry.snapshot());
    registry.restore(&before);

    let gate = registry.hold(
        Hold::after(1)
            .of("publisher")
            .alone()
            .when(|asked| asked.method == "PUT" && asked.path.ends_with("/1.2.4-debian")),
    );
    let mut run = step.spawn();
    gate.reached().await;
    // Another run has begun the release, with layers that the registry doesn't show, and takes no more.
    registry.restore(&published);
    let (begun, layers) = registry.put_recompressed("acme/tool", &undisturbed["1.2.4-alpine"], |_| {});
    for tag in undisturbed.keys().filter(|tag| *tag != "1.2.4-debian") {
        registry.untag("acme/tool", tag);
    }
    registry.tag("acme/tool", "1.2.4-alpine", &begun);
    registry.on_request(move |asked, _| match asked.method.as_str() {
        "HEAD" if layers.iter().any(|layer| asked.path.ends_with(layer)) => Verdict::refuse(404, "BLOB_UNKNOWN"),
        "POST" => Verdict::refuse(403, "DENIED"),
        _ => Verdict::Serve,
    });
    gate.open();
    let done = run.wait().await;
    assert_eq!(done.code, Some(1), "{}", done.log);
    let tags = shop.tags().await;
    for tag in ["1.2.4-debian", "1.2-debian", "debian"] {
        assert_eq!(tags.get(tag), undisturbed.get(tag), "{tag}: {}", done.log);
    }
    for tag in ["1.2-alpine", "alpine"] {
        assert_eq!(tags.get(tag), None, "{tag}: {}", done.log);
    }
    assert!(done.log.contains("3 tags could not be written, all others were"), "{}", done.log);
}

#[tokio::test]
async fn inserting_an_entry_before_another_keeps_the_release_begun() {
    let crossing = crossing();
    let before = workflow(&[("alpine:3.23", &["alpine"])]);
    let shop = crossing.shop(&before, &["1.2.3"], &["1.2.3"]).await;
    let begun = shop.tags().await["1.2.3-alpine"].clone();
    let more = workflow(&[("alpine:3.23", &["alpine3.23", "alpine"])]);
    let done = crossing.step(&shop, &more, "1.2.3", "publisher").run().await.succeeded();
    assert_eq!(done.outputs["kept"], "", "{}", done.log);
    let tags = shop.tags().await;
    assert_eq!(tags.len(), 6);
    assert!(tags.values().all(|digest| *digest == begun), "{tags:#?}");
}
