use std::time::Duration;

use super::*;
use crate::http::{self, Answer};
use crate::image::{MediaTypes, TinyImage, file};
use crate::registry::basic;

const TOOL: &str = "acme/tool";

fn image(content: &str) -> Image {
    TinyImage::new(&["linux/amd64", "linux/arm64"]).layer(vec![file("etc/release", content)]).build()
}

async fn ask(registry: &MemoryRegistry, client: &str, method: &str, path: &str) -> Result<Answer, Failure> {
    let login = basic(client, "any");
    let accept = [MediaTypes::Oci.index(), MediaTypes::Oci.manifest()].join(", ");
    let headers = [("authorization", login.as_str()), ("accept", &accept), ("content-type", MediaTypes::Oci.index())];
    let body = match method {
        "PUT" => registry.manifest(TOOL, "1").unwrap().bytes,
        _ => Vec::new(),
    };
    http::request(method, &format!("http://{}/v2/{path}", registry.host()), &headers, body).await
}

async fn get(registry: &MemoryRegistry, client: &str, path: &str) -> u16 {
    ask(registry, client, "GET", path).await.unwrap().status.as_u16()
}

fn seen(registry: &MemoryRegistry) -> Vec<(String, Option<u16>)> {
    let seen = registry.requests().into_iter();
    seen.map(|it| (format!("{} {}", it.asked.client.unwrap_or_default(), it.asked.path), it.status)).collect()
}

/// Lets other tasks run until `condition` is true.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn content_of_the_test_is_served_until_it_removes_it() {
    let registry = MemoryRegistry::start();
    let (old, new) = (image("1"), image("2"));
    let digest = registry.put_image(&old, TOOL, "1");
    registry.put_image(&new, TOOL, "2");
    registry.tag(TOOL, "latest", &digest);
    assert_eq!(registry.tags(TOOL), ["1", "2", "latest"]);
    assert_eq!(registry.named(TOOL, "latest"), Some(digest.clone()));
    assert_eq!(registry.manifest(TOOL, "1").as_ref(), Some(old.top()));
    assert_eq!(ask(&registry, "x", "GET", "acme/tool/manifests/1").await.unwrap().body, old.top().bytes);
    registry.untag(TOOL, "2");
    assert_eq!(get(&registry, "x", "acme/tool/manifests/2").await, 404);
    assert_eq!(registry.manifest(TOOL, &new.top().digest()).as_ref(), Some(new.top()));
    let (child, blob) = (old.manifests[0].digest(), crate::image::digest(&old.blobs[0]));
    assert!(registry.blob(TOOL, &blob).is_some());
    assert_eq!(registry.snapshot().missing(TOOL, "1"), Vec::<String>::new());
    registry.delete_blob(TOOL, &blob);
    assert_eq!(registry.snapshot().missing(TOOL, "1"), [blob]);
    registry.delete_manifest(TOOL, &child);
    assert_eq!(get(&registry, "x", "acme/tool/manifests/1").await, 200);
    assert_eq!(get(&registry, "x", &format!("acme/tool/manifests/{child}")).await, 404);
    assert_eq!(registry.snapshot().missing(TOOL, "1"), [child]);
    registry.delete_manifest(TOOL, &digest);
    assert_eq!((registry.tags(TOOL).len(), get(&registry, "x", "acme/tool/manifests/1").await), (2, 404));
    assert_eq!(registry.snapshot().missing(TOOL, "1"), [digest]);
    registry.tag(TOOL, "3", &new.top().digest());
    registry.delete_manifest_and_tags(TOOL, &new.top().digest());
    assert_eq!(registry.tags(TOOL), ["1", "latest"]);
}

#[tokio::test]
async fn a_state_is_restored_and_compared() {
    let (registry, other) = (MemoryRegistry::start(), MemoryRegistry::start());
    registry.put_image(&image("1"), TOOL, "1");
    let before = registry.snapshot();
    registry.put_image(&image("2"), TOOL, "1");
    let after = registry.snapshot();
    assert_ne!(before, after);
    registry.restore(&before);
    assert_eq!(registry.snapshot(), before);
    assert_eq!(registry.named(TOOL, "1"), Some(image("1").top().digest()));
    registry.put_image(&image("2"), TOOL, "1");
    assert_eq!(registry.snapshot(), after, "equal content is an equal state");
    other.restore(&before);
    assert_eq!(get(&other, "x", "acme/tool/manifests/1").await, 200);
    assert_eq!(before.all_named(TOOL)["1"], image("1").top().digest());
    assert_eq!((before.repositories(), format!("{before:?}").contains("\"1\": \"sha256:")), (vec![TOOL.into()], true));
}

