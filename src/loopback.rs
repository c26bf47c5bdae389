//! Loopback hosts: they may be spoken to without TLS and never through a proxy, and their names mean nothing on other
//! machines.

use url::{Host, Url};

/// Whether the URL's host is this machine. `tool.localhost` doesn't count: resolvers may ask DNS for it.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
