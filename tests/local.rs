//! Local sources: OCI layouts from buildx, and files. With every builder of this machine.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::image::{TinyImage, digest, executable, file};
use support::memory_registry::MemoryRegistry;
use support::parts;
use support::process::output;
use support::runner::{Done, Step};

const ACTION: &str = include_str!("../action.yml");
const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// A registry that contains only a base with a shell.
fn registry() -> MemoryRegistry {
    let registry = MemoryRegistry::start();
    let base = BOTH.iter().fold(TinyImage::new(&BOTH), |base, platform| {
        base.layer_for(platform, vec![executable("/bin/sh", support::elf::printing(platform, ""))])
    });
    let base = base.layer(vec![file("/etc/unique", registry.host())]);
    registry.put_image(&base.build(), "base/alpine", "3.23");
    registry
}

fn step(registry: &MemoryRegistry, source: &str) -> Step {
    let host = registry.host();
    Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
        .variable("GITHUB_REPOSITORY", "")
        .input("version", "1.2.3")
        .input("builder", "registry")
        .input("source", source)
        .input("source-tags", "default")
        .input("binaries", "/tool")
        .input("images", &format!("{host}/acme/tool"))
        .input("matrix", &format!("{host}/base/alpine:3.23,alpine"))
}

/// The executable for a platform, which prints its version.
fn tool(platform: &str) -> Vec<u8> {
    support::elf::printing(platform, "tool 1.2.3\n")
}

/// The files in the executables' layer for a platform, each with mode and length.
fn published(registry: &MemoryRegistry, platform: &str) -> Vec<String> {
    let index = registry.manifest("acme/tool", "1.2.3-alpine").unwrap().json();
    let architecture = platform.rsplit('/').next().unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["platform"]["architecture"] == architecture).unwrap();
    let manifest = registry.manifest("acme/tool", entry["digest"].as_str().unwrap()).unwrap().json();
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap();
    let layer = registry.blob("acme/tool", layer).unwrap();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&layer[..]));
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            format!("{} {:o} {}", entry.path().unwrap().display(), entry.header().mode().unwrap(), entry.size())
        })
        .collect()
}

/// The error about a source that is refused before anything is written.
async fn refused(registry: &MemoryRegistry, step: &Step) -> String {
    let done = step.run().await;
    assert_eq!(done.code, Some(2), "{}", done.log);
    assert_eq!(registry.tags("acme/tool"), Vec::<String>::new());
    assert!(done.log.contains("hint: "), "{}", done.log);
    done.log
}

/// Lets buildx build a scratch image for both platforms, with provenance, as an OCI layout: a folder and an archive.
/// `None` if a part is missing, which is reported.
fn layouts() -> Option<(tempfile::TempDir, PathBuf, PathBuf)> {
    let (Some(engine), Some(tools)) = (parts::engine_containerd(), parts::tools()) else {
        parts::skip("no engine with the containerd image store, or no buildx");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let context = folder.path().join("context");
    fs::create_dir(&context).unwrap();
    for platform in BOTH {
        fs::write(context.join(platform.replace("linux/", "tool-")), tool(platform)).unwrap();
    }
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY --chmod=755 tool-$TARGETARCH /tool\nLABEL org.opencontainers.image.licenses=MIT\n";
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let (archive, layout) = (folder.path().join("image.tar"), folder.path().join("layout"));
    let mut command = Command::new(tools.join("buildx"));
    command.env("DOCKER_HOST", engine).env("BUILDX_CONFIG", folder.path()).env("DOCKER_CONFIG", folder.path());
    command.args(["build", "--provenance=mode=max", "--platform", &BOTH.join(","), "--tag=acme/tool:1.2.3"]);
    command.arg("--annotation=index:org.opencontainers.image.vendor=Acme");
    output(command.arg(format!("--output=type=oci,dest={}", archive.display())).arg(&context));
    fs::create_dir(&layout).unwrap();
    output(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&layout));
    Some((folder, archive, layout))
}

