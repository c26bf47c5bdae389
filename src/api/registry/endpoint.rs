//! The address of a registry: its host, its scheme, and the URLs that it refers us to.

use url::Url;

use crate::image::Repository;
use crate::image::reference::DOCKER_HUB;
use crate::loopback::is_loopback;

/// The protocol for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// The scheme to try first: TLS, unless plain HTTP is allowed.
    pub(super) fn of(registry: &str, insecure: &[String]) -> Self {
        match Url::parse(&format!("http://{registry}/")) {
            Ok(url) if may_be_plain(&url, insecure) => Self::Http,
            _ => Self::Https,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The URL of `rest` (`manifests/latest`) in a repository.
pub(super) fn url(repository: &Repository, scheme: Scheme, rest: &str) -> Url {
    let host = match repository.registry() {
        DOCKER_HUB => "registry-1.docker.io",
        host => host,
    };
    let text = format!("{}://{host}/v2/{}/{rest}", scheme.as_str(), repository.path());
    Url::parse(&text).expect("a repository's registry is checked to be an authority, and its path to need no escapes")
}

/// Whether a URL may be used: it has TLS, or plain HTTP is allowed for its host.
pub(super) fn is_allowed(url: &Url, insecure: &[String]) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => may_be_plain(url, insecure),
        _ => false,
    }
}

/// `host:port` of a URL, or just `host` if the port is the scheme's default.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The target of a response's `Location`. A registry behind a proxy that terminates TLS often calls itself `http`: on
/// the same host, our scheme is kept.
pub(super) fn follow(asked: &Url, location: &str) -> Option<Url> {
    let mut to = asked.join(location).ok()?;
    if asked.scheme() == "https" && to.scheme() == "http" && to.host() == asked.host() && to.port() == asked.port() {
        to.set_scheme("https").ok()?;
    }
    // Never send credentials from this URL: it was chosen by the registry, not by the user.
    to.set_username("").ok()?;
    to.set_password(None).ok()?;
    matches!(to.scheme(), "http" | "https").then_some(to)
}

fn may_be_plain(url: &Url, insecure: &[String]) -> bool {
    let (host, authority) = (url.host_str().unwrap_or_default(), authority(url));
    is_loopback(url) || insecure.iter().any(|i| i.eq_ignore_ascii_case(host) || i.eq_ignore_ascii_case(&authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_listed_hosts_are_spoken_to_without_tls() {
        let insecure = ["172.17.0.1:5000".to_owned(), "registry.lan".to_owned()];
        for (registry, scheme) in [
            ("127.0.0.1:5000", Scheme::Http),
            ("127.9.9.9", Scheme::Http),
            ("localhost:5000", Scheme::Http),
            ("[::1]:5000", Scheme::Http),
            ("172.17.0.1:5000", Scheme::Http),
            ("registry.lan:81", Scheme::Http),
            ("172.17.0.1:5001", Scheme::Https),
            ("ghcr.io", Scheme::Https),
            ("localhost.example.org", Scheme::Https),
            ("registry.localhost:5000", Scheme::Https),
            ("127.0.0.1.example.org", Scheme::Https),
        ] {
            assert_eq!(Scheme::of(registry, &insecure), scheme, "{registry}");
        }
    }

    #[test]
    fn docker_hub_has_another_host_than_its_name() {
        let alpine: Repository = "alpine".parse().unwrap();
        assert_eq!(
            url(&alpine, Scheme::Https, "tags/list").as_str(),
            "https://registry-1.docker.io/v2/library/alpine/tags/list"
        );
    }

    #[test]
    fn a_location_may_be_absolute_or_relative() {
        let asked = Url::parse("https://reg.io:8443/v2/a/blobs/uploads/").unwrap();
        for (location, followed) in [
            ("/v2/a/blobs/uploads/1?_state=x%2Fy", Some("https://reg.io:8443/v2/a/blobs/uploads/1?_state=x%2Fy")),
            ("1", Some("https://reg.io:8443/v2/a/blobs/uploads/1")),
            ("https://reg.io:8443/u/1", Some("https://reg.io:8443/u/1")),
            ("http://reg.io:8443/u/1", Some("https://reg.io:8443/u/1")),
            ("https://cdn.io/u/1", Some("https://cdn.io/u/1")),
            ("http://cdn.io/u/1", Some("http://cdn.io/u/1")),
            ("//cdn.io/u/1", Some("https://cdn.io/u/1")),
            ("https://user:password@cdn.io/", Some("https://cdn.io/")),
            ("ftp://cdn.io/u", None),
            ("file:///etc/passwd", None),
            ("https://", None),
        ] {
            assert_eq!(follow(&asked, location).as_ref().map(Url::as_str), followed, "{location}");
        }
    }

    #[test]
    fn a_redirect_to_plain_http_is_not_allowed() {
        for (url, allowed) in [
            ("https://cdn.io/", true),
            ("http://cdn.io/", false),
            ("http://127.0.0.1:1/", true),
            ("http://minio.lan:9000/", true),
            ("http://minio.lan:9001/", false),
        ] {
            assert_eq!(is_allowed(&Url::parse(url).unwrap(), &["minio.lan:9000".to_owned()]), allowed, "{url}");
        }
    }
}
