//! Names of images in [OCI image layouts](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md), which
//! are folders and archives of the workspace.

use std::fmt;
use std::str::FromStr;

use super::reference::{Digest, InvalidName};

/// The prefix of the name of an OCI layout, as in Skopeo, Podman and Buildah.
pub const LAYOUT: &str = "oci:";

/// An image in an OCI layout: `oci:dist/image.tar`, `oci:dist/image:1.2.3`, `oci:dist/image@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayoutName {
    /// The folder or archive.
    pub path: String,
    /// Which of its images is meant; `None` if the name doesn't say, because there is only one.
    pub image: Option<LayoutImage>,
}

/// The part of the name that distinguishes an image from the others in its layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayoutImage {
    /// Its name: the annotation `org.opencontainers.image.ref.name`.
    Named(String),
    /// Its digest.
    Digest(Digest),
}

impl LayoutName {
    /// Whether the digest of the image is in its name.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        matches!(self.image, Some(LayoutImage::Digest(_)))
    }

    /// The name of another image in the same layout.
    #[must_use]
    pub fn with(&self, image: LayoutImage) -> Self {
        Self { path: self.path.clone(), image: Some(image) }
    }
}

/// Whether a path may lead out of the workspace, as far as its text says. Links are looked at when it is opened.
pub(super) fn leads_outside(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|part| part == "..")
}

impl FromStr for LayoutName {
    type Err = InvalidName;

    /// `oci:PATH`, `oci:PATH:NAME` or `oci:PATH@DIGEST`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName::Layout(text.to_owned());
        let layout = text.strip_prefix(LAYOUT).ok_or_else(invalid)?;
        // Names of images are usually tags, which have no slash, so a colon before the last slash belongs to the path.
        let colon = layout.rfind(':').filter(|colon| !layout[*colon..].contains('/'));
        let (path, image) = match (layout.rsplit_once("@sha256:"), colon) {
            (Some((path, hex)), _) => (path, Some(LayoutImage::Digest(format!("sha256:{hex}").parse()?))),
            (None, Some(colon)) => (&layout[..colon], Some(LayoutImage::Named(layout[colon + 1..].to_owned()))),
            (None, None) => (layout, None),
        };
        if path.trim().is_empty() || image == Some(LayoutImage::Named(String::new())) {
            return Err(invalid());
        }
        Ok(Self { path: path.to_owned(), image })
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LAYOUT}{}", self.path)?;
        match &self.image {
            None => Ok(()),
            Some(LayoutImage::Named(name)) => write!(f, ":{name}"),
            Some(LayoutImage::Digest(digest)) => write!(f, "@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_image_of_a_layout_is_named_after_its_path() {
        let named = |name: &str| Some(LayoutImage::Named(name.to_owned()));
        let pinned = format!("oci:dist/full@{DIGEST}");
        for (text, path, image) in [
            ("oci:dist/image.tar", "dist/image.tar", None),
            ("oci:dist:1.2.3", "dist", named("1.2.3")),
            ("oci:a:b/c", "a:b/c", None),
            ("oci:/tmp/x:latest", "/tmp/x", named("latest")),
            (&pinned, "dist/full", Some(LayoutImage::Digest(DIGEST.parse().unwrap()))),
        ] {
            let layout: LayoutName = text.parse().unwrap();
            assert_eq!((layout.path.as_str(), &layout.image), (path, &image), "{text}");
            assert_eq!(layout.to_string(), text);
        }
        for text in ["oci:", "oci::1", "oci:dist:", "oci:dist@sha256:abc", &format!("oci:@{DIGEST}"), "dist"] {
            assert!(text.parse::<LayoutName>().is_err(), "{text}");
        }
    }
}
