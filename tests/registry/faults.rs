//! What must happen if something breaks between us and a registry: a table of named faults, and random faults.

use support::fault_proxy::{Fault, FaultProxy, LocationForm, RetryAfter, Rule, Sent};
use support::parts::skip;
use support::registry::{Auth, Registry};

use super::canned::{Canned, status};
use super::*;

/// A registry with an image, another one to copy it to, and a proxy in front of each.
struct Setup {
    image: Image,
    _from: Registry,
    to: Registry,
    from_proxy: FaultProxy,
    to_proxy: FaultProxy,
}

impl Setup {
    async fn new() -> Option<Self> {
        let (Some(from), Some(to)) = (Registry::start(Auth::None).await, Registry::start(Auth::None).await) else {
            skip("no docker-registry");
            return None;
        };
        let image = Image::new(20);
        image.push(&Client::new().registries, &repository(from.host(), "library/base")).await.unwrap();
        let (from_proxy, to_proxy) = (FaultProxy::start(from.host()), FaultProxy::start(to.host()));
        Some(Self { image, _from: from, to, from_proxy, to_proxy })
    }

    /// Copies the image from one registry to the repository `path` in the other.
    async fn copy(&self, client: &Client, path: &str) -> Result<(), RegistryError> {
        let from = repository(&self.from_proxy.host(), "library/base");
        let to = repository(&self.to_proxy.host(), path);
        let registries = &client.registries;
        let pulled = registries.resolve(&from.tagged("latest".parse().unwrap())).await?;
        assert_eq!(pulled.document.bytes(), self.image.manifest.bytes());
        let config = registries.small_blob(&from, &self.image.config.descriptor()).await?;
        registries.check_push(&to).await?;
        registries.ensure_blob(&to, &self.image.config.descriptor(), BlobOrigin::Bytes(&config)).await?;
        registries.ensure_blob(&to, &self.image.layer.1, BlobOrigin::Repository(&from)).await?;
        registries.ensure_manifest(&to, &self.image.manifest).await?;
        assert!(registries.move_tag(&to, &"latest".parse().unwrap(), None, &self.image.manifest).await?);
        assert_eq!(registries.tags(&to).await?.len(), 1);
        Ok(())
    }

    /// Asks the registry directly instead of the proxy.
    async fn assert_copied(&self, path: &str, name: &str) {
        let manifest = self.to.manifest(path, "latest").await;
        assert_eq!(manifest.unwrap().bytes, self.image.manifest.bytes()[..], "{name}: the manifest");
        let layer = self.to.blob(path, self.image.layer.1.digest.as_str()).await;
        assert_eq!(layer.as_ref(), Some(&self.image.layer.0), "{name}: the layer");
    }
}

/// Where a fault happens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Source,
    Destination,
}

/// What must happen.
enum Then {
    /// The copy succeeds after this many more attempts.
    Copied(u64),
    /// It fails, with all these texts in the error.
    Fails(&'static [&'static str]),
}

use At::{Destination, Source};
use Then::{Copied, Fails};

