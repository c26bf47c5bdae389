//! The folders of the executables: bases in which they are links or have unusual modes, a `PATH` without them, and
//! `scratch`.

use std::process::Command;

use serde_json::{Value, json};
use support::image::Image;
use support::parts;
use support::process::output;
use support::runner::Done;

use super::shape::{AMD64, ARM64, Entry, changed, shell, single, together};
use super::{Market, Outcome, Row};

fn row(name: &'static str, base: Image) -> Row {
    Row { name, seen: "", base, outcome: Outcome::Published(&[AMD64]) }
}

fn with(entries: Vec<Entry>) -> Image {
    together(vec![(single(AMD64, &[vec![shell(AMD64)], entries]), AMD64)])
}

/// A base with a program in a folder, and a link to that folder in place of one of the executables' folders.
fn linked(link: &'static str, target: &'static str) -> Image {
    with(vec![Entry::File("opt/bin/base-tool", b"x".to_vec()), Entry::Link(link, target)])
}

fn warnings(done: &Done) -> Vec<&str> {
    done.log
        .lines()
        .filter(|line| line.contains("::warning") && !line.contains(" leaves out ") && !line.contains(" leave out "))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_above_the_executables_is_refused_by_an_engine_and_only_logged_without_one() {
    let links = [("bin", "usr/local/bin", "../../opt/bin"), ("local", "usr/local", "../opt"), ("usr", "usr", "opt")];
    let rows: Vec<Row> = links.iter().map(|(name, link, target)| row(name, linked(link, target))).collect();
    let engines = parts::engines();
    if engines.is_empty() {
        return parts::skip("no engine");
    }
    let Some(market) = Market::open(&rows).await else { return };
    for engine in &engines {
        for (name, link, target) in links {
            let done = market.publish(&[name], Some(engine), "acme/linked").await;
            let said = format!("`/{link}` in the base of variant `{name} linux/amd64` is a link to `{target}`");
            assert!(done.code == Some(2) && done.log.contains(&said) && done.log.contains("hint: "), "{}", done.log);
        }
    }
    assert!(market.destination().tags("acme/linked").await.is_empty());
    let done = market.publish(&["bin", "local"], None, "acme/linked").await.succeeded();
    assert_eq!(done.log.matches("can't inspect bases").count(), 1, "{}", done.log);
    assert_eq!(warnings(&done), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_an_unusual_mode_is_a_warning_and_the_classic_store_recreates_it() {
    let folders = vec![
        Entry::Folder("usr", 0o755, 0),
        Entry::Folder("usr/local", 0o755, 0),
        Entry::Folder("usr/local/bin", 0o2775, 50),
    ];
    let plain = vec![Entry::Folder("usr/local", 0o755, 0), Entry::Folder("usr/local/bin", 0o755, 0)];
    let rows = [row("staff", with(folders)), row("plain", with(plain))];
    let (Some(tools), engines) = (parts::tools(), parts::engines()) else {
        return parts::skip("no Docker client in PV_TOOLS");
    };
    let Some(market) = Market::open(&rows).await else { return };
    let composed = market.publish(&["staff", "plain"], None, "acme/composed").await.succeeded().json("digests");
    for (number, engine) in engines.iter().enumerate() {
        let repository = format!("acme/modes-{number}");
        let done = market.publish(&["staff", "plain"], Some(engine), &repository).await.succeeded();
        assert_eq!(done.json("digests"), composed);
        let of_modes: Vec<&str> =
            warnings(&done).into_iter().filter(|warning| warning.contains(" with mode ")).collect();
        let [warning] = of_modes[..] else { panic!("{}", done.log) };
        assert!(warning.contains("`staff` has `/usr/local/bin` with mode 2775 and owner 50:50"), "{warning}");
        if Some(engine) != parts::engine_classic().as_ref() {
            continue;
        }
        let image = format!("{}/{repository}:1.2.3-staff", market.destination().host());
        let docker = |arguments: &[&str]| {
            let mut docker = Command::new(tools.join("docker"));
            docker.env("DOCKER_CONFIG", env!("CARGO_TARGET_TMPDIR")).args(["--host", engine]).args(arguments);
            docker
        };
        output(&mut docker(&["pull", "--quiet", &image]));
        let container = output(&mut docker(&["create", &image]));
        let archive = docker(&["cp", &format!("{}:/usr/local/bin", container.trim()), "-"]).output().unwrap();
        output(&mut docker(&["rm", container.trim()]));
        output(&mut docker(&["image", "rm", "--force", &image]));
        let mut archive = tar::Archive::new(&archive.stdout[..]);
        let folder = archive.entries().unwrap().next().unwrap().unwrap();
        let header = folder.header();
        assert_eq!((header.mode().unwrap() & 0o7777, header.uid().unwrap()), (0o755, 0), "the warning says otherwise");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_without_the_folder_is_a_warning_and_can_be_extended() {
    let path = |config: &mut Value| config["config"]["Env"] = json!(["PATH=/usr/sbin:/usr/bin:/bin"]);
    let rows = [row("other-path", changed(super::shape::usual(), path, |_| {}, |_| {}))];
    let Some(market) = Market::open(&rows).await else { return };
    let base = format!("{}/bases/other-path:1", market.bases.host());
    let publish = async |env: Value, tag: &str| {
        let matrix = json!({ "variants": [{ "base": base, "tags": [tag], "env": env }] });
        market.step(None, "acme/path", &matrix).run().await.succeeded()
    };
    let done = publish(json!({}), "without").await;
    let [warning] = warnings(&done)[..] else { panic!("{}", done.log) };
    assert!(warning.contains("`without` has no `/usr/local/bin` in its `PATH`"), "{warning}");
    let done = publish(json!({ "PATH": "/usr/local/bin:${PATH}", "PRICE": r"\$5" }), "with").await;
    assert_eq!(warnings(&done), Vec::<&str>::new());
    let registry = market.destination();
    let index = registry.manifest("acme/path", "1.2.3-with").await.unwrap().json();
    let manifest =
        registry.manifest("acme/path", index["manifests"][0]["digest"].as_str().unwrap()).await.unwrap().json();
    let config = registry.blob("acme/path", manifest["config"]["digest"].as_str().unwrap()).await.unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["config"]["Env"], json!(["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin", "PRICE=$5"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn scratch_is_the_executables_alone_with_the_same_digest_by_each_builder() {
    let Some(market) = Market::open(&[]).await else { return };
    let matrix =
        json!({ "variants": [{ "base": "scratch", "tags": ["minimal"], "verify": ["/usr/local/bin/tool --help"] }] });
    let composed = market.step(None, "acme/minimal", &matrix).run().await.succeeded();
    let digests = composed.json("digests");
    for (number, engine) in parts::engines().iter().enumerate() {
        let done = market.step(Some(engine), &format!("acme/minimal-{number}"), &matrix).run().await.succeeded();
        assert_eq!(done.json("digests"), digests, "{engine}");
        assert!(
            done.log.contains("`/usr/local/bin/tool --version` passed") && !done.log.contains("sh -c"),
            "{}",
            done.log
        );
    }
    let registry = market.destination();
    let index = registry.manifest("acme/minimal", "1.2.3-minimal").await.unwrap().json();
    let annotations = index["annotations"].as_object().unwrap();
    assert!(annotations.keys().all(|name| !name.contains(".base.")), "{annotations:?}");
    let platforms: Vec<String> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            format!(
                "{}/{}",
                entry["platform"]["os"].as_str().unwrap(),
                entry["platform"]["architecture"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(platforms, [AMD64, ARM64]);
    let manifest = registry.manifest("acme/minimal", index["manifests"][0]["digest"].as_str().unwrap()).await.unwrap();
    assert_eq!(manifest.json()["layers"].as_array().unwrap().len(), 1);
    let again = market.step(None, "acme/minimal", &matrix).run().await.succeeded();
    assert_eq!(again.outputs["status"], "unchanged");
}
