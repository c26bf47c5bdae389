//! Sources in the wild: with any modes and owners, links, several layers, other compressions, files for other systems,
//! and files besides the executables. With every builder of this machine.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::process::Command;

use serde_json::{Value, json};
use support::image::{File, Image, Manifest, MediaTypes, TinyImage, executable, file, hard_link, symlink};
use support::memory_registry::MemoryRegistry;
use support::parts;
use support::runner::{Done, Step};

const ACTION: &str = include_str!("../action.yml");
const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const BOTH: [&str; 2] = [AMD64, ARM64];

/// A registry that contains only a base with a shell.
fn registry() -> MemoryRegistry {
    let registry = MemoryRegistry::start();
    let base = BOTH.iter().fold(TinyImage::new(&BOTH), |base, platform| {
        base.layer_for(platform, vec![executable("/bin/sh", support::elf::printing(platform, ""))])
    });
    let base = base.layer(vec![file("/etc/unique", registry.host())]);
    let base = base.config("Env", json!(["PATH=/usr/local/bin:/bin"]));
    registry.put_image(&base.build(), "base/alpine", "3.23");
    registry
}

fn step(registry: &MemoryRegistry) -> Step {
    let host = registry.host();
    Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
        .variable("GITHUB_REPOSITORY", "")
        .input("version", "1.2.3")
        .input("builder", "registry")
        .input("source", &format!("{host}/acme/source"))
        .input("binaries", "/tool")
        .input("images", &format!("{host}/acme/tool"))
        .input("matrix", &format!("{host}/base/alpine:3.23,alpine"))
}

/// The executable for a platform, which prints its version.
fn tool(platform: &str) -> Vec<u8> {
    support::elf::printing(platform, "tool 1.2.3\n")
}

/// A source for both platforms, with these files.
fn source(files: impl Fn(Vec<u8>) -> Vec<File>) -> TinyImage {
    BOTH.iter().fold(TinyImage::new(&BOTH), |source, platform| source.layer_for(platform, files(tool(platform))))
}

/// The files in the published top layer for a platform, each with mode, owner and length.
fn published(registry: &MemoryRegistry, platform: &str) -> Vec<String> {
    let index = registry.manifest("acme/tool", "1.2.3-alpine").unwrap().json();
    let of = |entry: &&Value| {
        format!("{}/{}", entry["platform"]["os"], entry["platform"]["architecture"]).replace('"', "") == platform
    };
    let entry = index["manifests"].as_array().unwrap().iter().find(of).unwrap();
    let manifest = registry.manifest("acme/tool", entry["digest"].as_str().unwrap()).unwrap().json();
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap();
    let layer = registry.blob("acme/tool", layer).unwrap();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&layer[..]));
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        let (mode, uid, gid, mtime) =
            (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
        files.push(format!("{} {mode:o} {uid}:{gid} {mtime} {}", entry.path().unwrap().display(), entry.size()));
    }
    files
}

fn platforms(registry: &MemoryRegistry) -> Vec<String> {
    let index = registry.manifest("acme/tool", "1.2.3-alpine").unwrap().json();
    let platform = |entry: &Value| entry["platform"]["architecture"].as_str().unwrap().to_owned();
    index["manifests"].as_array().unwrap().iter().map(platform).collect()
}

fn digest(done: &Done) -> String {
    done.json("digests")["alpine"].as_str().unwrap().to_owned()
}

/// The error about a source that is refused before anything is written.
async fn refused(registry: &MemoryRegistry, step: Step) -> String {
    let done = step.run().await;
    assert_eq!(done.code, Some(2), "{}", done.log);
    assert_eq!(registry.tags("acme/tool"), Vec::<String>::new());
    assert!(done.log.contains("hint: "), "{}", done.log);
    done.log
}

