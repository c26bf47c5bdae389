use std::time::Duration;

use super::*;
use crate::http::{self, Answer, get};
use crate::image::{TinyImage, digest, file};
use crate::parts::skip;
use crate::registry::{Auth, Registry};
use crate::token_server::TokenServer;

/// A registry with one blob of 300 kB behind a proxy.
struct Setup {
    registry: Registry,
    proxy: FaultProxy,
    blob: Vec<u8>,
}

impl Setup {
    async fn new() -> Option<Self> {
        let Some(registry) = Registry::start(Auth::None).await else {
            skip("no docker-registry");
            return None;
        };
        let mut random = fastrand::Rng::with_seed(7);
        let blob: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(300_000).collect();
        registry.push_blob("a/base", blob.clone()).await;
        let proxy = FaultProxy::start(registry.host());
        Some(Self { registry, proxy, blob })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/a/base/{path}", self.proxy.host())
    }

    fn blob_url(&self) -> String {
        self.url(&format!("blobs/{}", digest(&self.blob)))
    }

    async fn blob(&self) -> Result<Answer, Failure> {
        get(&self.blob_url(), &[]).await
    }

    async fn ping_with(&self, fault: Fault) -> Result<Answer, Failure> {
        self.proxy.heal();
        self.proxy.inject(Rule::on("GET", "/v2/", fault));
        get(&format!("http://{}/v2/", self.proxy.host()), &[]).await
    }

    async fn open_upload(&self) -> Answer {
        http::request("POST", &self.url("blobs/uploads/"), &[], "").await.unwrap()
    }
}

#[tokio::test]
async fn without_faults_everything_passes_and_is_recorded() {
    let Some(setup) = Setup::new().await else { return };
    let answer = get(&setup.blob_url(), &[("authorization", "Basic eDp5")]).await.unwrap();
    assert_eq!(answer.body, setup.blob);
    let [recorded] = &setup.proxy.requests()[..] else { panic!("one request") };
    assert_eq!((recorded.status, recorded.bytes_received(), recorded.asked.authorized), (Some(200), 300_000, true));

    let location = setup.open_upload().await.header("location").to_owned();
    assert!(location.starts_with(&format!("http://{}/v2/", setup.proxy.host())), "{location}");
    let other = b"another blob".to_vec();
    let put = format!("{location}&digest={}", digest(&other));
    assert_eq!(http::request("PUT", &put, &[], other.clone()).await.unwrap().status, 201);
    assert_eq!(setup.proxy.sent(), Sent { blobs: 1, manifests: 0 });
    assert_eq!(setup.proxy.requests()[2].bytes_sent(), other.len() as u64);
    assert!(setup.registry.blob_exists("a/base", &digest(&other)).await);
    setup.proxy.forget();
    assert_eq!(setup.proxy.requests().len(), 0);
}

#[tokio::test]
async fn connections_break_at_the_given_byte() {
    let Some(setup) = Setup::new().await else { return };
    setup.proxy.inject(Rule::on("GET", "/blobs/", Fault::Reset).times(1));
    setup.proxy.inject(Rule::on("GET", "/blobs/", Fault::ResetDownload { after: 1000 }).times(1));
    assert!(setup.blob().await.is_err());
    assert!(setup.blob().await.is_err());
    let requests = setup.proxy.requests();
    assert_eq!((requests[0].status, requests[1].status), (None, Some(200)));
    assert_eq!(requests[1].bytes_received(), 1000);
    assert_eq!(setup.blob().await.unwrap().body, setup.blob);
}

#[tokio::test]
async fn an_upload_breaks_in_its_middle_and_leaves_no_blob() {
    let Some(setup) = Setup::new().await else { return };
    let location = setup.open_upload().await.header("location").to_owned();
    let blob = vec![7; 3_000_000];
    let put = format!("{location}&digest={}", digest(&blob));
    setup.proxy.inject(Rule::on("PUT", "/blobs/uploads/", Fault::ResetUpload { after: 100_000 }));
    assert!(http::request("PUT", &put, &[], blob.clone()).await.is_err());
    assert_eq!(setup.proxy.requests()[1].bytes_sent(), 100_000);
    assert!(!setup.registry.blob_exists("a/base", &digest(&blob)).await);
}

#[tokio::test]
async fn a_lost_answer_has_had_its_effect() {
    let Some(setup) = Setup::new().await else { return };
    let image = TinyImage::new(&["linux/amd64"]).layer(vec![file("a", "b")]).without_index().build();
    setup.registry.push(&image, "a/base", "1").await;
    setup.proxy.inject(Rule::on("PUT", "/manifests/2", Fault::LoseAnswer).times(1));
    let headers = [("content-type", image.top().media_type.as_str())];
    let put = http::request("PUT", &setup.url("manifests/2"), &headers, image.top().bytes.clone()).await;
    assert!(put.is_err());
    assert_eq!(setup.registry.tags("a/base").await, ["1", "2"]);
}

