//! Behaviours of real registries that differ from CNCF distribution's. docs/registries.md has the source of each.

use super::{Fault, LocationForm, RetryAfter, Rule};

/// A registry whose behaviour the proxy imitates. Everything else (tokens, passwords) is up to the registry behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// GitHub's container registry: new content isn't visible immediately, authorised requests are sometimes denied,
    /// mounts turn into uploads, uploads can't be cancelled, and blobs are on another host.
    Ghcr,
    /// Docker Hub: rate limits, and blobs on another host.
    DockerHub,
    /// Amazon's registry with immutable tags: mounts turn into uploads, uploads can't be cancelled, blobs are on
    /// another host, and a tag can't be written twice, not even if the answer to the first attempt was lost.
    Ecr,
    /// GitLab's registry: blobs on another host. Its token server doesn't merge scopes, see
    /// `TokenServer::merge_no_scopes`.
    GitLab,
    /// CNCF distribution behind a proxy that redirects requests: uploads continue at absolute URLs, and writes are
    /// redirected.
    Distribution,
}

impl Profile {
    pub(super) fn rules(self) -> Vec<Rule> {
        let (uploads, manifests, blobs) = ("/blobs/uploads/", "/manifests/", "/blobs/sha256:");
        let blobs_elsewhere = || Rule::on("GET", blobs, Fault::RedirectBlob).authorized();
        match self {
            Self::Ghcr => vec![
                Rule::on("POST", uploads, Fault::denied(403)).authorized().times(1),
                Rule::on("POST", "mount=", Fault::AcceptMount),
                Rule::on("DELETE", uploads, Fault::unsupported()),
                Rule::on("GET", manifests, Fault::manifest_unknown()).authorized().and("/source/").times(2),
                Rule::on("GET", blobs, Fault::blob_unknown()).authorized().and("/source/").times(1),
                blobs_elsewhere(),
            ],
            Self::DockerHub => vec![
                Rule::on("GET", manifests, Fault::too_many_requests(Some(RetryAfter::Seconds(1))))
                    .authorized()
                    .times(1),
                Rule::on("PUT", manifests, Fault::too_many_requests(None)).times(1),
                blobs_elsewhere(),
            ],
            Self::Ecr => vec![
                Rule::on("POST", "mount=", Fault::AcceptMount),
                Rule::on("DELETE", uploads, Fault::unsupported()),
                Rule::on("PUT", "/manifests/1.0.0-alpine", Fault::LoseAnswer).authorized().times(1),
                Rule::on("PUT", "/manifests/1.0.0-alpine", Fault::immutable_tag(400)).authorized(),
                blobs_elsewhere(),
            ],
            Self::GitLab => vec![blobs_elsewhere()],
            Self::Distribution => vec![
                Rule::on("POST", uploads, Fault::Redirect { status: 307, elsewhere: false }),
                Rule::on("POST", uploads, Fault::Location(LocationForm::Absolute)),
                Rule::on("PUT", uploads, Fault::Redirect { status: 308, elsewhere: false }),
                Rule::on("PUT", manifests, Fault::Redirect { status: 308, elsewhere: false }),
            ],
        }
    }
}