fn table() -> Vec<(&'static str, At, Rule, Then)> {
    let seconds = |seconds| Some(RetryAfter::Seconds(seconds));
    let stall = || Fault::Stall(Duration::from_secs(2));
    let (source, upload, put) = ("/v2/library/base/", "/blobs/uploads/", "digest=");
    vec![
        ("a manifest's connection is reset", Source, Rule::on("GET", "/manifests/", Fault::Reset).times(2), Copied(2)),
        ("a blob's connection is reset", Source, Rule::on("GET", "/blobs/", Fault::Reset).times(2), Copied(2)),
        (
            "a blob breaks off",
            Source,
            Rule::on("GET", "/blobs/", Fault::ResetDownload { after: 9 }).times(3),
            Copied(3),
        ),
        (
            "a blob stalls",
            Source,
            Rule::on("GET", "/blobs/", Fault::StallDownload { after: 9, duration: Duration::from_secs(2) }).times(1),
            Copied(1),
        ),
        ("an answer stalls", Source, Rule::on("GET", "/manifests/", stall()).times(1), Copied(1)),
        (
            "a manifest is truncated",
            Source,
            Rule::on("GET", "/manifests/", Fault::Truncate { keep: 9 }).times(2),
            Copied(2),
        ),
        ("a blob is truncated", Source, Rule::on("GET", "/blobs/", Fault::Truncate { keep: 9 }).times(2), Copied(2)),
        ("a blob is corrupted", Source, Rule::on("GET", "/blobs/", Fault::Corrupt { at: 9 }).times(2), Copied(2)),
        (
            "a manifest is corrupted",
            Source,
            Rule::on("GET", "/manifests/", Fault::Corrupt { at: 9 }).times(2),
            Copied(2),
        ),
        ("another digest is named", Source, Rule::on("GET", "/manifests/", Fault::WrongDigest).times(2), Copied(2)),
        (
            "another digest is always named",
            Source,
            Rule::on("GET", "/manifests/", Fault::WrongDigest),
            Fails(&["after 5 attempts", ", received "]),
        ),
        ("no digest is named", Source, Rule::on("*", source, Fault::NoDigest), Copied(0)),
        ("the blobs are elsewhere", Source, Rule::on("GET", "/blobs/", Fault::RedirectBlob), Copied(0)),
        ("408", Source, Rule::on("GET", source, Fault::request_timeout(None)).times(3), Copied(3)),
        ("429", Destination, Rule::on("*", "/v2/", Fault::too_many_requests(None)).times(4), Copied(4)),
        (
            "429 with seconds",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::too_many_requests(seconds(1))).times(1),
            Copied(1),
        ),
        (
            "429 with a date",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::too_many_requests(Some(RetryAfter::DateIn(1)))).times(1),
            Copied(1),
        ),
        (
            "429 with nonsense",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::too_many_requests(Some(RetryAfter::Text("soon")))).times(1),
            Copied(1),
        ),
        (
            "429 for longer than we wait",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::too_many_requests(seconds(3600))),
            Fails(&["429 TOOMANYREQUESTS (too many requests) and asks to wait 3600 s"]),
        ),
        ("500", Destination, Rule::on("*", "/v2/", Fault::internal_error()).times(4), Copied(4)),
        ("502 with HTML", Destination, Rule::on("PUT", put, Fault::bad_gateway()).times(2), Copied(2)),
        (
            "503 with seconds",
            Destination,
            Rule::on("HEAD", "/blobs/", Fault::unavailable(seconds(1))).times(1),
            Copied(1),
        ),
        (
            "a passing denied, as 403",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::denied(403)).times(3),
            Copied(3),
        ),
        (
            "a passing denied, as 401",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::denied(401)).times(3),
            Copied(3),
        ),
        (
            "a lasting denied",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::denied(403)),
            Fails(&["is refused: 403 DENIED (denied)", "hint: "]),
        ),
        (
            "no right to write",
            Destination,
            Rule::on("POST", upload, Fault::write_package()),
            Fails(&["is refused: 403 DENIED (permission_denied: write_package)", "hint: "]),
        ),
        ("an upload is reset", Destination, Rule::on("PUT", put, Fault::ResetUpload { after: 9 }).times(2), Copied(2)),
        ("an upload is always reset", Destination, Rule::on("PUT", put, Fault::ResetUpload { after: 9 }), Copied(3)),
        ("an upload stalls", Destination, Rule::on("PUT", put, stall()).times(1), Copied(1)),
        ("the answer to an upload is lost", Destination, Rule::on("PUT", put, Fault::LoseAnswer).times(1), Copied(1)),
        (
            "the answer to a manifest is lost",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::LoseAnswer).times(2),
            Copied(2),
        ),
        (
            "another digest is named for a push",
            Destination,
            Rule::on("PUT", "/manifests/", Fault::WrongDigest).times(1),
            Copied(1),
        ),
        (
            "an upload goes on at a path",
            Destination,
            Rule::on("POST", upload, Fault::Location(LocationForm::Relative)),
            Copied(0),
        ),
        (
            "an upload goes on at a URL",
            Destination,
            Rule::on("POST", upload, Fault::Location(LocationForm::Absolute)),
            Copied(0),
        ),
        (
            "an upload goes on at another host",
            Destination,
            Rule::on("POST", upload, Fault::Location(LocationForm::OtherHost)),
            Copied(0),
        ),
        (
            "everything is too large",
            Destination,
            Rule::on("*", upload, Fault::too_large()),
            Fails(&["POST", "413 (413 Request Entity Too Large)"]),
        ),
    ]
}

