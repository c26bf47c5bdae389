//! Variants built elsewhere: published unchanged, under an index of ours, from a registry or an OCI layout; restored if
//! parts of them are missing; and refused if they aren't what the matrix asks for.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};
use support::image::{Image, MediaTypes, TinyImage, executable};
use support::memory_registry::MemoryRegistry;
use support::runner::{Done, Step};

const ACTION: &str = include_str!("../action.yml");
const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const PREFIX: &str = "org.opencontainers.image.";

/// An image like buildx's: the tool, an attestation for each platform, and labels.
fn candidate(platforms: &[&str], version: &str) -> TinyImage {
    let labels = json!({
        "org.opencontainers.image.revision": "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678",
        "org.opencontainers.image.title": "Candidate",
        "org.opencontainers.image.base.name": "docker.io/library/debian:13",
    });
    let image = platforms.iter().fold(TinyImage::new(platforms), |image, platform| {
        let tool = support::elf::printing(platform, &format!("tool {version}\n"));
        image.layer_for(platform, vec![executable("/usr/bin/tool", tool)])
    });
    image.config("Labels", labels).attestations()
}

struct World {
    candidates: MemoryRegistry,
    destinations: [MemoryRegistry; 2],
}

impl World {
    fn start() -> Self {
        Self { candidates: MemoryRegistry::start(), destinations: [MemoryRegistry::start(), MemoryRegistry::start()] }
    }

    /// Pushes an image for candidates, and returns its name for the matrix.
    fn push(&self, image: &Image) -> String {
        let digest = self.candidates.put_image(image, "acme/candidates", "any");
        self.candidates.untag("acme/candidates", "any");
        format!("{}/acme/candidates@{digest}", self.candidates.host())
    }

    /// The step that publishes this matrix as 1.2.3 to both destinations. It needs neither GitHub nor an engine.
    fn step(&self, matrix: &Value) -> Step {
        let images = self.destinations.each_ref().map(|registry| format!("{}/acme/tool", registry.host()));
        Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
            .variable("GITHUB_REPOSITORY", "")
            .variable("PUBLISH_VARIANTS_DEADLINE", "5")
            .input("version", "1.2.3")
            .input("builder", "registry")
            .input("images", &images.join("\n"))
            .input("matrix", &matrix.to_string())
    }

    fn index(&self, tag: &str) -> Value {
        self.destinations[0].manifest("acme/tool", tag).unwrap_or_else(|| panic!("there is no {tag}")).json()
    }

    fn writes(&self) -> usize {
        self.destinations.iter().flat_map(MemoryRegistry::requests).filter(|request| request.asked.is_write()).count()
    }
}

fn full(image: &str) -> Value {
    json!({ "variants": [{ "image": image, "tags": ["full"] }] })
}

fn digests(index: &Value) -> Vec<&str> {
    index["manifests"].as_array().unwrap().iter().map(|entry| entry["digest"].as_str().unwrap()).collect()
}

fn failure(done: &Done) -> &str {
    assert_ne!(done.code, Some(0), "it succeeded:\n{}", done.log);
    &done.log
}

