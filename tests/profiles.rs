//! A small release to registries that behave like GHCR, Docker Hub, ECR, GitLab and CNCF distribution
//! (docs/registries.md).

mod world;

use support::fault_proxy::{FaultProxy, Profile};
use support::github::{GitHub, Release, WRITE_TOKEN};
use support::image::{TinyImage, file};
use support::parts::skip;
use support::registry::{Auth, Registry};
use support::runner::Step;
use support::token_server::TokenServer;

use world::{PASSWORD, USER, released};

const ACTION: &str = include_str!("../action.yml");
const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];

/// Publishes two variants through a proxy that behaves like `profile`; a second run finds them unchanged.
async fn publish(profile: Profile, auth: Auth<'_>) {
    let github = GitHub::start("astral-sh/uv", vec![Release::new("1.0.0")]);
    let (Some(registry), Some(github)) = (Registry::start(auth).await, github) else {
        return skip("no docker-registry, or no description of GitHub's API");
    };
    registry.push(&TinyImage::tool(PLATFORMS, &["uv"], "1.0.0").build(), "acme/source", "1.0.0").await;
    for base in ["alpine", "debian"] {
        let image = TinyImage::new(PLATFORMS).layer(vec![file("/etc/os-release", base)]).build();
        registry.push(&image, &format!("library/{base}"), "1").await;
    }
    let proxy = FaultProxy::start(registry.host());
    let host = proxy.host();
    let step = Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
        .variable("GITHUB_API_URL", &github.url())
        .variable("GITHUB_REF", "refs/tags/1.0.0")
        .variable("GITHUB_SHA", &github.release("1.0.0").commit)
        .variable("PUBLISH_VARIANTS_DEADLINE", "30")
        .input("builder", "registry")
        .input("source", &format!("{host}/acme/source:1.0.0"))
        .input("binaries", "/uv")
        .input("images", &format!("{host}/acme/uv"))
        .input("credentials", &format!("{host} {USER} {PASSWORD}"))
        .input("github-token", WRITE_TOKEN)
        .input("matrix", &format!("{host}/library/alpine:1,alpine\n{host}/library/debian:1,debian"))
        .event("release", &released("1.0.0"));
    proxy.behave_as(profile);
    let done = step.run().await.succeeded();
    let broken = proxy.requests().into_iter().filter(|request| request.fault.is_some()).count();
    assert!(broken > 0, "{profile:?} is like any other registry");
    for base in ["alpine", "debian"] {
        for tag in [format!("1.0.0-{base}"), format!("1.0-{base}"), base.to_owned()] {
            let named = registry.manifest("acme/uv", &tag).await.unwrap_or_else(|| panic!("{profile:?}: {tag}"));
            assert_eq!(done.json("digests")[base], named.digest(), "{profile:?}: {tag}");
        }
    }
    let again = step.run().await.succeeded();
    assert_eq!(again.outputs["status"], "unchanged", "{profile:?}");
}

/// The user may push to `acme`, everybody may pull.
fn tokens() -> TokenServer {
    let tokens = TokenServer::start();
    tokens.add_user(USER, PASSWORD);
    tokens.grant(USER, "acme/*", "pull,push");
    tokens.allow_anonymous_pull();
    tokens
}

#[tokio::test]
async fn a_release_is_published_to_ghcr() {
    let tokens = tokens();
    tokens.deny_next(1);
    publish(Profile::Ghcr, Auth::Token(&tokens)).await;
}

#[tokio::test]
async fn a_release_is_published_to_docker_hub() {
    publish(Profile::DockerHub, Auth::Token(&tokens())).await;
}

#[tokio::test]
async fn a_release_is_published_to_ecr() {
    publish(Profile::Ecr, Auth::Htpasswd { user: USER, password: PASSWORD }).await;
}

#[tokio::test]
async fn a_release_is_published_to_gitlab() {
    let tokens = tokens();
    tokens.merge_no_scopes();
    tokens.give_all_or_nothing();
    publish(Profile::GitLab, Auth::Token(&tokens)).await;
}

#[tokio::test]
async fn a_release_is_published_to_distribution() {
    publish(Profile::Distribution, Auth::Htpasswd { user: USER, password: PASSWORD }).await;
}
