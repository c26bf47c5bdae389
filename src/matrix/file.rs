//! The format of a matrix file. Its JSON Schema is generated from these types, and a test compares the reader's keys
//! with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// The variants of a tool's image: the same executables on many bases.
#[derive(JsonSchema)]
#[schemars(rename = "publish-variants", untagged)]
#[expect(dead_code, reason = "only the JSON Schema is made of it; the reader needs places, which serde doesn't have")]
pub(super) enum MatrixFile {
    /// The variants, without defaults.
    Rows(Vec<Row>),
    /// The variants, and what they have in common.
    Mapping(Box<Mapping>),
    /// Lines `base,tag,tag`.
    Lines(#[schemars(regex(pattern = ","))] String),
}

/// The variants, and what they have in common.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "as above")]
pub(super) struct Mapping {
    /// Keys for all variants that don't set them themselves. `env`, `labels` and `annotations` are merged by name.
    pub(super) defaults: Option<VariantEntry>,
    /// The variants.
    pub(super) variants: Option<Rows>,
    /// Another name of `variants`, from the workflows of uv and Ruff.
    pub(super) image_mapping: Option<Rows>,
    /// Another name of `variants`, from GitHub's matrices.
    pub(super) include: Option<Rows>,
}

/// Variants.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "as above")]
pub(super) enum Rows {
    /// One after the other.
    List(Vec<Row>),
    /// Lines `base,tag,tag`.
    Lines(String),
}

/// A variant, or several of a kind; or one line `base,tag,tag`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "as above")]
pub(super) enum Row {
    /// The base, then the tags, with commas: `alpine:3.23,alpine3.23,alpine`.
    Line(String),
    /// A variant with its keys.
    Entry(Box<VariantEntry>),
    /// An empty item, which is left out.
    Empty(()),
}

/// A variant, or with `for` one for each combination of values.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "as above")]
pub(super) struct VariantEntry {
    /// The base image: `python:{python}-slim-trixie`; `scratch` for the executables alone.
    pub(super) base: Option<String>,
    /// Instead of `base`: an image that has been built elsewhere, and is published unchanged:
    /// `ghcr.io/acme/candidates@sha256:…`, or `oci:PATH` for an OCI layout (a folder or a tar archive).
    pub(super) image: Option<String>,
    /// The variant's names in tags, the most specific first: `[alpine3.23, alpine]`.
    pub(super) tags: Option<OneOrMore>,
    /// Axes to multiply the variant by. Each is used as `{name}`: `{ python: ["3.14", "3.13"] }`.
    #[schemars(rename = "for")]
    pub(super) axes: Option<BTreeMap<String, OneOrMore>>,
    /// Combinations of values to leave out: `[{ python: "3.9", os: trixie }]`.
    pub(super) exclude: Option<Vec<BTreeMap<String, Scalar>>>,
    /// Extra tags for the first value of each axis. A tag that names an axis (`python-{os}`) goes to the first
    /// combination with each of that axis's values.
    pub(super) newest_tags: Option<OneOrMore>,
    /// Whether the variant also gets the bare tags: `{version}`, `{major}.{minor}` and `latest`. At most one variant
    /// can be the default.
    pub(super) default: Option<bool>,
    /// The image with the executables, instead of the one in the input `source`: `ghcr.io/acme/tool-gnu:{version}`,
    /// `oci:dist/image.tar`, or `files` followed by a line for each file: `linux/amd64=dist/x86_64/tool`.
    pub(super) source: Option<OneOrMore>,
    /// The files to take from the source, instead of those in the input `binaries`: `[/uv, /uvx]`, or with a target:
    /// `/completions/_uv -> /usr/share/zsh/site-functions/_uv`.
    pub(super) binaries: Option<OneOrMore>,
    /// `auto` (all that source and base have in common), or a list: `[linux/amd64, linux/arm64]`.
    pub(super) platforms: Option<OneOrMore>,
    /// Environment variables to set. `$NAME` and `${NAME}` stand for the base's value, `\$` for a dollar sign.
    pub(super) env: Option<BTreeMap<String, Scalar>>,
    /// The command; the first executable by default. `null` keeps the base's, `[]` clears it.
    pub(super) cmd: Option<OneOrMore>,
    /// The entrypoint; cleared by default, as by `[]`. `null` keeps the base's.
    pub(super) entrypoint: Option<OneOrMore>,
    /// The user; the base's by default.
    pub(super) user: Option<Scalar>,
    /// The working directory; the base's by default.
    pub(super) workdir: Option<String>,
    /// Labels to set. They override computed ones.
    pub(super) labels: Option<BTreeMap<String, Scalar>>,
    /// Annotations to set. They override computed ones. With the prefix `index:` or `manifest:`, an annotation is set
    /// only there.
    pub(super) annotations: Option<BTreeMap<String, Scalar>>,
    /// Extra `RUN` instructions of a Dockerfile, after the executables are in place. Only with `builder: engine`.
    pub(super) run: Option<OneOrMore>,
    /// Commands that must succeed, in addition to the default ones: `python --version`. `false` runs nothing at all.
    pub(super) verify: Option<Verify>,
    /// Why people should stop using this variant.
    pub(super) deprecated: Option<String>,
}

/// A text. An unquoted number is taken as it is written.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "as above")]
pub(super) enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
    /// An item without a value, which is ignored, or an empty value.
    Empty(()),
}

/// One text, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "as above")]
pub(super) enum OneOrMore {
    One(Scalar),
    More(Vec<Scalar>),
}

/// Commands that must succeed.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "as above")]
pub(super) enum Verify {
    /// `false`: run nothing.
    Off(bool),
    /// One command, or several, one per line.
    One(String),
    /// Several.
    More(Vec<Command>),
}

/// A command that must succeed.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "as above")]
pub(super) enum Command {
    /// A command line, split into words at blanks and quotes.
    Line(String),
    /// A command whose output is checked.
    Expected(ExpectedCommand),
    /// An empty item, which is left out.
    Empty(()),
}

/// A command whose output is checked.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "as above")]
pub(super) struct ExpectedCommand {
    /// The command, as a line or word by word.
    pub(super) command: OneOrMore,
    /// What its output must contain.
    pub(super) contains: Option<Scalar>,
}

/// Where editors find the schema: that of the newest release with this major version.
const ADDRESS: &str = concat!(
    "https://raw.githubusercontent.com/astral-sh/publish-variants/v",
    env!("CARGO_PKG_VERSION_MAJOR"),
    "/docs/variants.schema.json"
);

/// The JSON Schema of a matrix file.
#[must_use]
pub fn schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(MatrixFile);
    schema.insert("$id".to_owned(), ADDRESS.into());
    schema
}