#[tokio::test]
async fn all_of_an_image_is_published_as_it_is_and_only_the_index_is_ours() {
    let world = World::start();
    for media_types in [MediaTypes::Oci, MediaTypes::Docker] {
        let image = candidate(&BOTH, "1.2.3").media_types(media_types).annotation("org.example.theirs", "x").build();
        let step = world.step(&full(&world.push(&image))).input("on-conflict", "replace");
        let done = step.run().await.succeeded();
        let index = world.index("1.2.3-full");
        assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
        let theirs = image.top().json();
        assert_eq!(index["manifests"], theirs["manifests"], "descriptors, too, with what marks an attestation");
        for registry in &world.destinations {
            for digest in digests(&theirs) {
                let copied = registry.manifest("acme/tool", digest).unwrap();
                assert!(image.manifests.contains(&copied), "{digest}");
            }
            assert!(image.blobs.iter().all(|blob| registry.blob("acme/tool", &support::image::digest(blob)).is_some()));
        }
        let annotations = index["annotations"].as_object().unwrap();
        let named = |name: &str| annotations.get(&format!("{PREFIX}{name}")).map(|value| value.as_str().unwrap());
        assert_eq!(named("version"), Some("1.2.3-full"));
        assert_eq!(named("title"), Some("Candidate"), "without a source its own word counts");
        assert_eq!(named("revision"), Some("a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"));
        assert_eq!((named("base.name"), named("base.digest")), (Some("docker.io/library/debian:13"), None));
        assert_eq!(annotations["io.github.astral-sh.publish-variants.version"], "1.2.3");
        assert_eq!(annotations.get("org.example.theirs"), None, "their index isn't published");
        let digest = done.json("digests")["full"].as_str().unwrap().to_owned();
        for tag in ["1.2.3-full", "1.2-full", "full"] {
            for registry in &world.destinations {
                assert_eq!(registry.named("acme/tool", tag).as_deref(), Some(digest.as_str()), "{tag}");
            }
        }
        let checksums = std::fs::read_to_string(step.workspace().join("publish-variants.sha256")).unwrap();
        assert_eq!(checksums.matches(digest.trim_start_matches("sha256:")).count(), 2, "{checksums}");
        assert!(done.summary.contains("tool 1.2.3"), "its name is that of the destination: {}", done.summary);
        assert!(done.summary.contains("copied from") && done.summary.contains("debian:13"), "{}", done.summary);
    }
}

#[tokio::test]
async fn a_second_run_reads_and_sends_no_blob_and_is_unchanged() {
    let world = World::start();
    let step = world.step(&full(&world.push(&candidate(&BOTH, "1.2.3").build())));
    let first = step.run().await.succeeded();
    let writes = world.writes();
    world.candidates.clear_requests();
    let second = step.run().await.succeeded();
    assert_eq!(second.outputs["status"], "unchanged");
    assert_eq!(second.outputs["digests"], first.outputs["digests"]);
    // The preflight opens an upload at each destination, and cancels it.
    assert!(world.writes() <= writes + 4, "{} after {writes}", world.writes());
    let layers = world.candidates.requests().iter().filter(|request| request.asked.path.contains("/blobs/")).count();
    assert_eq!(layers, BOTH.len(), "the configs alone");
}

#[tokio::test]
async fn missing_content_at_one_destination_is_restored_and_the_other_one_is_left_alone() {
    let world = World::start();
    let image = candidate(&BOTH, "1.2.3").build();
    let step = world.step(&full(&world.push(&image)));
    step.run().await.succeeded();
    let top = world.destinations[1].named("acme/tool", "1.2.3-full").unwrap();
    let behind = &world.destinations[1];
    let attestation = image.manifests[2].digest();
    for gone in [image.manifests[0].digest(), attestation] {
        behind.delete_manifest("acme/tool", &gone);
        assert_eq!(step.run().await.succeeded().outputs["status"], "published", "{gone}");
        assert!(behind.manifest("acme/tool", &gone).is_some(), "{gone}");
    }
    let layer = support::image::digest(&image.blobs[1]);
    behind.delete_blob("acme/tool", &layer);
    step.run().await.succeeded();
    assert!(behind.blob("acme/tool", &layer).is_some());
    behind.untag("acme/tool", "1.2.3-full");
    behind.untag("acme/tool", "full");
    let done = step.run().await.succeeded();
    assert_eq!(behind.named("acme/tool", "full"), Some(top.clone()));
    assert_eq!(done.json("digests")["full"], top.as_str());
    assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged");
}

#[tokio::test]
async fn platforms_select_and_attestations_of_the_others_are_left_out() {
    let world = World::start();
    let image = candidate(&BOTH, "1.2.3").build();
    let name = world.push(&image);
    let with = |platforms: Value| json!({ "variants": [{ "image": name, "tags": ["full"], "platforms": platforms }] });
    world.step(&with(json!(["linux/arm64"]))).run().await.succeeded();
    let all = image.top().json();
    let all = digests(&all);
    assert_eq!(digests(&world.index("1.2.3-full")), [all[1], all[3]], "its image, and what attests it");
    let done = world.step(&with(json!(["linux/amd64", "linux/s390x"]))).run().await;
    assert_eq!(done.code, Some(2));
    let said = failure(&done);
    assert!(said.contains("has no manifest for `linux/s390x`") && said.contains("linux/amd64, linux/arm64"), "{said}");
}

