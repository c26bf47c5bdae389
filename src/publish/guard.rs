//! Who owns a rolling tag: the guard against moving one backwards.
//!
//! Pure. Registries can't compare and swap, so two runs may cross. What decides is therefore not who wrote last but
//! which exact tags exist: every run writes its exact tags before it touches a rolling one, so that whichever run looks
//! last sees the other's.

use crate::action::inputs::Rolling;
use crate::image::Tag;
use crate::plan::Series;
use crate::version::Version;

/// What is known about a rolling tag in one repository.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The versions that the tag may show.
    pub series: &'a Series,
    /// The version that it shows, if it is there and says so.
    pub shown: Option<Version>,
    /// The versions whose exact tag for the same variant is there, each with that tag.
    pub published: &'a [(Version, Tag)],
}

/// What to do with a rolling tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is ours.
    Move,
    /// It stays what it is, for this reason.
    Keep(String),
    /// A newer version has appeared; the tag belongs to what this exact tag names.
    GiveTo(Version, Tag),
}

/// Decides what a run for the version `ours` does with a rolling tag.
#[must_use]
pub fn judge(policy: Rolling, ours: &Version, situation: &Situation<'_>) -> Verdict {
    match policy {
        Rolling::Always => return Verdict::Move,
        Rolling::Never => return Verdict::Keep("`rolling: never`".to_owned()),
        Rolling::Guard => {}
    }
    let newer = |version: &Version| version > ours && situation.series.contains(version);
    let owner = situation
        .published
        .iter()
        .filter(|(version, _)| newer(version) && !version.is_prerelease())
        .max_by(|(a, _), (b, _)| a.cmp(b));
    match (&situation.shown, owner) {
        // What it shows is at least as new as anything we know of.
        (Some(shown), owner) if newer(shown) && owner.is_none_or(|(version, _)| version <= shown) => {
            Verdict::Keep(format!("shows {shown}, which is newer"))
        }
        (_, Some((version, tag))) => Verdict::GiveTo(version.clone(), tag.clone()),
        (_, None) => Verdict::Move,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Template;

    fn verdict(policy: Rolling, template: &str, ours: &str, shown: Option<&str>, published: &[&str]) -> Verdict {
        let ours: Version = ours.parse().unwrap();
        let series = template.parse::<Template>().unwrap().series(&ours);
        let exact = |text: &&str| (text.parse().unwrap(), format!("{text}-alpine").parse().unwrap());
        let published: Vec<(Version, Tag)> = published.iter().map(exact).collect();
        let shown = shown.map(|version| version.parse().unwrap());
        judge(policy, &ours, &Situation { series: &series, shown, published: &published })
    }

    fn guard(template: &str, ours: &str, shown: Option<&str>, published: &[&str]) -> &'static str {
        match verdict(Rolling::Guard, template, ours, shown, published) {
            Verdict::Move => "move",
            Verdict::Keep(_) => "keep",
            Verdict::GiveTo(..) => "give",
        }
    }

    #[test]
    fn a_rolling_tag_never_goes_back_within_its_series() {
        let (all, minor) = ("{tag}", "{major}.{minor}-{tag}");
        for (template, ours, shown, published, expected) in [
            (all, "0.9.26", None, &["0.9.26"][..], "move"),
            (all, "0.9.26", Some("0.9.25"), &["0.9.25", "0.9.26"], "move"),
            (all, "0.9.26", Some("0.9.26"), &["0.9.26"], "move"),
            (all, "0.9.26", Some("0.9.27"), &["0.9.26", "0.9.27"], "keep"),
            (minor, "0.9.26", Some("0.9.27"), &["0.9.26", "0.9.27"], "keep"),
            // A backport: its own series goes on, the others stay.
            (all, "0.9.28", Some("1.0.0"), &["1.0.0", "0.9.28"], "keep"),
            (minor, "0.9.28", Some("0.9.27"), &["1.0.0", "0.9.27", "0.9.28"], "move"),
            // What it shows isn't of its series, so it says nothing.
            (minor, "0.9.28", Some("1.0.0"), &["1.0.0", "0.9.28"], "move"),
            // Published by another tool, whose exact tags are not there.
            (all, "0.9.26", Some("0.9.27"), &["0.9.26"], "keep"),
            (all, "0.9.26", Some("0.10.0"), &[], "keep"),
            // Another run has written its exact tags and not yet this one.
            (all, "0.9.26", Some("0.9.25"), &["0.9.26", "0.9.27"], "give"),
            (all, "0.9.26", None, &["0.9.26", "0.9.27"], "give"),
            // Newer still than what is shown.
            (all, "0.9.26", Some("0.9.27"), &["0.9.27", "0.9.28"], "give"),
            // A pre-release owns nothing; a post-release does.
            (all, "0.9.26", Some("0.9.25"), &["0.9.26", "0.10.0rc1"], "move"),
            (all, "0.9.26", Some("0.9.25"), &["0.9.26", "0.9.26.post1"], "give"),
        ] {
            assert_eq!(guard(template, ours, shown, published), expected, "{template} {ours} {shown:?} {published:?}");
        }
    }

    #[test]
    fn it_is_given_to_the_newest() {
        let verdict = verdict(Rolling::Guard, "{tag}", "0.9.26", None, &["0.9.28", "0.9.30", "0.9.29"]);
        assert_eq!(verdict, Verdict::GiveTo("0.9.30".parse().unwrap(), "0.9.30-alpine".parse().unwrap()));
    }

    #[test]
    fn always_and_never_look_at_nothing() {
        assert_eq!(verdict(Rolling::Always, "{tag}", "0.9.26", Some("1.0.0"), &["1.0.0"]), Verdict::Move);
        assert!(matches!(verdict(Rolling::Never, "{tag}", "0.9.26", None, &[]), Verdict::Keep(_)));
    }
}
