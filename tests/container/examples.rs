//! The examples of uv and Ruff as the release workflow of cargo-dist calls them, run by act.
//!
//! These parts are stand-ins:
//!
//! - the registries `ghcr.io`, `docker.io` and `dhi.io`, and GitHub's API,
//! - the job of cargo-dist that makes the plan,
//! - the tool, which prints its version, and the bases, which have nothing but a shell,
//! - each action in [`STAND_INS`]; the checkout is act's own.
//!
//! Everything else is the example's: its jobs, expressions, inputs and matrix. But uv's matrix is [shortened](short), and
//! its bases are for one platform.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use support::github::{GitHub, Release, WRITE_TOKEN};
use support::image::{TinyImage, executable, file};
use support::parts;
use support::registry::{Auth, Registry};
use support::runner::payload;

use super::act::{Act, Checkout, said};
use super::engine::Engine;
use super::{PASSWORD, PLATFORMS};

const VERSION: &str = "0.9.26";

/// Actions that need the Internet, each with its stand-in.
const STAND_INS: [(&str, &str); 6] = [
    ("docker/setup-buildx-action", "runs: { using: composite, steps: [{ run: ':', shell: sh }] }"),
    ("docker/setup-qemu-action", "runs: { using: composite, steps: [{ run: ':', shell: sh }] }"),
    ("docker/login-action", "runs: { using: composite, steps: [{ run: ':', shell: sh }] }"),
    // The test has pushed the image by its digest, as the action would.
    (
        "docker/build-push-action",
        "inputs: { outputs: { required: true } }
outputs: { digest: { value: DIGEST } }
runs: { using: composite, steps: [{ run: 'echo \"build is ${{ inputs.outputs }}\"', shell: sh }] }",
    ),
    (
        "actions/attest",
        "inputs: { subject-checksums: { required: true } }
runs: { using: composite, steps: [{ run: 'sed \"s/^/subject is /\" \"${{ inputs.subject-checksums }}\"', shell: sh }] }",
    ),
    (
        "actions/upload-artifact",
        "inputs: { path: { required: true } }
runs: { using: composite, steps: [{ run: 'sed \"s/^/notes are /\" \"${{ inputs.path }}\"', shell: sh }] }",
    ),
];

/// The part of cargo-dist's release workflow that concerns images. For the tag `dry-run`, the plan has a tag that
/// cargo-dist makes up. act names its containers by workflow and job, and removes others of that name.
const RELEASE: &str = r#"
name: Release of TOOL
on: { workflow_dispatch: { inputs: { tag: { required: true, default: dry-run, type: string } } } }
jobs:
  plan:
    runs-on: ubuntu-latest
    outputs: { val: "${{ steps.plan.outputs.manifest }}" }
    steps:
      - id: plan
        env: { TAG: "${{ inputs.tag }}" }
        run: |
          implicit=false
          if [ "$TAG" = dry-run ]; then TAG=0.9.26 implicit=true; fi
          echo "manifest={\"announcement_tag\":\"$TAG\",\"announcement_tag_is_implicit\":$implicit}" >>"$GITHUB_OUTPUT"
  custom-build-docker:
    needs: plan
    uses: ./.github/workflows/build-docker.yml
    with: { plan: "${{ needs.plan.outputs.val }}" }
    secrets: inherit
"#;

/// A row of the tags that the workflows of today compute.
#[derive(Deserialize)]
struct Row {
    tool: String,
    version: Option<String>,
    sha: Option<String>,
    source: Image,
    variants: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    line: String,
    #[serde(default)]
    base: String,
    tags: BTreeSet<String>,
}

impl Row {
    fn find(tool: &str, is_meant: impl Fn(&Self) -> bool) -> Self {
        let rows: Vec<Self> = serde_json::from_str(include_str!("../fixtures/golden/tags.json")).unwrap();
        rows.into_iter().find(|row| row.tool == tool && is_meant(row)).unwrap()
    }