#[tokio::test]
async fn a_single_manifest_gets_an_index_of_its_own() {
    let world = World::start();
    let image = candidate(&BOTH[..1], "1.2.3");
    // Attestations need an index.
    let image = {
        let with_index = image.build();
        Image { blobs: with_index.blobs[..2].to_vec(), manifests: vec![with_index.manifests[0].clone()] }
    };
    world.step(&full(&world.push(&image))).run().await.succeeded();
    let index = world.index("1.2.3-full");
    assert_eq!(digests(&index), [image.top().digest()]);
    assert_eq!(index["manifests"][0]["platform"], json!({ "architecture": "amd64", "os": "linux" }));
}

#[tokio::test]
async fn images_that_nothing_can_be_built_upon_can_be_copied_and_artifacts_cannot() {
    let world = World::start();
    let onbuild = candidate(&BOTH, "1.2.3").config("OnBuild", json!(["RUN true"])).build();
    world.step(&full(&world.push(&onbuild))).run().await.succeeded();
    // An index that lists only attestations.
    let mut artifact = candidate(&BOTH, "1.2.3").build();
    let top = artifact.manifests.last_mut().unwrap();
    let mut index = top.json();
    index["manifests"].as_array_mut().unwrap().drain(..2);
    top.bytes = index.to_string().into_bytes();
    let done = world.step(&full(&world.push(&artifact))).run().await;
    assert!(failure(&done).contains("has no image for any platform"), "{}", done.log);
    let missing = format!("{}/acme/candidates@{}", world.candidates.host(), support::image::digest(b"nothing"));
    let done = world.step(&full(&missing)).variable("PUBLISH_VARIANTS_DEADLINE", "1").run().await;
    assert!(failure(&done).contains("can't be resolved"), "{}", done.log);
}

#[tokio::test]
async fn an_image_that_was_built_again_does_not_replace_the_published_one_and_a_warning_says_so() {
    let world = World::start();
    world.step(&full(&world.push(&candidate(&BOTH, "1.2.3").build()))).run().await.succeeded();
    let before = world.destinations[0].named("acme/tool", "1.2.3-full");
    let again = world.push(&candidate(&BOTH, "1.2.3").created(Some("2026-02-01T00:00:00Z")).build());
    world.destinations[1].untag("acme/tool", "1.2.3-full");
    let step = world.step(&full(&again));
    let done = step.run().await.succeeded();
    for registry in &world.destinations {
        assert_eq!(registry.named("acme/tool", "1.2.3-full"), before, "the release is finished as it was begun");
    }
    assert!(done.log.contains("has already been published for this version"), "{}", done.log);
    let checksums = std::fs::read_to_string(step.workspace().join("publish-variants.sha256")).unwrap();
    assert_eq!(checksums, "", "this run hasn't made that digest");
    step.input("on-conflict", "replace").run().await.succeeded();
    assert_ne!(world.destinations[0].named("acme/tool", "1.2.3-full"), before);
}

#[tokio::test]
async fn a_platform_is_not_lost_silently() {
    let world = World::start();
    world
        .step(&full(&world.push(&candidate(&BOTH, "1.2.2").build())))
        .input("version", "1.2.2")
        .run()
        .await
        .succeeded();
    let half = world.push(&candidate(&BOTH[..1], "1.2.3").build());
    let done = world.step(&full(&half)).run().await;
    let said = failure(&done);
    assert!(said.contains("would lose linux/arm64, which its image doesn't have"), "{said}");
    assert_eq!(world.destinations[0].named("acme/tool", "1.2.3-full"), None);
    let asked = json!({ "variants": [{ "image": half, "tags": ["full"], "platforms": ["linux/amd64"] }] });
    world.step(&asked).run().await.succeeded();
}