#[tokio::test]
async fn clients_are_told_apart_by_their_login() {
    let registry = MemoryRegistry::start();
    assert_eq!(http::get(&format!("http://{}/v2/", registry.host()), &[]).await.unwrap().status, 200);
    registry.require_login();
    let refused = http::get(&format!("http://{}/v2/", registry.host()), &[]).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.header("www-authenticate")), (401, "Basic realm=\"registry\""));
    for client in ["first", "second", "first"] {
        assert_eq!(get(&registry, client, "").await, 200);
    }
    let numbers: Vec<_> = registry.requests().into_iter().map(|it| (it.asked.client, it.asked.number)).collect();
    let by = |client: &str| Some(client.to_owned());
    assert_eq!(numbers, [(None, 1), (None, 1), (by("first"), 1), (by("second"), 1), (by("first"), 2)]);
    registry.clear_requests();
    assert_eq!(registry.requests(), []);
    get(&registry, "first", "").await;
    assert_eq!(registry.requests()[0].asked.number, 1);
}

#[tokio::test]
async fn hooks_decide_on_requests() {
    let registry = MemoryRegistry::start();
    registry.put_image(&image("1"), TOOL, "1");
    registry.on_request(|asked, state| {
        assert_eq!(state.tags(TOOL), ["1"]);
        match asked.tag() {
            Some((TOOL, "refused")) => Verdict::refuse(429, "TOOMANYREQUESTS"),
            Some((TOOL, "reset")) => Verdict::Reset,
            Some((TOOL, "lost")) if asked.is_write() => Verdict::LoseAnswer,
            Some((TOOL, "slow")) => Verdict::Delay(Duration::from_millis(50)),
            Some((TOOL, "never")) => Verdict::Hang,
            _ => Verdict::Serve,
        }
    });
    registry.on_request(|asked, _| match asked.method.as_str() {
        "DELETE" => Verdict::refuse(405, "UNSUPPORTED"),
        _ => Verdict::Serve,
    });
    let refused = ask(&registry, "x", "GET", "acme/tool/manifests/refused").await.unwrap();
    assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["code"]), (429, &"TOOMANYREQUESTS".into()));
    assert!(ask(&registry, "x", "GET", "acme/tool/manifests/reset").await.is_err());
    assert_eq!(ask(&registry, "x", "DELETE", "acme/tool/manifests/1").await.unwrap().status, 405);
    let begun = std::time::Instant::now();
    assert_eq!(get(&registry, "x", "acme/tool/manifests/slow").await, 404);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let never = get(&registry, "x", "acme/tool/manifests/never");
    assert!(tokio::time::timeout(Duration::from_millis(50), never).await.is_err());
    assert!(ask(&registry, "x", "PUT", "acme/tool/manifests/lost").await.is_err());
    assert_eq!(registry.tags(TOOL), ["1", "lost"]);
    registry.clear_hooks();
    assert_eq!(get(&registry, "x", "acme/tool/manifests/reset").await, 404);
    let statuses: Vec<_> = seen(&registry).into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, [Some(429), None, Some(405), Some(404), None, None, Some(404)]);
}

/// The second run takes place between two requests of the first.
#[tokio::test]
async fn a_gate_stops_the_world_of_one_client() {
    let registry = MemoryRegistry::start();
    registry.put_image(&image("1"), TOOL, "1");
    for (hold, second_is_done) in [(Hold::at(2), false), (Hold::after(2), true)] {
        registry.clear_requests();
        registry.untag(TOOL, "first-2");
        let gate = registry.hold(hold.of("first"));
        assert!(!gate.is_reached());
        let first = async {
            for number in 1..=3 {
                let put = ask(&registry, "first", "PUT", &format!("acme/tool/manifests/first-{number}")).await;
                assert_eq!(put.unwrap().status, 201);
            }
        };
        let second = async {
            let asked = gate.reached().await;
            assert_eq!((asked.number, asked.tag()), (2, Some((TOOL, "first-2"))));
            assert_eq!(registry.named(TOOL, "first-2").is_some(), second_is_done);
            for _ in 0..3 {
                assert_eq!(get(&registry, "second", "acme/tool/tags/list").await, 200);
            }
            assert_eq!(registry.requests().iter().filter(|it| it.asked.client == Some("first".into())).count(), 2);
            gate.open();
        };
        tokio::join!(first, second);
        let clients: Vec<_> = registry.requests().into_iter().filter_map(|it| it.asked.client).collect();
        assert_eq!(clients, ["first", "first", "second", "second", "second", "first"]);
        assert!(registry.requests().iter().all(|it| it.status.is_some()));
        assert!(registry.named(TOOL, "first-2").is_some());
    }
}