/// Copies a layout into the workspace of a step.
fn copy(from: &Path, step: &Step, name: &str) {
    output(Command::new("cp").arg("-r").arg(from).arg(step.workspace().join(name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oci_layout_of_buildx_and_its_variants_are_published_by_every_builder() {
    let Some((_folder, archive, layout)) = layouts() else { return };
    let registry = registry();
    let start = registry.snapshot();
    let entries: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let source = entries["manifests"][0]["digest"].as_str().unwrap();
    let mut digests = Vec::new();
    for (builder, address) in parts::builders() {
        for (name, from) in [("image.tar", &archive), ("layout", &layout)] {
            registry.restore(&start);
            let step =
                step(&registry, &format!("oci:{name}")).input("builder", builder).variable("DOCKER_HOST", &address);
            copy(from, &step, name);
            let done = step.run().await.succeeded();
            digests.push((
                builder,
                name,
                done.json("digests")["alpine"].clone(),
                registry.named("acme/tool", "1.2.3").unwrap(),
            ));
            assert_eq!(done.json("images")["source"]["digest"], source, "{builder} {name}");
            for platform in BOTH {
                assert_eq!(
                    published(&registry, platform),
                    [format!("usr/local/bin/tool 755 {}", tool(platform).len())]
                );
            }
            // The source is the whole layout, including attestations, and the variant has its facts.
            let index = registry.manifest("acme/tool", "latest").unwrap().json();
            let attestations = index["manifests"].as_array().unwrap().iter();
            let attestations = attestations.filter(|entry| entry["platform"]["os"] == "unknown").count();
            assert_eq!(
                (index["manifests"].as_array().unwrap().len(), attestations),
                (4, 2),
                "{builder} {name}: {index:#}"
            );
            assert_eq!(registry.snapshot().missing("acme/tool", "latest"), Vec::<String>::new());
            let variant = registry.manifest("acme/tool", "alpine").unwrap().json();
            assert_eq!(variant["annotations"]["org.opencontainers.image.licenses"], "MIT");
            assert_eq!(variant["annotations"]["org.opencontainers.image.vendor"], "Acme");
            assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged", "{builder} {name}");
        }
    }
    let (.., variant, source) = &digests[0];
    assert!(digests.iter().all(|(.., other, its)| (other, its) == (variant, source)), "{digests:#?}");
}

#[tokio::test]
async fn an_image_in_a_layout_and_in_a_registry_give_the_same_variant() {
    let Some((_folder, archive, layout)) = layouts() else { return };
    let registry = registry();
    let of_layout = step(&registry, "oci:image.tar");
    copy(&archive, &of_layout, "image.tar");
    let of_layout = of_layout.run().await.succeeded();
    let crane = parts::tools().unwrap().join("crane");
    let entries: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let nested = layout
        .join("blobs/sha256")
        .join(entries["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:"));
    // crane pushes what `index.json` is.
    fs::copy(&nested, layout.join("index.json")).unwrap();
    output(
        Command::new(crane)
            .args(["push", "--index", "--insecure"])
            .arg(&layout)
            .arg(format!("{}/acme/source:1.2.3", registry.host())),
    );
    let of_registry = step(&registry, &format!("{}/acme/source", registry.host())).run().await.succeeded();
    assert_eq!(of_registry.outputs["digests"], of_layout.outputs["digests"]);
    assert_eq!(of_registry.outputs["status"], "unchanged");
    // If the entries of `index.json` are the platforms, it is the image itself.
    let whole = step(&registry, "oci:layout");
    copy(&layout, &whole, "layout");
    assert_eq!(whole.run().await.succeeded().outputs["digests"], of_layout.outputs["digests"]);
}

#[tokio::test]
async fn a_layout_that_cannot_be_used_is_refused_with_what_to_do() {
    let Some((_folder, archive, layout)) = layouts() else { return };
    let registry = registry();
    let broken = |name: &str, change: &dyn Fn(&Path)| {
        let step = step(&registry, &format!("oci:{name}"));
        copy(&layout, &step, "layout");
        change(&step.workspace().join("layout"));
        step
    };
    let blobs = |layout: &Path| -> Vec<PathBuf> {
        let mut blobs: Vec<_> =
            fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
        blobs.sort_by_key(|blob| fs::metadata(blob).unwrap().len());
        blobs
    };
    let log = refused(&registry, &broken("nowhere", &|_| {})).await;
    assert!(log.contains("`oci:nowhere` can't be read") && log.contains("an earlier step"), "{log}");
    let no_index = |layout: &Path| fs::remove_file(layout.join("index.json")).unwrap();
    let log = refused(&registry, &broken("layout", &no_index)).await;
    assert!(log.contains("it has no `index.json`"), "{log}");
    let damage = |layout: &Path| blobs(layout).iter().for_each(|blob| fs::write(blob, "x").unwrap());
    let log = refused(&registry, &broken("layout", &damage)).await;
    assert!(log.contains("`oci:layout` is damaged: the blob `sha256:"), "{log}");
    let other_bytes = |layout: &Path| {
        let largest = blobs(layout).pop().unwrap();
        fs::write(&largest, vec![b' '; fs::read(&largest).unwrap().len()]).unwrap();
    };
    let log = refused(&registry, &broken("layout", &other_bytes)).await;
    assert!(log.contains("`oci:layout` is damaged: the blob `sha256:") && log.contains("has the digest"), "{log}");
    let long = |layout: &Path| fs::File::create(layout.join("index.json")).unwrap().set_len((8 << 20) + 1).unwrap();
    let log = refused(&registry, &broken("layout", &long)).await;
    assert!(log.contains("`oci:layout` is too large: `index.json` has more than 8 MiB"), "{log}");
    assert!(log.contains("is this the right layout?"), "{log}");
    // Files outside of the workspace aren't read, whatever points at them.
    let outside = archive.parent().unwrap().join("layout/blobs");
    let link = |layout: &Path| {
        fs::remove_dir_all(layout.join("blobs")).unwrap();
        symlink(&outside, layout.join("blobs")).unwrap();
    };
    let log = refused(&registry, &broken("layout", &link)).await;
    assert!(log.contains("a link out of the layout"), "{log}");
    // With two images, one of them has to be named.
    let two = |layout: &Path| {
        let path = layout.join("index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let image: Value = serde_json::from_slice(
            &fs::read(
                layout
                    .join("blobs/sha256")
                    .join(index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:")),
            )
            .unwrap(),
        )
        .unwrap();
        let mut other = image["manifests"][0].clone();
        other.as_object_mut().unwrap().remove("platform");
        other["annotations"] = json!({ "org.opencontainers.image.ref.name": "amd64" });
        index["manifests"].as_array_mut().unwrap().push(other);
        fs::write(path, index.to_string()).unwrap();
    };
    let log = refused(&registry, &broken("layout", &two)).await;
    assert!(
        log.contains("`oci:layout` has 2 images")
            && log.contains("`oci:layout:1.2.3`")
            && log.contains("`oci:layout:amd64`"),
        "{log}"
    );
    let log = refused(&registry, &broken("layout:1.0", &two)).await;
    assert!(log.contains("`oci:layout:1.0` isn't one of the layout's images"), "{log}");
    broken("layout:{version}", &two).run().await.succeeded();
    let index = registry.manifest("acme/tool", "alpine").unwrap().json();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

/// A step whose workspace contains the executables of both platforms as in a release: one as a file, and one in an
/// archive.
fn with_files(registry: &MemoryRegistry, archive: &[&str]) -> Step {
    let name = archive[0];
    let source = format!(
        "files\nlinux/amd64=dist/tool-linux-amd64 -> /tool\nlinux/arm64=dist/{name}!tool-{{version}}/tool\nlinux/arm64=dist/{name}!tool-{{version}}/LICENSE\n"
    );
    let step = step(registry, &source);
    let folder = step.workspace().join("dist/tool-1.2.3");
    fs::create_dir_all(&folder).unwrap();
    fs::write(step.workspace().join("dist/tool-linux-amd64"), tool(BOTH[0])).unwrap();
    fs::write(folder.join("tool"), tool(BOTH[1])).unwrap();
    fs::write(folder.join("LICENSE"), "MIT").unwrap();
    output(
        Command::new(archive[1]).args(&archive[2..]).args([name, "tool-1.2.3"]).current_dir(folder.parent().unwrap()),
    );
    fs::remove_dir_all(folder).unwrap();
    step
}

fn label(registry: &MemoryRegistry, tag: &str, key: &str) -> Value {
    let index = registry.manifest("acme/tool", tag).unwrap().json();
    let manifest = registry.manifest("acme/tool", index["manifests"][0]["digest"].as_str().unwrap()).unwrap().json();
    let config = registry.blob("acme/tool", manifest["config"]["digest"].as_str().unwrap()).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    config["config"]["Labels"][format!("org.opencontainers.image.{key}")].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_become_a_scratch_image_with_the_same_digest_for_every_builder_and_archive() {
    let registry = registry();
    let start = registry.snapshot();
    let archives = [
        &["tool.tar.gz", "tar", "-czf"][..],
        &["tool.tar", "tar", "-cf"],
        &["tool.tar.xz", "tar", "-cJf"],
        &["tool.zip", "zip", "-qr"],
    ];
    let mut digests = Vec::new();
    let mut publish = async |builder: &str, address: &str, archive: &[&str]| -> Done {
        registry.restore(&start);
        let step = with_files(&registry, archive).input("builder", builder).variable("DOCKER_HOST", address);
        let step = step.input("labels", "org.opencontainers.image.licenses=MIT");
        let done = step.run().await.succeeded();
        digests.push((done.json("digests")["alpine"].clone(), registry.named("acme/tool", "1.2.3").unwrap()));
        assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged", "{builder} {archive:?}");
        done
    };
    for archive in archives {
        publish("registry", "", archive).await;
    }
    for (builder, address) in parts::builders() {
        publish(builder, &address, archives[0]).await;
    }
    assert!(digests.iter().all(|other| *other == digests[0]), "{digests:#?}");
    for platform in BOTH {
        assert_eq!(published(&registry, platform), [format!("usr/local/bin/tool 755 {}", tool(platform).len())]);
    }
    // The scratch image has the labels and annotations of the variants, and all files.
    for tag in ["latest", "alpine"] {
        assert_eq!(label(&registry, tag, "licenses"), "MIT", "{tag}");
    }
    assert_eq!(label(&registry, "latest", "version"), "1.2.3");
    let index = registry.manifest("acme/tool", "1.2").unwrap().json();
    assert_eq!(index["annotations"]["io.github.astral-sh.publish-variants.version"], "1.2.3");
    let arm64 = registry.manifest("acme/tool", index["manifests"][1]["digest"].as_str().unwrap()).unwrap().json();
    let config = registry.blob("acme/tool", arm64["config"]["digest"].as_str().unwrap()).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!((&config["architecture"], &config["config"]["Entrypoint"]), (&json!("arm64"), &json!(["/tool"])));
    let layer = registry.blob("acme/tool", arm64["layers"][0]["digest"].as_str().unwrap()).unwrap();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&layer[..]));
    let names: Vec<String> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, ["LICENSE", "tool"]);
    assert_eq!(digest(&layer), arm64["layers"][0]["digest"]);
}

#[tokio::test]
async fn a_scratch_image_of_the_same_files_stays_when_a_fact_is_edited() {
    let registry = registry();
    let step = with_files(&registry, &["tool.tar.gz", "tar", "-czf"]);
    let licensed = |licence: &str| format!("org.opencontainers.image.licenses={licence}");
    let step = step.input("labels", &licensed("MIT"));
    step.run().await.succeeded();
    let first = registry.named("acme/tool", "1.2.3");
    let step = step.input("labels", &licensed("Apache-2.0"));
    let again = step.run().await.succeeded();
    assert_eq!((again.outputs["status"].as_str(), again.outputs["kept"].as_str()), ("unchanged", ""), "{}", again.log);
    fs::write(step.workspace().join("dist/tool-linux-amd64"), support::elf::printing(BOTH[0], "other 1.2.3\n"))
        .unwrap();
    let other = step.run().await.succeeded();
    assert!(other.outputs["kept"].contains("which was made of other files"), "{}", other.outputs["kept"]);
    assert_eq!(registry.named("acme/tool", "1.2.3"), first);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_with_what_to_do() {
    let registry = registry();
    let host = registry.host();
    for (line, expected) in [
        ("linux/amd64=dist/none", "`dist/none` of `source` can't be read"),
        (
            "linux/arm64=dist/tool-linux-amd64 -> /tool",
            "is not an executable for `linux/arm64`: its ELF header says machine 62 (amd64)",
        ),
        (
            "linux/arm64=dist/tool.tar.gz!tool",
            "archive `dist/tool.tar.gz` has no file `tool`\nhint: it has tool-1.2.3/LICENSE, tool-1.2.3/tool",
        ),
        ("linux/arm64=dist/tool.tar.gz!tool-1.2.3", "`tool-1.2.3` in archive `dist/tool.tar.gz` is a folder"),
        ("linux/arm64=dist/tool.tar.gz", "`dist/tool.tar.gz` is an archive"),
        ("linux/arm64=dist/out", "a link out of the workspace"),
        (
            "linux/amd64=dist/tool-linux-amd64",
            "has no file `/tool` for `linux/amd64`\nhint: check `binaries`; the image has /tool-linux-amd64",
        ),
    ] {
        let step = with_files(&registry, &["tool.tar.gz", "tar", "-czf"]).input("source", &format!("files\n{line}"));
        symlink("/etc/hostname", step.workspace().join("dist/out")).unwrap();
        let log = refused(&registry, &step).await;
        let log = log.replace("%0A", "\n");
        assert!(log.contains(expected), "{line}: {log}");
    }
    // Files outside of the workspace may be named by the workflow, but not by a matrix, which may come with a checkout.
    for source in ["files\\nlinux/amd64=/proc/self/environ -> /tool", "oci:dist/../../layout"] {
        let matrix = format!("variants: [{{ base: '{host}/base/alpine:3.23', tags: [alpine], source: \"{source}\" }}]");
        let log = refused(&registry, &step(&registry, "oci:unused").input("matrix", &matrix)).await;
        assert!(log.contains("may lead out of the workspace"), "{log}");
    }
    // A base for a platform that no file is for.
    let step = with_files(&registry, &["tool.tar.gz", "tar", "-czf"])
        .input("source", "files\nlinux/amd64=dist/tool-linux-amd64 -> /tool");
    let step = step.input(
        "matrix",
        &format!("variants: [{{ base: '{host}/base/alpine:3.23', tags: [alpine], platforms: [linux/arm64] }}]"),
    );
    let log = refused(&registry, &step).await;
    assert!(log.contains("source `files` has no manifest for `linux/arm64`"), "{log}");
}

#[tokio::test]
async fn variants_with_their_own_source_and_finished_images_need_no_other_source() {
    let registry = registry();
    let host = registry.host();
    let finished = BOTH.iter().fold(TinyImage::new(&BOTH), |image, platform| {
        image.layer_for(platform, vec![executable("/usr/bin/tool", tool(platform))])
    });
    let finished = finished.config("Labels", json!({ "org.opencontainers.image.title": "Finished" }));
    let finished = registry.put_image(&finished.build(), "acme/candidates", "any");
    let step = |file: &str| {
        let own = json!({ "base": format!("{host}/base/alpine:3.23"), "tags": ["alpine"], "source": ["files", file] });
        let bare = json!({ "base": "scratch", "tags": ["bare"], "source": format!("files\n{file}\n{file}-2") });
        let full = json!({ "image": format!("{host}/acme/candidates@{finished}"), "tags": ["full"] });
        with_files(&registry, &["tool.tar.gz", "tar", "-czf"])
            .input("source", "")
            .input("source-tags", "")
            .input("matrix", &json!({ "variants": [own, bare, full] }).to_string())
    };
    // An error about a variant's own source points at the variant's entry.
    let log = refused(&registry, &step("linux/amd64=dist/none -> /tool")).await;
    assert!(log.contains("matrix:1:14: `dist/none` of `source` can't be read"), "{log}");

    let step = step("linux/amd64=dist/tool-linux-amd64 -> /tool");
    let done = step.run().await.succeeded();
    let names = ["alpine", "bare", "full"];
    let expected = names.iter().flat_map(|name| [format!("1.2-{name}"), format!("1.2.3-{name}"), (*name).to_owned()]);
    assert_eq!(registry.tags("acme/tool").into_iter().collect::<BTreeSet<_>>(), expected.collect());
    assert_eq!(published(&registry, BOTH[0]), [format!("usr/local/bin/tool 755 {}", tool(BOTH[0]).len())]);
    let full = registry.manifest("acme/tool", "full").unwrap().json();
    assert_eq!(full["annotations"]["org.opencontainers.image.title"], "Finished");
    assert!(done.summary.contains("executables from `files`"), "{}", done.summary);
    assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged");
}