#[tokio::test]
async fn a_dry_run_reports_what_would_be_published_and_writes_nothing() {
    let world = World::start();
    let matrix = full(&world.push(&candidate(&BOTH, "1.2.3").build()));
    let done = world.step(&matrix).input("dry-run", "true").run().await.succeeded();
    assert_eq!((world.writes(), done.outputs["status"].as_str()), (0, "dry-run"));
    assert_eq!(done.outputs["tags"].lines().count(), 6, "{}", done.outputs["tags"]);
    assert!(done.log.contains("0 variants to be built, 1 to be copied"), "{}", done.log);
    let published = world.step(&matrix).run().await.succeeded();
    assert_eq!(done.outputs["digests"], published.outputs["digests"]);
}

#[tokio::test]
async fn an_older_version_takes_no_rolling_tag_back() {
    let world = World::start();
    let image = full(&world.push(&candidate(&BOTH, "1.2.3").build()));
    world.step(&image).run().await.succeeded();
    let newest = world.destinations[0].named("acme/tool", "full");
    let done = world.step(&image).input("version", "1.2.2").run().await.succeeded();
    assert_eq!(world.destinations[0].named("acme/tool", "full"), newest);
    assert!(done.outputs["kept"].contains("belongs to 1.2.3"), "{}", done.outputs["kept"]);
    assert!(world.destinations[0].named("acme/tool", "1.2.2-full").is_some());
}

#[tokio::test]
async fn a_source_in_the_same_plan_says_the_facts_of_copied_images_too() {
    let world = World::start();
    let tool =
        TinyImage::tool(&BOTH, &["tool"], "1.2.3").annotation("org.opencontainers.image.title", "Source").build();
    world.candidates.put_image(&tool, "acme/source", "1.2.3");
    let image = world.push(&candidate(&BOTH, "1.2.3").build());
    let matrix = json!({ "variants": [{ "image": image, "tags": ["full"] }, { "base": "scratch", "tags": ["bare"] }] });
    let source = format!("{}/acme/source", world.candidates.host());
    let step = world.step(&matrix).input("source", &source).input("binaries", "/tool").input("source-tags", "default");
    let done = step.run().await.succeeded();
    for tag in ["1.2.3-full", "1.2.3-bare", "1.2.3"] {
        assert_eq!(world.index(tag)["annotations"]["org.opencontainers.image.title"], "Source", "{tag}");
    }
    assert_eq!(done.json("images")["variants"][0]["image"]["reference"], image.as_str());
    let top = |digest: &str| {
        let pushed = world.destinations[0].requests();
        pushed
            .iter()
            .rposition(|request| request.asked.method == "PUT" && request.asked.path.ends_with(digest))
            .unwrap()
    };
    let digest = |tag: &str| world.destinations[0].named("acme/tool", tag).unwrap();
    assert!(top(&digest("1.2.3-full")) < top(&digest("1.2.3")), "the source's index is the last one");
}

/// Writes a layout of `images` as a folder.
fn layout(images: &[Image], folder: &Path) {
    for image in images {
        image.write_layout(folder, "any");
    }
    let mut index = json!({ "schemaVersion": 2, "manifests": [] });
    for image in images {
        let top = image.top();
        let entry = json!({ "mediaType": top.media_type, "digest": top.digest(), "size": top.bytes.len() });
        let named = |name: &str| {
            let mut entry = entry.clone();
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
            entry
        };
        // buildx lists an image with two names twice.
        index["manifests"].as_array_mut().unwrap().extend([named("a"), named("b")]);
    }
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
}

fn archive(folder: &Path, path: &Path) {
    let mut archive = tar::Builder::new(File::create(path).unwrap());
    archive.append_dir_all("", folder).unwrap();
    archive.finish().unwrap();
}