#[tokio::test(flavor = "multi_thread")]
async fn every_builder_gives_files_of_any_mode_owner_and_name_the_same_digest() {
    let registry = registry();
    let source = source(|tool| {
        vec![
            executable("/nix/store/0c-tool/bin/tool", tool.clone()).mode(0o555).owner(1000),
            executable("/hard", tool).mode(0o500).owner(1000),
            hard_link("/opt/it's", "/hard"),
        ]
    });
    let source = source.layer(vec![symlink("/bin/tool", "../nix/store/0c-tool/bin/tool")]);
    registry.put_image(&source.media_types(MediaTypes::Docker).build(), "acme/source", "1.2.3");
    let start = registry.snapshot();
    let mut builders = vec![("registry", String::new())];
    builders.extend(parts::engine_classic().map(|address| ("engine", address)));
    builders.extend(parts::engine_containerd().map(|address| ("engine", address)));
    if builders.len() < 3 {
        parts::skip("PV_ENGINE_CLASSIC or PV_ENGINE_CONTAINERD is not set");
    }
    let mut digests = Vec::new();
    for (builder, address) in builders {
        registry.restore(&start);
        let step = step(&registry).input("builder", builder).variable("DOCKER_HOST", &address);
        let step = step.input("binaries", "/bin/tool\n/opt/it's -> /usr/local/bin/[");
        let done = step.run().await.succeeded();
        digests.push((builder, address, digest(&done)));
        for platform in BOTH {
            let size = tool(platform).len();
            let file = |name: &str| format!("usr/local/bin/{name} 755 0:0 0 {size}");
            assert_eq!(published(&registry, platform), [file("["), file("tool")]);
        }
    }
    assert!(digests.iter().all(|(.., digest)| *digest == digests[0].2), "{digests:#?}");
}

#[tokio::test]
async fn an_executable_is_for_the_platform_that_it_is_published_for_whatever_index_and_config_say() {
    let entry = |manifest: &Manifest, architecture: &str| {
        json!({ "mediaType": manifest.media_type, "digest": manifest.digest(), "size": manifest.bytes.len(),
            "platform": { "os": "linux", "architecture": architecture } })
    };
    // The platform in the config, the platform of the executable, and whether that may be published for arm64.
    for (config, machine, right) in [(AMD64, AMD64, false), (ARM64, AMD64, false), (AMD64, ARM64, true)] {
        let registry = registry();
        let good = TinyImage::tool(&[AMD64], &["tool"], "1.2.3").without_index().build();
        let other = TinyImage::new(&[config]).layer(vec![executable("/tool", tool(machine))]).without_index().build();
        let index = json!({ "schemaVersion": 2, "mediaType": MediaTypes::Oci.index(),
            "manifests": [entry(good.top(), "amd64"), entry(other.top(), "arm64")] });
        let index = Manifest { media_type: MediaTypes::Oci.index().into(), bytes: index.to_string().into_bytes() };
        let blobs = good.blobs.iter().chain(&other.blobs).cloned().collect();
        let manifests = vec![good.top().clone(), other.top().clone(), index];
        registry.put_image(&Image { blobs, manifests }, "acme/source", "1.2.3");
        if right {
            step(&registry).run().await.succeeded();
            assert_eq!(platforms(&registry), ["amd64", "arm64"]);
        } else {
            let log = refused(&registry, step(&registry)).await;
            assert!(
                log.contains("is not an executable for `linux/arm64`: its ELF header says machine 62 (amd64)"),
                "{log}"
            );
        }
    }
}

#[tokio::test]
async fn files_of_a_source_for_other_systems_are_ignored() {
    let registry = registry();
    let windows = vec![executable("/tool.exe", "MZ")];
    let source = TinyImage::new(&[AMD64, "windows/amd64", ARM64, "darwin/arm64"])
        .layer_for(AMD64, vec![executable("/tool", tool(AMD64))])
        .layer_for(ARM64, vec![executable("/tool", tool(ARM64))])
        .layer_for("windows/amd64", windows.clone());
    registry.put_image(&source.build(), "acme/source", "1.2.3");
    let base = TinyImage::new(&[AMD64, "windows/amd64"]).layer_for("windows/amd64", windows);
    registry.put_image(&base.build(), "base/python", "3.14");
    let host = registry.host();
    let matrix = format!("{host}/base/alpine:3.23,alpine\n{host}/base/python:3.14,python");
    step(&registry).input("matrix", &matrix).run().await.succeeded();
    assert_eq!(platforms(&registry), ["amd64", "arm64"]);
    let python = registry.manifest("acme/tool", "1.2.3-python").unwrap().json();
    assert_eq!(python["manifests"].as_array().unwrap().len(), 1);
    let done = step(&registry).input("platforms", "windows/amd64").run().await;
    assert_eq!(done.code, Some(2));
    assert!(done.log.contains("`windows/amd64` is not a Linux platform"), "{}", done.log);
}

