//! Behaviours of real registries, as far as they differ from CNCF distribution's; docs/registries.md says how each is known.

use super::{Fault, LocationForm, RetryAfter, Rule};

/// A registry that the proxy behaves as. The rest (tokens, passwords) is what the registry behind it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// GitHub's container registry: what was just pushed isn't there at once, authorised requests are denied now and then, mounts end
    /// as uploads, uploads can't be cancelled, blobs are at another host.
    Ghcr,
    /// Docker Hub: too many requests, blobs at another host.
    DockerHub,
    /// Amazon's registry with immutable tags: mounts end as uploads, uploads can't be cancelled, blobs are at another host, and a tag
    /// that was written once is refused, also where the answer to the first attempt was lost.
    Ecr,
    /// GitLab's registry: blobs at another host. Its token server merges no scopes, see `TokenServer::merge_no_scopes`.
    GitLab,
    /// CNCF distribution behind something that moves requests: uploads go on at absolute URLs, and writes are redirected.
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
