//! A model of the rules about tags: histories of releases, and an oracle that knows who pushed what.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "plan/given.rs"]
#[allow(dead_code, reason = "the tests of plans use all of it")]
mod given;
#[path = "model/histories.rs"]
mod histories;
#[path = "model/history.rs"]
mod history;
#[path = "model/oracle.rs"]
mod oracle;
#[path = "model/random.rs"]
mod random;
#[path = "model/run.rs"]
mod run;
#[path = "model/script.rs"]
mod script;
#[path = "model/shop.rs"]
mod shop;
#[path = "model/through_http.rs"]
mod through_http;
#[path = "model/versions.rs"]
mod versions;
#[path = "model/workflow.rs"]
mod workflow;
#[path = "model/world.rs"]
mod world;