#[tokio::test]
async fn a_truncated_blob_looks_complete_except_for_its_digest() {
    let Some(setup) = Setup::new().await else { return };
    setup.proxy.inject(Rule::on("GET", "/blobs/", Fault::Truncate { keep: 1234 }).times(1));
    let answer = setup.blob().await.unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (StatusCode::OK, "1234"));
    assert_eq!(answer.body, setup.blob[..1234]);
}

#[tokio::test]
async fn a_corrupt_blob_differs_in_one_byte() {
    let Some(setup) = Setup::new().await else { return };
    for at in [0, 65_536, 299_999] {
        setup.proxy.heal();
        setup.proxy.inject(Rule::on("GET", "/blobs/", Fault::Corrupt { at }));
        let body = setup.blob().await.unwrap().body;
        let different: Vec<usize> = (0..setup.blob.len()).filter(|&at| body[at] != setup.blob[at]).collect();
        assert_eq!(different, [usize::try_from(at).unwrap()]);
    }
}

#[tokio::test]
async fn a_stalled_body_is_complete_in_the_end() {
    let Some(setup) = Setup::new().await else { return };
    for after in [0, 1000] {
        let fault = Fault::StallDownload { after, duration: Duration::from_millis(50) };
        setup.proxy.inject(Rule::on("GET", "/blobs/", fault).times(1));
        assert_eq!(setup.blob().await.unwrap().body, setup.blob);
    }
    // A stall that outlasts the client's patience looks like one.
    setup.proxy.inject(Rule::on("GET", "/blobs/", Fault::Stall(Duration::from_secs(600))));
    assert!(tokio::time::timeout(Duration::from_millis(200), setup.blob()).await.is_err());
}

#[tokio::test]
async fn refusals_are_those_of_real_registries() {
    let Some(setup) = Setup::new().await else { return };
    let limited = setup.ping_with(Fault::too_many_requests(Some(RetryAfter::Seconds(3)))).await.unwrap();
    assert_eq!((limited.status.as_u16(), limited.header("retry-after")), (429, "3"));
    assert_eq!(limited.json()["errors"][0]["code"], "TOOMANYREQUESTS");
    let later = setup.ping_with(Fault::unavailable(Some(RetryAfter::DateIn(60)))).await.unwrap();
    assert!(later.status == 503 && later.header("retry-after").ends_with(" GMT"), "{later:?}");
    let html = setup.ping_with(Fault::bad_gateway()).await.unwrap();
    assert!(html.status == 502 && html.header("content-type") == "text/html", "{html:?}");
    let denied = setup.ping_with(Fault::denied(403)).await.unwrap();
    assert_eq!(denied.text(), r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#);
    assert_eq!(setup.ping_with(Fault::request_timeout(None)).await.unwrap().status, 408);
    assert_eq!(setup.ping_with(Fault::internal_error()).await.unwrap().status, 500);
}

#[tokio::test]
async fn a_refused_upload_gets_its_refusal_and_not_a_broken_connection() {
    let Some(setup) = Setup::new().await else { return };
    let location = setup.open_upload().await.header("location").to_owned();
    setup.proxy.inject(Rule::on("PUT", "/blobs/uploads/", Fault::too_large()));
    let refused = http::request("PUT", &location, &[], vec![0; 5_000_000]).await.unwrap();
    assert_eq!(refused.status, 413);
}

#[tokio::test]
async fn digests_are_changed_or_removed() {
    let Some(setup) = Setup::new().await else { return };
    setup.proxy.inject(Rule::on("GET", "/blobs/", Fault::WrongDigest).times(1));
    setup.proxy.inject(Rule::on("GET", "/blobs/", Fault::NoDigest).times(1));
    let digests = [setup.blob().await.unwrap(), setup.blob().await.unwrap(), setup.blob().await.unwrap()]
        .map(|answer| answer.header("docker-content-digest").to_owned());
    assert_eq!(digests, [digest(b"something else"), String::new(), digest(&setup.blob)]);
}

#[tokio::test]
async fn a_mount_that_is_accepted_opens_a_real_upload() {
    let Some(setup) = Setup::new().await else { return };
    let mount =
        format!("http://{}/v2/a/tool/blobs/uploads/?mount={}&from=a/base", setup.proxy.host(), digest(&setup.blob));
    setup.proxy.inject(Rule::on("POST", "mount=", Fault::AcceptMount).times(1));
    let accepted = http::request("POST", &mount, &[], "").await.unwrap();
    assert_eq!(accepted.status, 202);
    assert!(!setup.registry.blob_exists("a/tool", &digest(&setup.blob)).await);
    let put = format!("{}&digest={}", accepted.header("location"), digest(&setup.blob));
    assert_eq!(http::request("PUT", &put, &[], setup.blob.clone()).await.unwrap().status, 201);
    assert_eq!(http::request("POST", &mount, &[], "").await.unwrap().status, 201);
}

#[tokio::test]
async fn locations_come_in_every_form_and_lead_to_the_upload() {
    let Some(setup) = Setup::new().await else { return };
    let (host, other) = (setup.proxy.host(), setup.proxy.other_host());
    assert_ne!(host, other);
    for (form, start) in [
        (LocationForm::Relative, "/v2/".to_owned()),
        (LocationForm::Absolute, format!("http://{host}/v2/")),
        (LocationForm::OtherHost, format!("http://{other}/v2/")),
    ] {
        setup.proxy.heal();
        setup.proxy.inject(Rule::on("POST", "/blobs/uploads/", Fault::Location(form)));
        let location = setup.open_upload().await.header("location").to_owned();
        assert!(location.starts_with(&start), "{location}");
        let url = if location.starts_with('/') { format!("http://{host}{location}") } else { location };
        let blob = start.into_bytes();
        let put = format!("{url}&digest={}", digest(&blob));
        assert_eq!(http::request("PUT", &put, &[], blob).await.unwrap().status, 201);
        assert_eq!(setup.proxy.requests().last().unwrap().asked.at_other_host, form == LocationForm::OtherHost);
    }
}

#[tokio::test]
async fn a_redirected_blob_comes_from_a_store_that_wants_no_credentials() {
    let tokens = TokenServer::start();
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else { return skip("no docker-registry") };
    let digest = registry.push_blob("a/base", b"a blob".to_vec()).await;
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("GET", "/blobs/", Fault::RedirectBlob));
    let bearer = format!("Bearer {}", tokens.mint().token("x", &[("a/base", "pull")], 60));
    let headers = [("authorization", bearer.as_str())];
    let redirect = get(&format!("http://{}/v2/a/base/blobs/{digest}", proxy.host()), &headers).await.unwrap();
    assert_eq!(redirect.status, 307);
    let location = redirect.header("location");
    assert_eq!(get(location, &headers).await.unwrap().status, 400);
    assert_eq!(get(location, &[]).await.unwrap().body, "a blob");
    assert_eq!(get(location.split('?').next().unwrap(), &[]).await.unwrap().status, 403);
    let seen: Vec<_> = proxy.store_requests().iter().map(|request| (request.authorized, request.status)).collect();
    assert_eq!(seen, [(true, 400), (false, 200), (false, 403)]);
}

