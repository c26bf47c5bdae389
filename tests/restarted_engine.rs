//! The engine dies during a publication and is restarted, as `dockerd` is by a host's service manager.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod world;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::parts;

use world::World;

/// When the engine dies: so many milliseconds after the log has this text. First it pulls and builds; later it runs the
/// other images.
const MOMENTS: [(&str, u64); 2] = [("::group::build and verify", 200), ("` passed", 0)];

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_goes_on_when_the_engine_is_back() {
    let engines = parts::engines();
    if engines.is_empty() {
        return parts::skip("no engine");
    }
    let Some(world) = World::start(&["linux/amd64"], &["0.9.26"]).await else { return };
    let composed = world.step("", "calm", "0.9.26").input("builder", "registry").run().await;
    let composed = composed.succeeded().json("digests");
    for (number, engine) in engines.iter().enumerate() {
        for (said, moment) in MOMENTS {
            let step = world.step(engine, &format!("restarted-{number}-{moment}"), "0.9.26");
            let mut running = step.spawn();
            running.wait_for(said, |log| log.contains(said).then_some(())).await;
            tokio::time::sleep(Duration::from_millis(moment)).await;
            crash(engine);
            assert!(!running.has_ended(), "the run had ended before the engine died:\n{}", running.log());
            let done = running.wait().await;
            wait_for(engine).await;
            assert_eq!(done.succeeded().json("digests"), composed, "{engine}, {moment} ms after {said}");
        }
    }
}

/// The file next to the engine's socket contains the id of the process that keeps the engine running.
fn crash(engine: &str) {
    let socket = Path::new(engine.strip_prefix("unix://").unwrap());
    let keeper = std::fs::read_to_string(socket.with_extension("pid")).unwrap();
    let id = keeper.split_whitespace().next().unwrap();
    assert!(Command::new("kill").args(["-USR1", id]).status().unwrap().success(), "{engine}");
}

async fn wait_for(engine: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while UnixStream::connect(engine.strip_prefix("unix://").unwrap()).is_err() {
        assert!(Instant::now() < until, "{engine} isn't started again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