    fn tags(&self) -> Vec<&str> {
        let images = self.variants.iter().chain([&self.source]);
        let tags: BTreeSet<&str> = images.flat_map(|image| &image.tags).map(String::as_str).collect();
        tags.into_iter().collect()
    }
}

/// The registries and GitHub, for one tool.
struct World {
    act: Act,
    checkout: Checkout,
    /// In place of `ghcr.io`, `docker.io` and `dhi.io`, of which the last two require a login. Docker Hub's bases, which
    /// everybody may pull, are in a registry of their own.
    ghcr: Registry,
    hub: Registry,
    library: Registry,
    hardened: Registry,
    github: GitHub,
    repository: String,
}

impl World {
    /// The example as the workflow `build-docker.yml` of `astral-sh/TOOL`, with its scratch image and its bases for
    /// `platforms`. `None` if a part is missing, which is reported.
    async fn start(
        row: &Row,
        binaries: &[&str],
        scratch: &str,
        platforms: &[&str],
        (example, matrix): (&str, Option<&str>),
    ) -> Option<Self> {
        let engine = Engine::find().or_else(|| {
            parts::skip("no engine, or no docker");
            None
        })?;
        let login = Auth::Htpasswd { user: "publisher", password: PASSWORD };
        let repository = format!("astral-sh/{}", row.tool);
        let started = (
            Registry::start(Auth::None).await,
            Registry::start(login).await,
            Registry::start(Auth::None).await,
            Registry::start(login).await,
            GitHub::start(&repository, vec![Release::new("0.9.25")]),
        );
        let (Some(ghcr), Some(hub), Some(library), Some(hardened), Some(github)) = started else {
            parts::skip("no docker-registry, or no description of GitHub's API");
            return None;
        };
        let act = Act::find(&engine, &ghcr).await?;
        let tool = TinyImage::tool(PLATFORMS, binaries, VERSION).attestations().build();
        let digest = ghcr.push(&tool, scratch, &tool.top().digest()).await;
        for variant in &row.variants {
            let base = platforms.iter().fold(TinyImage::new(platforms), |base, platform| {
                base.layer_for(platform, vec![executable("/bin/sh", support::elf::printing(platform, ""))])
            });
            let base = base.layer(vec![file("/etc/base", &*variant.base)]).build();
            let (registry, name) = match variant.base.strip_prefix("dhi.io/") {
                Some(name) => (&hardened, name.to_owned()),
                None => (&library, format!("library/{}", variant.base)),
            };
            let (name, tag) = name.rsplit_once(':').unwrap();
            registry.push(&base, name, tag).await;
        }
        let here = |text: &str| {
            let text = text.replace("docker.io", hub.host()).replace("dhi.io", hardened.host());
            let names = ["alpine:", "debian:", "buildpack-deps:", "python:"];
            // Names without a registry are those of Docker Hub.
            let text = names.iter().fold(text.replace("ghcr.io", ghcr.host()), |text, name| {
                let at_the_hub = format!("{}/library/{name}", library.host());
                ["base: \"", "base: ", "            "].iter().fold(text, |text, before| {
                    text.replace(&format!("{before}{name}"), &format!("{before}{at_the_hub}"))
                })
            });
            assert!(!text.contains(".io/"), "a name of a real registry is left:\n{text}");
            text
        };
        // The log has no outputs of steps, so a further step prints the status.
        let status = "      - run: 'echo \"status is ${{ steps.variants.outputs.status }}\"'\n";
        let stand_in = |action: &str| format!("actions/{}/action.yml", action.replace('/', "-"));
        let mut files = vec![
            (".github/workflows/release.yml".to_owned(), RELEASE.replace("TOOL", &row.tool)),
            (".github/workflows/build-docker.yml".to_owned(), here(example) + status),
            (stand_in("astral-sh/publish-variants"), act.action()),
        ];
        files.extend(matrix.map(|matrix| (".github/variants.yml".to_owned(), here(matrix))));
        files.extend(STAND_INS.map(|(action, does)| (stand_in(action), does.replace("DIGEST", &digest))));
        let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (&**path, &**content)).collect();
        let checkout = Checkout::new(&repository, &files);
        github.add_tag(Release { tag: "nightly".into(), commit: checkout.commit(), ..Release::new("nightly") });
        Some(Self { act, checkout, ghcr, hub, library, hardened, github, repository })
    }

    fn run(&self, event: &str, payload: &Value, workflow: &str) -> String {
        let uses = std::fs::read_to_string(self.checkout.path(".github/workflows/build-docker.yml")).unwrap();
        // Each `uses: NAME@REF` is replaced by a folder of the checkout.
        let uses = uses.lines().filter_map(|line| line.split_once("uses: ")?.1.split_whitespace().next());
        let uses: BTreeSet<&str> = uses.filter(|action| !action.starts_with("actions/checkout@")).collect();
        let folder = |action: &str| {
            let (name, _) = action.split_once('@').unwrap();
            self.checkout.path("actions").join(name.replace('/', "-")).display().to_string()
        };
        let stand_ins = uses.into_iter().map(|action| format!("--local-repository={action}={}", folder(action)));
        let arguments = [
            format!("--workflows=.github/workflows/{workflow}"),
            format!("--env=GITHUB_API_URL={}", self.github.url()),
            format!("--env=GITHUB_REPOSITORY={}", self.repository),
            "--var=HUB_USER=publisher".to_owned(),
            format!("--secret=HUB_TOKEN={PASSWORD}"),
            format!("--secret=GITHUB_TOKEN={WRITE_TOKEN}"),
        ];
        let arguments: Vec<String> = arguments.into_iter().chain(stand_ins).collect();
        let log = self.act.run(&self.checkout, event, payload, &arguments);
        assert!(!log.contains(PASSWORD) && !log.contains(WRITE_TOKEN), "a secret is in the log");
        log
    }

    fn dispatch(&self, tag: &str) -> String {
        self.run("workflow_dispatch", &json!({ "inputs": { "tag": tag } }), "release.yml")
    }

    fn pull_request(&self, sha: &str) -> String {
        self.github.add_tag(Release { tag: "head".into(), commit: sha.into(), ..Release::new("head") });
        let mut event =
            payload(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events"), "pull_request.opened");
        event["pull_request"]["head"]["sha"] = sha.into();
        event["pull_request"]["head"]["repo"]["full_name"] = self.repository.clone().into();
        event["repository"]["full_name"] = self.repository.clone().into();
        self.run("pull_request", &event, "build-docker.yml")
    }

    /// The number of blobs and manifests that the registries were sent, without uploads that were only opened to check
    /// the permission.
    fn writes(&self) -> usize {
        let sent = |method: &str, status| method == "PUT" || (method == "POST" && status == 201);
        let of =
            |registry: &Registry| registry.requests().iter().filter(|asked| sent(&asked.method, asked.status)).count();
        [&self.ghcr, &self.hub, &self.library, &self.hardened].map(of).iter().sum()
    }

    /// Asserts that the release is published with the tags of today's workflow, besides the tags `there`; that a second
    /// dispatch changes nothing; and that a plan without a tag is a dry run.
    async fn assert_releases(&self, row: &Row, destinations: &[(&Registry, &str)], there: &[&str]) {
        let released = self.dispatch(VERSION);
        assert_eq!(said(&released, "status"), "published");
        assert!(said(&released, "build").ends_with(",push=true"), "{released}");
        let expected: BTreeSet<&str> = row.tags().into_iter().chain(there.iter().copied()).collect();
        let mut published = BTreeSet::new();
        for (registry, repository) in destinations {
            let tags = registry.tags(repository).await;
            assert!(tags.iter().map(String::as_str).eq(expected.iter().copied()), "{tags:?}\n{expected:?}");
            for image in row.variants.iter().chain([&row.source]) {
                let mut digests = BTreeSet::new();
                for tag in &image.tags {
                    digests.insert(registry.manifest(repository, tag).await.unwrap().digest());
                }
                assert_eq!(digests.len(), 1, "{:?}", image.tags);
                published.extend(digests);
            }
        }
        assert_eq!(published.len(), row.variants.len() + 1, "the same digest everywhere, and one for each image");
        let attested =
            released.lines().filter_map(|line| line.split_once("| subject is ")?.1.split_whitespace().next());
        let attested: BTreeSet<String> = attested.map(|hex| format!("sha256:{hex}")).collect();
        assert_eq!(attested, published);
        assert_eq!(self.github.count("PATCH"), 0, "there is no release yet");

        let before = self.writes();
        let again = self.dispatch(VERSION);
        assert_eq!((said(&again, "status"), self.writes()), ("unchanged", before), "{again}");
        let tried = self.dispatch("dry-run");
        assert_eq!((said(&tried, "status"), self.writes()), ("dry-run", before), "{tried}");
    }
}