#[tokio::test]
async fn each_fault_has_its_outcome() {
    let Some(setup) = Setup::new().await else { return };
    for (number, (name, at, rule, then)) in table().into_iter().enumerate() {
        let proxy = if at == Source { &setup.from_proxy } else { &setup.to_proxy };
        proxy.inject(rule);
        // Less than the stalls of the table.
        let client = Client::with(Options { idle: Duration::from_secs(1), ..Options::default() });
        let path = format!("acme/tool{number}");
        let copied = setup.copy(&client, &path).await;
        proxy.heal();
        match (copied, then) {
            (Ok(()), Copied(again)) => {
                setup.assert_copied(&path, name).await;
                // On a machine that stalls for a while, other requests are retried as well.
                let retried = client.registries.retried();
                assert!((again..=again + 3).contains(&retried), "{name}: {retried} attempts were made again");
            }
            (Err(error), Fails(parts)) => {
                let said = said(error);
                for part in parts.iter().chain(&["\nhint: "]) {
                    assert!(said.contains(part), "{name}: {part:?} is not in {said:?}");
                }
            }
            (Ok(()), Fails(_)) => panic!("{name}: it should fail"),
            (Err(error), Copied(_)) => panic!("{name}: {}", said(error)),
        }
        assert_eq!(client.spooled(), 0, "{name}: nothing stays on disk");
    }
}

#[tokio::test]
async fn a_registry_that_will_not_mount_gets_an_upload_in_the_session_that_it_opened() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (bytes, layer) = blob(21, 1000);
    registry.push_blob("library/base", bytes.to_vec()).await;
    proxy.inject(Rule::on("POST", "mount=", Fault::AcceptMount));
    let (base, to) = (repository(&proxy.host(), "library/base"), repository(&proxy.host(), "acme/tool"));
    let client = Client::new();
    let ensured = client.registries.ensure_blob(&to, &layer, BlobOrigin::Repository(&base)).await.unwrap();
    assert_eq!(ensured, Ensured::Copied);
    assert_eq!(proxy.count("POST", ""), 1);
    assert_eq!(registry.blob("acme/tool", layer.digest.as_str()).await, Some(bytes));
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_not_sent_again() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("PUT", "/blobs/uploads/", Fault::LoseAnswer));
    let (bytes, layer) = blob(22, 1000);
    let to = repository(&proxy.host(), "acme/tool");
    Client::new().registries.ensure_blob(&to, &layer, BlobOrigin::Bytes(&bytes)).await.unwrap();
    assert_eq!(proxy.count("PUT", ""), 1);
}

#[tokio::test]
async fn a_refused_monolithic_upload_is_sent_in_chunks_and_that_is_remembered() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("PUT", "/blobs/uploads/", Fault::too_large()).times(1));
    // Too large for the first two chunk sizes as well.
    proxy.inject(Rule::on("PATCH", "", Fault::too_large()).times(1));
    let (client, to) = (Client::new(), repository(&proxy.host(), "acme/tool"));
    for seed in [23, 24] {
        let (bytes, layer) = blob(seed, 5_000_000);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        client.registries.ensure_blob(&to, &layer, BlobOrigin::File(file.path())).await.unwrap();
        assert_eq!(registry.blob("acme/tool", layer.digest.as_str()).await, Some(bytes));
    }
    let chunks: Vec<_> = proxy.requests().into_iter().filter(|request| request.asked.method == "PATCH").collect();
    let ranges: Vec<_> = chunks.iter().map(|request| request.asked.range.clone().unwrap_or_default()).collect();
    let of_one = ["0-1048575", "1048576-2097151", "2097152-3145727", "3145728-4194303", "4194304-4999999"];
    assert_eq!(ranges[0], "0-4194303");
    assert_eq!(ranges[1..], [of_one, of_one].concat());
    assert_eq!(proxy.count("PUT", "/blobs/uploads/"), 3, "one that was refused, and two that close an upload");
}

#[tokio::test]
async fn a_copy_succeeds_with_three_of_ten_requests_failing() {
    let Some(setup) = Setup::new().await else { return };
    for seed in 0..5 {
        for (proxy, seed) in [(&setup.from_proxy, seed), (&setup.to_proxy, seed + 100)] {
            let faults = vec![
                Fault::Reset,
                Fault::LoseAnswer,
                Fault::ResetUpload { after: 50_000 },
                Fault::ResetDownload { after: 50_000 },
                Fault::Truncate { keep: 100 },
                Fault::Corrupt { at: 100 },
                Fault::WrongDigest,
                Fault::too_many_requests(None),
                Fault::request_timeout(None),
                Fault::internal_error(),
                Fault::bad_gateway(),
                Fault::unavailable(None),
                Fault::denied(403),
            ];
            proxy.chaos(seed, 0.3, 4, faults);
        }
        let (client, path) = (Client::new(), format!("chaos/tool{seed}"));
        let copied = setup.copy(&client, &path).await;
        copied.unwrap_or_else(|error| panic!("seed {seed}: {}", said(error)));
        setup.assert_copied(&path, &format!("seed {seed}")).await;
        assert!(client.registries.retried() > 0, "seed {seed}: nothing failed");
    }
}