#[tokio::test]
async fn a_redirect_is_signed_for_one_method() {
    let Some(setup) = Setup::new().await else { return };
    for (fault, asked, head, get) in [
        (Fault::RedirectBlob, "HEAD", 200, 403),
        (Fault::RedirectBlob, "GET", 403, 200),
        (Fault::RedirectSignedForGet, "HEAD", 403, 200),
        (Fault::RedirectSignedForGet, "GET", 403, 200),
    ] {
        setup.proxy.inject(Rule::on("*", "/blobs/", fault.clone()));
        let redirect = http::request(asked, &setup.blob_url(), &[], "").await.unwrap();
        for (method, status) in [("HEAD", head), ("GET", get)] {
            let answer = http::request(method, redirect.header("location"), &[], "").await.unwrap();
            assert_eq!(answer.status, status, "{fault:?} for a {asked}: {method}");
        }
        setup.proxy.heal();
    }
}

#[tokio::test]
async fn a_function_decides_if_no_rule_does() {
    let Some(setup) = Setup::new().await else { return };
    setup.proxy.inject(Rule::pass("GET", "/blobs/").times(1));
    setup.proxy.inject_with(|asked| (asked.method == "GET").then(|| Fault::denied(401)));
    assert_eq!(setup.blob().await.unwrap().status, 200);
    assert_eq!(setup.blob().await.unwrap().status, 401);
    assert_eq!(http::request("HEAD", &setup.blob_url(), &[], "").await.unwrap().status, 200);
}

#[tokio::test]
async fn chaos_is_the_same_for_the_same_seed_and_lets_a_patient_client_through() {
    let Some(setup) = Setup::new().await else { return };
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        setup.proxy.chaos(seed, 0.7, 3, vec![Fault::unavailable(None), Fault::internal_error()]);
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(setup.blob().await.unwrap().status.as_u16());
        }
        assert!(statuses.windows(4).all(|window| window.contains(&200)), "{statuses:?}");
        assert!(statuses.contains(&503) && statuses.contains(&500), "{statuses:?}");
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}
