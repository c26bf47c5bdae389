//! The options of the command line. The inputs of the action have the same names.
//!
//! Their descriptions in `action.yml` begin with the same words; `tests/reference.rs` compares them.

use super::inputs::choice::values;
use super::inputs::{Builder, OnConflict, PullRequest, ReleaseNotes, Rolling};
use crate::version::Scheme;

/// Options that don't change a plan. `plan` accepts them, so that it can be tried with the command line of a
/// publication, but doesn't show them in its help.
pub const NOT_IN_A_PLAN: [&str; 8] = [
    "concurrency",
    "created",
    "credentials",
    "github-token",
    "insecure-registries",
    "on-conflict",
    "release-notes",
    "repository-url",
];

/// The options as they were written, on the command line or as inputs of the action.
#[derive(Clone, Default, clap::Args)]
pub struct Options {
    /// The version to publish; taken from the event if empty
    #[arg(long, value_name = "VERSION", help_heading = "What to publish")]
    pub version: Option<String>,
    /// How the repository's tags name a version: `tool-v{version}`
    #[arg(long, value_name = "PATTERN", help_heading = "What to publish")]
    pub version_pattern: Option<String>,
    /// How versions are parsed: `auto` (PEP 440, else semver), `pep440` or `semver` [default: auto]
    #[arg(long, value_name = "SCHEME", value_parser = values::<Scheme>(), ignore_case = true, help_heading = "What to publish")]
    pub version_scheme: Option<String>,
    /// The scratch image with the executables, `oci:PATH` for an OCI layout, or `files` and lines `linux/amd64=dist/tool`
    /// [default: the first of `images`, tagged `{version}`]
    #[arg(long, value_name = "IMAGE", help_heading = "What to publish")]
    pub source: Option<String>,
    /// Tags for the source image itself: `default`, or templates, one per line
    #[arg(long, value_name = "TEMPLATES", help_heading = "What to publish")]
    pub source_tags: Vec<String>,
    /// The executables in the source image, as absolute paths: `/uv /uvx`
    #[arg(long, value_name = "PATHS", help_heading = "What to publish")]
    pub binaries: Vec<String>,
    /// The variants: YAML, JSON, lines `base,tag,tag`, or the path of a file
    #[arg(long, value_name = "MATRIX", allow_hyphen_values = true, help_heading = "What to publish")]
    pub matrix: Option<String>,
    /// The file with the variants (or pass its path as `--matrix`); `-` is standard input
    #[arg(short, long = "file", value_name = "FILE", help_heading = "What to publish", conflicts_with = "matrix")]
    pub file: Option<String>,
    /// A JSON file with the image, `repository@digest`, of each variant that has neither `base` nor `image`
    #[arg(long, value_name = "FILE", help_heading = "What to publish")]
    pub images_from: Option<String>,
    /// The tags of a variant, one template per line [default: {version}-{tag}, {major}.{minor}-{tag}, {tag}]
    #[arg(long, value_name = "TEMPLATES", help_heading = "What to publish")]
    pub tag_templates: Vec<String>,
    /// The platforms of all variants: `auto` (all that source and base have in common) or `linux/amd64 linux/arm64`
    /// [default: auto]
    #[arg(long, value_name = "PLATFORMS", help_heading = "What to publish")]
    pub platforms: Vec<String>,
    /// Environment variables for all variants, `NAME=value`, one per line
    #[arg(long, value_name = "LINES", help_heading = "What to publish")]
    pub env: Vec<String>,
    /// Labels for all variants, `name=value`, one per line
    #[arg(long, value_name = "LINES", help_heading = "What to publish")]
    pub labels: Vec<String>,
    /// Annotations for all variants, `name=value`, one per line
    #[arg(long, value_name = "LINES", help_heading = "What to publish")]
    pub annotations: Vec<String>,
    /// The address of the tool's repository [default: the source image's, else that of the forge or of the git work tree]
    #[arg(long, value_name = "URL", help_heading = "What to publish")]
    pub repository_url: Option<String>,
    /// The commit that the version was made from [default: the source image's, else that of its tag, else that of the run]
    #[arg(long, value_name = "COMMIT", help_heading = "What to publish")]
    pub revision: Option<String>,
    /// The date of the version in RFC 3339 [default: the source image's, else the date of the commit]
    #[arg(long, value_name = "TIME", help_heading = "What to publish")]
    pub created: Option<String>,
    /// The repositories to publish to [default: the repository's own in the forge's registry]
    #[arg(long, value_name = "REPOSITORIES", help_heading = "Where to publish")]
    pub images: Vec<String>,
    /// Credentials, `registry username password`, one per line (better passed as `INPUT_CREDENTIALS`)
    #[arg(long, value_name = "LINES", help_heading = "Where to publish", hide_default_value = true)]
    pub credentials: Vec<String>,
    /// The token for GitHub and ghcr.io (better passed as `INPUT_GITHUB_TOKEN`)
    #[arg(long, value_name = "TOKEN", help_heading = "Where to publish")]
    pub github_token: Option<String>,
    /// Registries to contact without TLS, in addition to those on loopback
    #[arg(long, value_name = "HOSTS", help_heading = "Where to publish")]
    pub insecure_registries: Vec<String>,
    /// What builds the images: `engine` (the Docker Engine, which also runs them), or `registry` (composes them without
    /// an engine) [default: engine]
    #[arg(long, value_name = "BUILDER", value_parser = values::<Builder>(), ignore_case = true, help_heading = "How to publish")]
    pub builder: Option<String>,
    /// Do everything but push
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = values::<bool>(), ignore_case = true, help_heading = "How to publish")]
    pub dry_run: Option<String>,
    /// What a pull request of the same repository does; `push` is for development images [default: dry-run]
    #[arg(long, value_name = "WHAT", value_parser = values::<PullRequest>(), ignore_case = true, help_heading = "How to publish")]
    pub pull_request: Option<String>,
    /// Whether to run every variant before it is published [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = values::<bool>(), ignore_case = true, help_heading = "How to publish")]
    pub verify: Option<String>,
    /// When rolling tags move: `guard` (never backwards), `always` or `never` [default: guard]
    #[arg(long, value_name = "WHEN", value_parser = values::<Rolling>(), ignore_case = true, help_heading = "How to publish")]
    pub rolling: Option<String>,
    /// What to do if an exact tag already names another image: `keep` it, `fail`, or `replace` it
    /// [default: keep]
    #[arg(long, value_name = "WHAT", value_parser = values::<OnConflict>(), ignore_case = true, help_heading = "How to publish")]
    pub on_conflict: Option<String>,
    /// Versions that own no rolling tag, such as withdrawn ones: `1.3.0 >=2024`
    #[arg(long, value_name = "VERSIONS", help_heading = "How to publish")]
    pub ignore_versions: Vec<String>,
    /// The section about the images in the release notes: `compact`, `full`, or `false` for none [default: compact]
    #[arg(long, value_name = "FORM", num_args = 0..=1, default_missing_value = "compact", value_parser = values::<ReleaseNotes>(), ignore_case = true, help_heading = "How to publish")]
    pub release_notes: Option<String>,
    /// How many requests and builds may run in parallel [default: 8]
    #[arg(long, value_name = "NUMBER", help_heading = "How to publish")]
    pub concurrency: Option<String>,
}

impl Options {
    /// The names of the inputs.
    #[must_use]
    pub fn names() -> Vec<String> {
        use clap::Args as _;

        let command = Self::augment_args(clap::Command::new("options"));
        let names = command.get_arguments().filter_map(|option| option.get_long());
        names.filter(|name| *name != "file").map(str::to_owned).collect()
    }
}
