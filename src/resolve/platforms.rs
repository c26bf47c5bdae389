//! The platforms of a variant: the requested ones among those that source and base have in common.
//!
//! They are always Linux platforms: a layer with `/usr/local/bin` makes no sense in a Windows image. A source may have
//! executables for other systems as well.

use super::{Image, ResolveError, Role};
use crate::image::{Base, Platform, SourceName};
use crate::plan::{Platforms, Variant};

/// The platforms of a variant, sorted. Without a base, all of the source's are possible.
///
/// # Errors
/// A requested platform is missing, or source and base have none in common.
pub(super) fn choose(
    variant: &Variant,
    source_name: &SourceName,
    source: &Image,
    base: Option<&Image>,
) -> Result<Vec<Platform>, ResolveError> {
    match &variant.platforms {
        Platforms::Auto => {
            let is_of_base = |platform: &Platform| base.is_none_or(|base| base.platforms.contains_key(platform));
            let common: Vec<Platform> = source
                .platforms
                .keys()
                .filter(|platform| platform.is_linux() && is_of_base(platform))
                .cloned()
                .collect();
            if common.is_empty() {
                return Err(ResolveError::NoPlatform {
                    base: variant.made.base().cloned().unwrap_or(Base::Scratch),
                    variant: variant.name.clone(),
                    base_has: base.map(Image::has).unwrap_or_default(),
                    source_has: source.has(),
                });
            }
            Ok(common)
        }
        Platforms::Listed(listed) => {
            for platform in listed {
                let base = variant.made.base_reference().zip(base);
                let base = base.map(|(name, base)| (Role::Base, name.to_string(), base));
                for (role, name, image) in [(Role::Source, source_name.to_string(), source)].into_iter().chain(base) {
                    if !image.platforms.contains_key(platform) {
                        return Err(ResolveError::PlatformMissing {
                            role,
                            image: name,
                            platform: platform.clone(),
                            variants: vec![variant.name.clone()],
                            available: image.has(),
                        });
                    }
                }
            }
            let mut listed = listed.clone();
            listed.sort();
            listed.dedup();
            Ok(listed)
        }
    }
}

/// The Linux platforms of the source that the base lacks; empty if the platforms were listed.
pub(super) fn left_out(variant: &Variant, source: &Image, chosen: &[Platform]) -> Vec<Platform> {
    match variant.platforms {
        Platforms::Auto => source
            .platforms
            .keys()
            .filter(|platform| platform.is_linux() && !chosen.contains(platform))
            .cloned()
            .collect(),
        Platforms::Listed(_) => Vec::new(),
    }
}