#[tokio::test]
async fn an_oci_layout_is_published_like_a_registrys_image_from_a_folder_and_from_an_archive_that_may_be_compressed() {
    let world = World::start();
    let image = candidate(&BOTH, "1.2.3").build();
    let step = world.step(&full(&world.push(&image)));
    let expected = step.run().await.succeeded().outputs["digests"].clone();
    for location in ["oci:dist/full", "oci:dist/full.tar", "oci:dist/full.tar.gz", "oci:dist/full:a"] {
        let world = World::start();
        let step = world.step(&full(location));
        let dist = step.workspace().join("dist");
        layout(std::slice::from_ref(&image), &dist.join("full"));
        archive(&dist.join("full"), &dist.join("full.tar"));
        let gzip = std::process::Command::new("gzip").args(["--keep", "full.tar"]).current_dir(&dist).status();
        assert!(gzip.unwrap().success());
        let done = step.run().await.succeeded();
        assert_eq!(done.outputs["digests"], expected, "{location}");
        for registry in &world.destinations {
            assert!(image.blobs.iter().all(|blob| registry.blob("acme/tool", &support::image::digest(blob)).is_some()));
        }
        assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged");
        world.destinations[1].delete_manifest("acme/tool", &image.manifests[1].digest());
        world.destinations[1].delete_blob("acme/tool", &support::image::digest(&image.blobs[3]));
        step.run().await.succeeded();
        assert!(world.destinations[1].manifest("acme/tool", &image.manifests[1].digest()).is_some());
        assert!(world.destinations[1].blob("acme/tool", &support::image::digest(&image.blobs[3])).is_some());
    }
}

#[tokio::test]
async fn a_layout_that_cannot_be_used_is_refused_with_a_hint() {
    let world = World::start();
    let image = candidate(&BOTH, "1.2.3").build();
    let other = candidate(&BOTH, "1.2.4").build();
    let outside = tempfile::tempdir().unwrap();
    layout(std::slice::from_ref(&image), outside.path());
    let step = world.step(&full("oci:dist"));
    let dist = step.workspace().join("dist");
    let fails = async |location: &str, says: &str| {
        let done = step.another().input("matrix", &full(location).to_string()).run().await;
        assert_eq!(done.code, Some(2), "{location}: {}", done.log);
        assert!(done.log.contains(says) && done.log.contains("hint: "), "{location}: {}", done.log);
        assert!(done.log.contains("matrix:1:"), "the place of the entry is told: {}", done.log);
    };
    fails("oci:dist", "`oci:dist` can't be read").await;
    layout(&[image.clone(), other.clone()], &dist.join("two"));
    let (of_image, of_other) =
        (format!("oci:dist/two@{}", image.top().digest()), format!("oci:dist/two@{}", other.top().digest()));
    fails("oci:dist/two", "`oci:dist/two` has 2 images").await;
    // Either name is that of both.
    fails("oci:dist/two:a", "`oci:dist/two:a` isn't one of the layout's images").await;
    for offered in [&of_image, &of_other] {
        fails("oci:dist/two", &format!("`{offered}`")).await;
    }
    step.another().input("matrix", &full(&of_other).to_string()).run().await.succeeded();
    fails(&format!("oci:dist/two@{}", support::image::digest(b"x")), "isn't one of the layout's images").await;
    let blob = |number: usize| support::image::digest(&image.blobs[number]).replace("sha256:", "two/blobs/sha256/");
    std::fs::write(dist.join(blob(0)), vec![b' '; image.blobs[0].len()]).unwrap();
    fails(&of_image, "has the digest").await;
    std::fs::write(dist.join(blob(0)), &image.blobs[0]).unwrap();
    std::fs::write(dist.join(blob(1)), "short").unwrap();
    fails(&of_image, "has 5 bytes instead of").await;
    std::fs::remove_file(dist.join(blob(1))).unwrap();
    fails(&of_image, &format!("`{of_image}` lacks `sha256:")).await;
    std::fs::write(dist.join("compressed.tar"), [0x1f, 0x8b, 8, 0]).unwrap();
    fails("oci:dist/compressed.tar", "can't be read").await;
}