/// uv's matrix with only the newest Python in each row that has several: all of them would take minutes.
fn short(matrix: &str) -> String {
    let versions = ["3.14", "3.13", "3.12", "3.11", "3.10", "3.9"].map(|version| format!("\"{version}\""));
    [&versions[..], &versions[..5]].iter().fold(matrix.to_owned(), |matrix, several| {
        assert!(matrix.contains(&several.join(", ")), "the matrix has other versions now");
        matrix.replace(&format!("[{}]", several.join(", ")), &format!("[{}]", versions[0]))
    })
}

/// The expected tags for the shortened matrix.
fn shortened(mut row: Row) -> Row {
    let is_kept =
        |line: &str| !line.contains("python:") || line.contains("python:3.14") || line.starts_with("python:3.9-alpine");
    row.variants.retain(|image| is_kept(&image.line));
    row
}

#[tokio::test]
async fn ruffs_example_publishes_the_tags_of_today_and_a_plan_for_nothing_is_a_dry_run() {
    let row = Row::find("ruff", |row| row.version.as_deref() == Some(VERSION));
    let example = include_str!("../../examples/ruff.yml");
    let Some(world) = World::start(&row, &["ruff"], "astral-sh/ruff", PLATFORMS, (example, None)).await else { return };
    // The tags of the previous release, as today's workflow published it.
    let before = TinyImage::tool(PLATFORMS, &["ruff"], "0.9.25").build();
    for tag in ["0.9.25", "0.9", "latest"] {
        world.ghcr.push(&before, "astral-sh/ruff", tag).await;
    }
    world.assert_releases(&row, &[(&world.ghcr, "astral-sh/ruff")], &["0.9.25"]).await;

    let before = world.writes();
    let log = world.pull_request(&"0123456789".repeat(4));
    assert_eq!((said(&log, "status"), world.writes()), ("dry-run", before), "{log}");
    assert!(said(&log, "build").ends_with(",push=false"), "{log}");
}

#[tokio::test]
async fn uvs_example_publishes_the_tags_of_today_and_its_pull_requests_development_images() {
    let row = shortened(Row::find("uv", |row| row.version.as_deref() == Some(VERSION)));
    let matrix = short(include_str!("../../examples/uv-variants.yml"));
    let files = (include_str!("../../examples/uv.yml"), Some(&*matrix));
    let Some(world) = World::start(&row, &["uv", "uvx"], "astral-sh/uv-dev", &PLATFORMS[..1], files).await else {
        return;
    };
    let destinations = [(&world.ghcr, "astral-sh/uv"), (&world.hub, "astral/uv")];
    world.assert_releases(&row, &destinations, &[]).await;

    let row = shortened(Row::find("uv", |row| row.sha.is_some()));
    let log = world.pull_request(row.sha.as_deref().unwrap());
    assert!(said(&log, "build").ends_with(",push=true"), "{log}");
    let tags = world.ghcr.tags("astral-sh/uv-dev").await;
    assert!(tags.iter().map(String::as_str).eq(row.tags()), "{tags:?}");
}