#[tokio::test]
async fn when_everything_fails_we_give_up_and_say_what_was_tried() {
    let Some(setup) = Setup::new().await else { return };
    setup.to_proxy.inject(Rule::on("*", "", Fault::bad_gateway()));
    let options = Options { deadline: Duration::from_secs(2), ..Options::default() };
    let client = Client::impatient(options, tempfile::tempdir().unwrap());
    let error = setup.copy(&client, "acme/tool").await.unwrap_err();
    let RegistryError::Failed { attempts, .. } = &error else { panic!("{error:?}") };
    assert!(*attempts > 2, "{attempts}");
    let attempts = format!("after {attempts} attempts in ");
    let said = said(error);
    let to = repository(&setup.to_proxy.host(), "acme/tool");
    for part in [
        &format!("`{to}`: `POST /v2/acme/tool/blobs/uploads/` failed"),
        &attempts,
        "cause: the registry answered 502 (502 Bad Gateway)",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert_eq!(setup.to_proxy.sent(), Sent { blobs: 0, manifests: 0 });
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named_with_the_reason() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options { deadline: Duration::from_secs(1), ..Options::default() };
    let client = Client::impatient(options, tempfile::tempdir().unwrap());
    let said = said(client.registries.check_push(&repository(&port.to_string(), "a/b")).await.unwrap_err());
    assert!(said.contains(&format!("`{port}/a/b`: `POST /v2/a/b/blobs/uploads/` failed after ")), "{said}");
    let expected = format!(
        "\n  cause: Connection refused\nhint: is `{port}` the right host and port? If so, the registry is down; when it is back, run it \
         again: what has already been sent isn't sent again"
    );
    assert!(said.ends_with(&expected), "{said}");
}

#[tokio::test]
async fn a_host_that_nobody_knows_is_named_with_one_cause() {
    let options = Options { deadline: Duration::from_secs(1), ..Options::default() };
    let client = Client::impatient(options, tempfile::tempdir().unwrap());
    let said = said(client.registries.check_push(&repository("registry.invalid", "a/b")).await.unwrap_err());
    assert!(said.contains("\n  cause: the host isn't known (") && said.matches("cause: ").count() == 1, "{said}");
    assert!(said.ends_with("\nhint: is `registry.invalid` the right host?"), "{said}");
}

#[tokio::test]
async fn plain_http_where_tls_was_expected_names_the_input_that_allows_it() {
    // Loopback needs no TLS, so the server is asked at another address of this machine. Nothing is sent to find it out.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("192.0.2.1:9").is_err() {
        return skip("no address but loopback");
    }
    let listener = std::net::TcpListener::bind((socket.local_addr().unwrap().ip(), 0)).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let client = Client::new();
    let error = client.registries.check_push(&repository(&host, "a/b")).await.unwrap_err();
    let said = said(error);
    let expected = format!(
        "\n  cause: the answer isn't TLS\nhint: `{host}` speaks plain HTTP; if that is intended, add it to `insecure-registries`"
    );
    assert!(said.ends_with(&expected), "{said}");
}

#[tokio::test]
async fn the_query_of_an_upload_is_kept_and_not_shown() {
    let server = Canned::start(|target| match target {
        "/v2/a/b/blobs/uploads/" => status("202 Accepted", "Location: /u/1?_state=SECRET%3D%3D", ""),
        target if target.starts_with("/u/1?_state=SECRET%3D%3D&digest=sha256%3A") => status("409 Conflict", "X: y", ""),
        target if target.starts_with("/v2/a/b/blobs/sha256:") => status("404 Not Found", "X: y", ""),
        other => panic!("{other}"),
    });
    let (bytes, layer) = blob(25, 10);
    let to = repository(&server.host(), "a/b");
    let client = Client::new();
    let error = client.registries.ensure_blob(&to, &layer, BlobOrigin::Bytes(&bytes)).await.unwrap_err();
    let shown = format!("{error:?}") + &said(error);
    assert!(shown.contains("`PUT /u/1` failed\n  cause: the registry answered 409"), "{shown}");
    assert!(!shown.contains("SECRET"), "{shown}");
}
