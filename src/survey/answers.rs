//! Answers the questions of [`ownership`](crate::ownership) from registries and GitHub.

use super::{SurveyError, Surveyed};
use crate::api::registry::{Pulled, RegistryError};
use crate::compose::Content;
use crate::error::first_line;
use crate::image::manifest::ManifestOrIndex;
use crate::image::{Config, Descriptor, Digest, Document, Repository, Tag};
use crate::ownership::{BASE_CREATED_ANNOTATION, Question, SeenImage, Standing, VERSION_ANNOTATION};

/// An answer to a [`Question`].
pub(super) enum Answer {
    Tag(Option<Digest>),
    Tags(Vec<Tag>),
    Image(SeenImage, Option<Document>),
    Kinship(Result<Content, String>),
    Children(bool),
    Standing(Standing),
}

impl Surveyed<'_> {
    pub(super) async fn answer(&self, question: &Question) -> Result<Answer, SurveyError> {
        Ok(match question {
            Question::Tag(repository, tag) => {
                Answer::Tag(self.registries.digest(&repository.tagged(tag.clone())).await?)
            }
            Question::Tags(repository) => Answer::Tags(self.tags(repository).await?),
            Question::Image(repository, digest) => {
                let (image, document) = self.read(repository, digest).await?;
                Answer::Image(image, document)
            }
            Question::Kinship(artifact, repository, digest) => {
                let variant = self.wanted.artifacts[*artifact].variant.as_ref();
                let variant = variant.and_then(|name| self.resolved.variants.iter().find(|v| v.variant.name == *name));
                Answer::Kinship(match variant {
                    Some(variant) => self.compare(variant, repository, digest).await?,
                    None => self.compare_source(repository, digest).await?,
                })
            }
            Question::Children(repository, digest) => {
                let there = match unless_unreadable(self.registries.manifest(&repository.pinned(digest.clone())).await)?
                {
                    Ok(pulled) => self.registries.complete(repository, &pulled).await?,
                    Err(_) => false,
                };
                Answer::Children(there)
            }
            Question::Standing(version) => Answer::Standing(self.standing(version).await?),
        })
    }

    /// All tags of a repository. If we know that it has one, no tags aren't an answer: newer versions would be missed.
    async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, RegistryError> {
        let mut patience = self.registries.patience_with_lists();
        loop {
            let tags = self.registries.tags(repository).await?;
            match self.survey.known_tag(repository).filter(|_| tags.is_empty()) {
                None => return Ok(tags),
                Some(_) if patience.pause().await => {}
                Some(known) => {
                    let why = format!("it is empty, although there is `{known}`");
                    return Err(RegistryError::TagsIncomplete { repository: repository.to_string(), why });
                }
            }
        }
    }

    async fn standing(&self, version: &str) -> Result<Standing, SurveyError> {
        let Some(github) = self.github else { return Ok(Standing::Unknown) };
        let pattern = &self.resolved.plan.version_pattern;
        let names = [pattern.tag(version), pattern.tag(&format!("v{version}"))];
        Ok(github.standing(&[&names[0], &names[1]]).await?)
    }

    /// The platforms and our annotations of an image.
    async fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(SeenImage, Option<Document>), SurveyError> {
        let pulled = match unless_unreadable(self.registries.manifest(&repository.pinned(digest.clone())).await)? {
            Ok(pulled) => pulled,
            Err(why) => return Ok((SeenImage::Unreadable(why), None)),
        };
        let annotations = pulled.content.annotations();
        let date = |text: &String| Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc());
        let image = SeenImage::Image {
            version: annotations.get(VERSION_ANNOTATION).cloned(),
            base_created: annotations.get(BASE_CREATED_ANNOTATION).and_then(date),
            platforms: match &pulled.content {
                ManifestOrIndex::Index(index) => {
                    index.manifests.iter().filter_map(Descriptor::image_platform).collect()
                }
                ManifestOrIndex::Manifest(manifest) => {
                    let config = unless_unreadable(self.registries.small_blob(repository, &manifest.config).await)?;
                    config
                        .ok()
                        .and_then(|config| Config::parse(&config).ok())
                        .map(|config| config.platform())
                        .into_iter()
                        .collect()
                }
            },
        };
        Ok((image, Some(pulled.document)))
    }

    /// A published image whose annotation states this version, or why there is none.
    pub(super) async fn read_ours(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Result<Pulled, String>, SurveyError> {
        let pulled = match unless_unreadable(self.registries.manifest(&repository.pinned(digest.clone())).await)? {
            Ok(pulled) => pulled,
            Err(why) => return Ok(Err(format!("which can't be read: {why}"))),
        };
        Ok(match pulled.content.annotations().get(VERSION_ANNOTATION) {
            Some(version) if version == self.wanted.version.as_str() => Ok(pulled),
            Some(version) => Err(format!("which is version {version}")),
            None => Err("which another tool has published".to_owned()),
        })
    }
}

pub(super) fn is_missing(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Missing(_) | RegistryError::Invalid { .. } | RegistryError::TooLarge { .. })
}

/// Tells missing or unreadable content (the inner `Err`, with the reason) from a registry that fails.
pub(super) fn unless_unreadable<T>(found: Result<T, RegistryError>) -> Result<Result<T, String>, RegistryError> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(error) if is_missing(&error) => Ok(Err(first_line(&error))),
        Err(error) => Err(error),
    }
}
