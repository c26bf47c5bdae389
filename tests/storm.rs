//! The matrix of the demo, with real executables and bases for two platforms, is published to two registries while
//! three in ten requests fail.

mod world;

use support::fault_proxy::{Fault, FaultProxy};
use support::parts;

use world::{PASSWORD, USER, World};

/// The bases, and the tags of the variant on each.
const BASES: [(&str, &str, &str, &str); 4] = [
    ("alpine-3.23", "library/alpine", "3.23", "alpine3.23,alpine"),
    ("debian-bookworm-slim", "library/debian", "bookworm-slim", "bookworm-slim,debian-slim"),
    ("python-3.11-slim-bookworm", "library/python", "3.11-slim-bookworm", "python3.11-bookworm-slim"),
    ("python-3.13-slim-trixie", "library/python", "3.13-slim-trixie", "python3.13-trixie-slim"),
];

async fn real_world() -> Option<World> {
    let Some(layouts) = parts::oci_layouts() else {
        parts::skip("no real bases");
        return None;
    };
    let world = World::without_images(&["0.9.26"]).await?;
    world.open.seed(&layouts.join("uv-0.9.26"), "astral-sh/uv", "0.9.26").await;
    for (layout, repository, tag, _) in BASES {
        world.open.seed(&layouts.join(layout), repository, tag).await;
    }
    Some(world)
}

/// Everything goes through the proxies: the engine's pulls, the source, the bases, and both destinations.
#[tokio::test]
async fn a_publication_gets_through_when_three_requests_in_ten_fail() {
    let engines = parts::engines();
    let Some(first) = engines.first() else { return parts::skip("no engine") };
    let Some(world) = real_world().await else { return };
    let (open, closed) = (FaultProxy::start(world.open.host()), FaultProxy::start(world.closed.host()));
    let matrix: String =
        BASES.iter().map(|(_, repository, tag, tags)| format!("{}/{repository}:{tag},{tags}\n", open.host())).collect();
    let publish = async |engine: &str, owner: &str| {
        world
            .step(engine, owner, "0.9.26")
            .input("source", &format!("{}/astral-sh/uv:0.9.26", open.host()))
            .input("images", &format!("{}/{owner}/uv\n{}/{owner}/uv", open.host(), closed.host()))
            .input("credentials", &format!("{} {USER} {PASSWORD}", closed.host()))
            .input("matrix", &matrix)
            .run()
            .await
            .succeeded()
    };
    let undisturbed = publish(first, "calm").await.json("digests");
    let faults = || {
        vec![
            Fault::Reset,
            Fault::LoseAnswer,
            Fault::ResetDownload { after: 100 },
            Fault::ResetUpload { after: 100 },
            Fault::request_timeout(None),
            Fault::too_many_requests(None),
            Fault::bad_gateway(),
            Fault::internal_error(),
            Fault::unavailable(None),
        ]
    };
    for (engine, seed) in engines.iter().zip(1..) {
        for proxy in [&open, &closed] {
            proxy.forget();
            proxy.chaos(seed, 0.3, usize::MAX, faults());
        }
        let done = publish(engine, &format!("storm-{seed}")).await;
        let requests = [open.requests(), closed.requests()].concat();
        let (asked, failed) = (requests.len(), requests.iter().filter(|request| request.fault.is_some()).count());
        println!("seed {seed}: {failed} of {asked} requests failed");
        assert!(failed * 5 > asked, "seed {seed}: only {failed} of {asked} requests failed");
        assert_eq!(done.json("digests"), undisturbed, "seed {seed}");
    }
}