/// Copies an image by skopeo; `false` if skopeo is missing.
fn skopeo(options: &[&str], from: &str, to: &str) -> bool {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    let Ok(done) = command.args(options).args([from, to]).output() else {
        parts::skip("no skopeo");
        return false;
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    true
}

#[tokio::test]
async fn a_source_that_podman_or_skopeo_has_compressed_is_published_as_any_other() {
    let plain = source(|tool| vec![file("/README", "x".repeat(20_000)), executable("/tool", tool)]);
    let publish = async |compressed: Option<&str>| {
        let registry = registry();
        registry.put_image(&plain.build(), "acme/source", "1.2.3");
        if let Some(format) = compressed {
            // skopeo doesn't compress a layer again for a registry that it knows has the layer.
            let (uncompressed, other) = (tempfile::tempdir().unwrap(), MemoryRegistry::start());
            let folder = format!("dir:{}", uncompressed.path().display());
            let (from, to) = (
                format!("docker://{}/acme/source:1.2.3", registry.host()),
                format!("docker://{}/acme/source:1.2.3", other.host()),
            );
            let options = ["--dest-compress", "--dest-compress-format", format, "--format", "oci"];
            if !skopeo(&["--dest-decompress"], &from, &folder) || !skopeo(&options, &folder, &to) {
                return None;
            }
            let index = other.manifest("acme/source", "1.2.3").unwrap().json();
            let child =
                other.manifest("acme/source", index["manifests"][0]["digest"].as_str().unwrap()).unwrap().json();
            let layer = other.blob("acme/source", child["layers"][0]["digest"].as_str().unwrap()).unwrap();
            let frames = layer.windows(4).filter(|bytes| *bytes == [0x28, 0xb5, 0x2f, 0xfd]).count();
            assert!(if format == "zstd" { frames == 1 } else { frames > 1 }, "{frames} frames: {child:#}");
            step(&registry).input("source", &format!("{}/acme/source", other.host())).run().await.succeeded();
        } else {
            step(&registry).run().await.succeeded();
        }
        Some(BOTH.map(|platform| published(&registry, platform)))
    };
    let expected = publish(None).await;
    for format in ["zstd", "zstd:chunked"] {
        let Some(found) = publish(Some(format)).await else { return };
        assert_eq!(Some(found), expected, "{format}");
    }
}

#[tokio::test]
async fn privileges_that_variants_would_lose_are_refused() {
    let registry = registry();
    let setuid = source(|tool| vec![executable("/tool", tool).mode(0o4755)]);
    registry.put_image(&setuid.build(), "acme/source", "1.2.3");
    let log = refused(&registry, step(&registry)).await;
    assert!(log.contains("`/tool` of source") && log.contains("is setuid, which variants don't carry over"), "{log}");
}

#[tokio::test]
async fn a_dangling_link_is_refused_and_its_target_named() {
    let registry = registry();
    let source = source(|tool| vec![executable("/opt/tool", tool)]);
    let source = source.layer(vec![symlink("/tool", "../../etc/none")]);
    registry.put_image(&source.build(), "acme/source", "1.2.3");
    let log = refused(&registry, step(&registry)).await;
    assert!(log.contains("is a link to `/etc/none`, which doesn't exist"), "{log}");
}

#[tokio::test]
async fn files_go_to_other_folders_only_if_these_can_be_inspected_in_the_base() {
    let registry = registry();
    let source = source(|tool| vec![executable("/tool", tool), file("/_tool", "#compdef tool")]);
    registry.put_image(&source.build(), "acme/source", "1.2.3");
    let elsewhere = step(&registry).input("binaries", "/tool\n/_tool -> /usr/share/zsh/site-functions/");
    let log = refused(&registry, elsewhere).await;
    assert!(log.contains("`/usr/share/zsh/site-functions/_tool`") && log.contains("builder: engine"), "{log}");
}

#[tokio::test]
async fn a_variant_may_have_other_binaries_than_the_rest() {
    let registry = registry();
    registry.put_image(
        &source(|tool| vec![executable("/tool", tool.clone()), executable("/toolx", tool)]).build(),
        "acme/source",
        "1.2.3",
    );
    let host = registry.host();
    let matrix = format!(
        "variants:\n  - base: {host}/base/alpine:3.23\n    tags: [alpine]\n  - base: {host}/base/alpine:3.23\n    tags: [small]\n    binaries: /toolx -> /usr/local/bin/tool\n"
    );
    step(&registry).input("binaries", "/tool /toolx").input("matrix", &matrix).run().await.succeeded();
    assert_eq!(published(&registry, AMD64).len(), 2);
    registry.tag("acme/tool", "1.2.3-alpine", &registry.named("acme/tool", "1.2.3-small").unwrap());
    assert!(published(&registry, AMD64)[0].starts_with("usr/local/bin/tool 755"));
    assert_eq!(published(&registry, AMD64).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_may_have_a_source_of_its_own_with_its_own_facts_and_platforms() {
    let registry = registry();
    let revision = "org.opencontainers.image.revision";
    let musl = source(|tool| vec![executable("/tool", tool)]).annotation(revision, "ee4f0036");
    registry.put_image(&musl.build(), "acme/source", "1.2.3");
    let gnu = support::elf::printing(AMD64, "glibc, tool 1.2.3\n");
    let gnu_source = TinyImage::new(&[AMD64]).layer(vec![executable("/opt/tool", gnu.clone())]);
    registry.put_image(&gnu_source.annotation(revision, "0badc0de").build(), "acme/source-gnu", "1.2.3");
    let base = TinyImage::new(&BOTH).layer_for(AMD64, vec![executable("/bin/sh", support::elf::printing(AMD64, ""))]);
    registry.put_image(&base.layer(vec![file("/etc/unique2", registry.host())]).build(), "base/debian", "13");
    let host = registry.host();
    let matrix = format!(
        "defaults: {{ verify: [] }}\nvariants:\n  - {{ base: '{host}/base/alpine:3.23', tags: [alpine] }}\n  - for: {{ os: [debian, debian2] }}\n    base: '{host}/base/debian:13'\n    tags: ['{{os}}']\n    source: '{host}/acme/source-gnu:{{version}}'\n    binaries: /opt/tool\n"
    );
    let start = registry.snapshot();
    let mut digests = Vec::new();
    for (builder, address) in parts::builders() {
        registry.restore(&start);
        registry.clear_requests();
        let step = step(&registry).input("builder", builder).variable("DOCKER_HOST", &address);
        let step = step.input("matrix", &matrix).input("source-tags", "default");
        let done = step.run().await.succeeded();
        digests.push(done.outputs["digests"].clone());
        let index = |tag: &str| registry.manifest("acme/tool", tag).unwrap().json();
        for (tag, right, count) in [("alpine", "ee4f0036", 2), ("debian", "0badc0de", 1), ("latest", "ee4f0036", 2)] {
            let index = index(tag);
            assert_eq!(index["annotations"][revision], right, "{builder} {tag}");
            assert_eq!(index["manifests"].as_array().unwrap().len(), count, "{builder} {tag}");
        }
        let report = done.json("images");
        let name = |value: &Value| value["reference"].as_str().unwrap().trim_start_matches(&host).to_owned();
        assert_eq!(name(&report["source"]), "/acme/source:1.2.3");
        assert_eq!(name(&report["variants"][1]["source"]), "/acme/source-gnu:1.2.3");
        assert_eq!(report["variants"][0]["source"], Value::Null);
        if builder == "registry" {
            let reads = registry.requests();
            let reads = reads.iter().filter(|request| {
                request.asked.method == "GET" && request.asked.path.contains("/acme/source-gnu/manifests/1.2.3")
            });
            assert_eq!(reads.count(), 1, "a source is resolved once, whatever has it");
        }
        registry.tag("acme/tool", "1.2.3-alpine", &registry.named("acme/tool", "1.2.3-debian").unwrap());
        assert_eq!(published(&registry, AMD64), [format!("usr/local/bin/tool 755 0:0 0 {}", gnu.len())]);
    }
    assert!(digests.iter().all(|other| *other == digests[0]), "{digests:#?}");
}

#[tokio::test]
async fn the_general_source_need_not_exist_if_every_variant_has_its_own() {
    let registry = registry();
    registry.put_image(&source(|tool| vec![executable("/tool", tool)]).build(), "acme/other", "1.2.3");
    let host = registry.host();
    let matrix = format!(
        "defaults: {{ source: '{host}/acme/other' }}\nvariants: [{{ base: '{host}/base/alpine:3.23', tags: [alpine] }}]"
    );
    let done = step(&registry).input("matrix", &matrix).run().await.succeeded();
    assert!(done.json("images")["source"]["reference"].as_str().unwrap().ends_with("/acme/other:1.2.3"));
}

#[tokio::test]
async fn no_variant_may_have_the_tag_of_its_source() {
    let registry = registry();
    registry.put_image(&source(|tool| vec![executable("/tool", tool)]).build(), "acme/source", "1.2.3");
    let host = registry.host();
    let matrix = format!(
        "variants:\n  - {{ base: '{host}/base/alpine:3.23', tags: [alpine] }}\n  - {{ base: '{host}/base/alpine:3.23', tags: [other], source: '{host}/acme/tool:alpine' }}\n"
    );
    let log = refused(&registry, step(&registry).input("matrix", &matrix)).await;
    assert!(log.contains("tag `alpine` is claimed here and by the source of variant `other`"), "{log}");
}

/// A dynamically linked executable of this machine, the version that it prints, and what it needs: the dynamic linker
/// and the C library, each with its path.
struct Dynamic {
    platform: String,
    executable: Vec<u8>,
    version: String,
    interpreter: String,
    libraries: Vec<(String, Vec<u8>)>,
}

impl Dynamic {
    fn find() -> Self {
        let output = |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
        let told = output(Command::new("/bin/true").arg("--version"));
        let libraries = output(Command::new("ldd").arg("/bin/true"));
        let paths: Vec<String> =
            libraries.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect();
        let read = |path: &String| (path.clone(), std::fs::read(path).unwrap());
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Self {
            platform: format!("linux/{architecture}"),
            executable: std::fs::read("/bin/true").unwrap(),
            version: told.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned(),
            interpreter: paths.iter().find(|path| path.contains("/ld-")).unwrap().clone(),
            libraries: paths.iter().map(read).collect(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamically_linked_executable_needs_its_interpreter_in_the_base() {
    let dynamic = Dynamic::find();
    let platform = dynamic.platform.as_str();
    let registry = registry();
    let source = TinyImage::new(&[platform]).layer(vec![executable("/tool", dynamic.executable.clone())]);
    registry.put_image(&source.build(), "acme/source", "1.2.3");
    // The linker, and the folders on the way to it, are links, as in Debian.
    let moved = |path: &str| format!("/usr/real{path}");
    let glibc: Vec<File> = dynamic
        .libraries
        .iter()
        .flat_map(|(path, bytes)| {
            let up = "../".repeat(path.matches('/').count() - 1);
            [executable(&moved(path), bytes.clone()), symlink(path, &format!("{up}usr/real{path}"))]
        })
        .collect();
    registry.put_image(&TinyImage::new(&[platform]).layer(glibc).build(), "base/debian", "13");
    let host = registry.host();
    let musl = format!("{host}/base/alpine:3.23,alpine");
    let glibc = format!("{host}/base/debian:13,alpine");
    let step = |matrix: &str| {
        step(&registry)
            .input("version", &dynamic.version)
            .input("source", &format!("{host}/acme/source:1.2.3"))
            .input("matrix", matrix)
    };
    let missing = format!(
        "`/usr/local/bin/tool` of variant `alpine` for `{platform}` is linked dynamically and needs `{}`, which base `{host}/base/alpine@",
        dynamic.interpreter
    );
    let Some(engine) = parts::engine() else {
        parts::skip("no engine");
        return;
    };
    let with_engine = |matrix| step(matrix).input("builder", "engine").variable("DOCKER_HOST", &engine);
    let log = refused(&registry, with_engine(&musl)).await;
    assert!(log.contains(&missing) && log.contains("hint: a static executable runs on every base"), "{log}");
    // If `run` lines may install it, the result is inspected.
    let shell = format!("variants: [{{ base: '{host}/base/alpine:3.23', tags: [alpine], run: ['[\"/bin/sh\"]'] }}]");
    let done = with_engine(&shell).run().await;
    assert!(done.code == Some(2) && done.log.contains(&missing), "{}", done.log);
    // There it runs, and prints its version.
    with_engine(&glibc).run().await.succeeded();

    let scratch = "variants: [{ base: scratch, tags: [bare] }]";
    let done = step(scratch).run().await;
    assert!(done.code == Some(2) && done.log.contains("which base `scratch` doesn't have"), "{}", done.log);
    let done = step(&musl).input("images", &format!("{host}/acme/unseen")).run().await.succeeded();
    assert!(
        done.log.contains("not checked to have the interpreters of dynamically linked executables"),
        "{}",
        done.log
    );
}