#[tokio::test]
async fn an_image_that_the_registry_lacks_is_refused_at_its_place_in_the_matrix() {
    let world = World::start();
    let (host, digest) = (world.candidates.host(), support::image::digest(b"nothing"));
    let there = world.push(&candidate(&BOTH, "1.2.3").build());
    let missing =
        ["acme/candidates:never".to_owned(), "acme/unknown:1".to_owned(), format!("acme/candidates@{digest}")];
    let tried = missing.iter().map(async |missing| {
        let matrix =
            format!("- {{ image: '{there}', tags: [full] }}\n- {{ image: '{host}/{missing}', tags: [slim] }}\n");
        let inline = world.step(&Value::Null).input("matrix", &matrix);
        let in_file = world.step(&Value::Null).file("variants.yml", &matrix).input("matrix", "variants.yml");
        let (inline, in_file) = tokio::join!(inline.run(), in_file.run());
        assert_eq!(inline.code, Some(2), "{missing}: {}", inline.log);
        assert!(inline.log.contains("matrix:2:3") && inline.log.contains("hint: "), "{missing}: {}", inline.log);
        assert!(in_file.log.contains("file=variants.yml,line=2,col=3::"), "{missing}: {}", in_file.log);
        for done in [inline, in_file] {
            assert!(done.log.contains(&format!("{host}/{missing}` does not exist")), "{missing}: {}", done.log);
        }
    });
    futures_util::future::join_all(tried).await;
    assert!(world.destinations.iter().all(|registry| registry.tags("acme/tool").is_empty()));
}

/// The workspace may have come with a pull request: its links must not expose files elsewhere.
#[tokio::test]
async fn a_link_of_the_workspace_leads_to_neither_a_layout_nor_a_record_outside() {
    let world = World::start();
    let image = candidate(&BOTH, "1.2.3").build();
    let outside = tempfile::tempdir().unwrap();
    layout(std::slice::from_ref(&image), &outside.path().join("layout"));
    std::fs::write(outside.path().join("record.json"), "{}").unwrap();
    let step = world.step(&full("oci:linked"));
    std::os::unix::fs::symlink(outside.path().join("layout"), step.workspace().join("linked")).unwrap();
    let done = step.run().await;
    assert!(failure(&done).contains("a link out of the workspace"), "{}", done.log);
    let inside = step.workspace().join("inside");
    layout(std::slice::from_ref(&image), &inside);
    std::fs::remove_file(inside.join("index.json")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("layout/index.json"), inside.join("index.json")).unwrap();
    let step = step.input("matrix", &full("oci:inside").to_string());
    let done = step.run().await;
    assert!(failure(&done).contains("a link out of the layout"), "{}", done.log);
    std::os::unix::fs::symlink(outside.path().join("record.json"), step.workspace().join("record.json")).unwrap();
    let step = step.input("matrix", "variants: [{ tags: [full] }]").input("images-from", "record.json");
    let done = step.run().await;
    assert!(failure(&done).contains("a link out of the workspace"), "{}", done.log);
}

#[tokio::test]
async fn one_workflow_builds_and_another_publishes_what_its_record_names_and_nowhere_else() {
    let world = World::start();
    let image = world.push(&candidate(&BOTH, "1.2.3").build());
    let slim = world.push(&candidate(&BOTH, "1.2.3").created(None).build());
    let matrix = json!({ "variants": [{ "tags": ["full"] }, { "tags": ["slim"] }] });
    let record = json!({ "full": image, "slim": slim });
    let step = world.step(&matrix).file("images.json", &record.to_string()).input("images-from", "images.json");
    let done = step.run().await.succeeded();
    let same = json!({ "variants": [{ "image": image, "tags": ["full"] }, { "image": slim, "tags": ["slim"] }] });
    let again = world.step(&same).run().await.succeeded();
    assert_eq!(
        (&again.outputs["status"], &again.outputs["digests"]),
        (&"unchanged".to_owned(), &done.outputs["digests"])
    );
    assert!(world.candidates.requests().iter().all(|request| !request.asked.is_write()), "it is only read there");
}