#[tokio::test]
async fn later_requests_wait_as_well_unless_only_one_should_wait() {
    let registry = MemoryRegistry::start();
    for alone in [false, true] {
        registry.clear_requests();
        let hold = Hold::at(1).when(|asked| asked.path.ends_with("/list"));
        let gate = registry.hold(if alone { hold.alone() } else { hold });
        let paths = ["a/tags/list", "b/tags/list", "", "c/tags/list"];
        let all = async {
            let answered = paths.map(|path| get(&registry, "x", path));
            let [a, b, c, d] = answered;
            tokio::join!(a, b, c, d)
        };
        let passed = if alone { 3 } else { 1 };
        let opened = async {
            gate.reached().await;
            until(|| registry.requests().len() == 4).await;
            until(|| registry.requests().iter().filter(|it| it.status.is_some()).count() == passed).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(registry.requests().iter().filter(|it| it.status.is_some()).count(), passed);
            gate.open();
        };
        assert_eq!(tokio::join!(all, opened).0, (404, 404, 200, 404));
    }
}

#[tokio::test]
async fn requests_at_a_removed_gate_are_never_served() {
    let registry = MemoryRegistry::start();
    registry.put_image(&image("1"), TOOL, "1");
    let gate = registry.hold(Hold::at(1));
    let put = ask(&registry, "x", "PUT", "acme/tool/manifests/2");
    let (put, ()) = tokio::join!(put, async {
        gate.reached().await;
        drop(gate);
    });
    assert!(put.is_err());
    assert_eq!(registry.tags(TOOL), ["1"]);
    assert_eq!(ask(&registry, "x", "PUT", "acme/tool/manifests/3").await.unwrap().status, 201, "no others are held");
}

#[tokio::test]
async fn a_request_whose_client_has_gone_is_never_served() {
    let registry = MemoryRegistry::start();
    registry.put_image(&image("1"), TOOL, "1");
    let gate = registry.hold(Hold::at(1));
    let mut stream = std::net::TcpStream::connect(registry.host()).unwrap();
    let body = String::from_utf8(image("1").top().bytes.clone()).unwrap();
    let head = format!(
        "PUT /v2/acme/tool/manifests/2 HTTP/1.1\r\nhost: x\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
        MediaTypes::Oci.index(),
        body.len()
    );
    std::io::Write::write_all(&mut stream, (head + &body).as_bytes()).unwrap();
    gate.reached().await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.open();
    assert_eq!(get(&registry, "x", "").await, 200);
    assert_eq!(registry.tags(TOOL), ["1"]);
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let registry = MemoryRegistry::start();
    let digest = registry.put_image(&image("1"), TOOL, "1");
    for tag in ["10", "B", "a", "a-b", "a.b", "a_b"] {
        registry.tag(TOOL, tag, &digest);
    }
    let pages = async |query: &str| {
        let (mut next, mut pages) = (format!("/v2/acme/tool/tags/list{query}"), Vec::new());
        while !next.is_empty() {
            let answer = http::get(&format!("http://{}{next}", registry.host()), &[]).await.unwrap();
            let tags = answer.json()["tags"].as_array().unwrap().clone();
            pages.push(tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect::<Vec<_>>());
            let link = answer.header("link");
            assert!(link.is_empty() || link.ends_with(">; rel=\"next\""), "{link}");
            next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
        }
        pages
    };
    let whole = [["1", "10", "B"].as_slice(), &["a", "a-b", "a.b"], &["a_b"]];
    assert_eq!(pages("").await, [whole.concat()]);
    assert_eq!(pages("?n=1000").await, [whole.concat()]);
    assert_eq!(pages("?n=7").await, [whole.concat()]);
    assert_eq!(pages("?n=3").await, whole);
    assert_eq!(pages("?last=a-").await, [["a-b", "a.b", "a_b"]]);
    registry.set_page(3);
    assert_eq!(pages("?n=1000").await, whole);
    assert_eq!(pages("").await, whole);
    let refused = http::get(&format!("http://{}/v2/acme/tool/tags/list?n=x", registry.host()), &[]).await.unwrap();
    assert_eq!(refused.json()["errors"][0]["code"], "PAGINATION_NUMBER_INVALID");
}
