//! The `WWW-Authenticate` header: [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#name-www-authenticate), and its use for
//! [tokens](https://distribution.github.io/distribution/spec/auth/token/).

/// The authentication that a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from the server at `realm`.
    Bearer {
        /// The URL of the token server.
        realm: String,
        /// The name by which the token server knows the registry.
        service: Option<String>,
        /// The scopes that the refused request needs, in the registry's own words.
        scopes: Vec<String>,
    },
}

impl Challenge {
    /// The same challenge for other requests.
    pub(super) fn without_scopes(&self) -> Self {
        match self {
            Self::Basic => Self::Basic,
            Self::Bearer { realm, service, .. } => {
                Self::Bearer { realm: realm.clone(), service: service.clone(), scopes: Vec::new() }
            }
        }
    }

    /// The best of the challenges in the headers: tokens are preferred to passwords. `None` if there is none that we
    /// know.
    pub(super) fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let challenges: Vec<Self> = headers.into_iter().flat_map(parse).collect();
        let bearer = challenges.iter().find(|c| matches!(c, Self::Bearer { .. }));
        bearer.or(challenges.first()).cloned()
    }
}

/// The token server in a header.
#[must_use]
pub fn realm(header: &str) -> Option<String> {
    match Challenge::choose([header])? {
        Challenge::Bearer { realm, .. } => Some(realm),
        Challenge::Basic => None,
    }
}

/// All known challenges in a header, which is a list of schemes with parameters, all separated by commas.
fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    while let Some((item, after)) = next_item(rest) {
        rest = after;
        let (before_value, value) = match item.split_once('=') {
            Some((name, value)) => (name.trim(), Some(unquote(value.trim()))),
            None => (item.trim(), None),
        };
        // `Bearer realm` begins a challenge, `service` continues it, and `Basic` alone begins another.
        let (scheme, name) = match (before_value.split_once(' '), &value) {
            (Some((scheme, name)), _) => (Some(scheme), name.trim()),
            (None, Some(_)) => (None, before_value),
            (None, None) => (Some(before_value), ""),
        };
        if let Some(scheme) = scheme {
            challenges.push((scheme.to_ascii_lowercase(), Vec::new()));
        }
        if let (Some((_, parameters)), Some(value)) = (challenges.last_mut(), value) {
            parameters.push((name.to_ascii_lowercase(), value));
        }
    }
    challenges.into_iter().filter_map(|(scheme, parameters)| known(&scheme, &parameters)).collect()
}

fn known(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let value = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: value("realm")?,
            service: value("service"),
            scopes: value("scope").unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect(),
        }),
        _ => None,
    }
}

/// The text up to the next comma outside of quotes, and the text after it.
fn next_item(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let (mut quoted, mut escaped) = (false, false);
    let end = text.char_indices().find(|&(_, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return true,
            _ => {}
        }
        false
    });
    match end {
        _ if text.is_empty() => None,
        Some((comma, _)) => Some((&text[..comma], &text[comma + 1..])),
        None => Some((text, "")),
    }
}

fn unquote(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else { return value.to_owned() };
    let quoted = quoted.strip_suffix('"').unwrap_or(quoted);
    let (mut text, mut escaped) = (String::with_capacity(quoted.len()), false);
    for c in quoted.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            text.push(c);
            escaped = false;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Option<Challenge> {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        Some(Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned), scopes })
    }

    #[test]
    fn challenges_of_real_registries_are_parsed() {
        for (headers, challenge) in [
            (
                &[
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="insufficient_scope""#,
                ][..],
                bearer("https://auth.docker.io/token", Some("registry.docker.io"), &["repository:a/b:pull,push"]),
            ),
            (
                &[r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a:pull""#],
                bearer("https://ghcr.io/token", Some("ghcr.io"), &["repository:a:pull"]),
            ),
            (&[r#"bearer service=x , realm = "https://a/t""#], bearer("https://a/t", Some("x"), &[])),
            (
                &[r#"Bearer realm="https://a/t",scope="repository:a:pull  repository:b:pull""#],
                bearer("https://a/t", None, &["repository:a:pull", "repository:b:pull"]),
            ),
            (&[r#"Bearer realm="https://a/t?x=\"y\",z""#], bearer(r#"https://a/t?x="y",z"#, None, &[])),
            (&[r#"Basic realm="Registry Realm""#], Some(Challenge::Basic)),
            (&["Basic"], Some(Challenge::Basic)),
            (&[r#"Basic realm="a, b", Bearer realm="https://a/t",service="s""#], bearer("https://a/t", Some("s"), &[])),
            (&[r#"Basic realm="r""#, r#"Bearer realm="https://a/t""#], bearer("https://a/t", None, &[])),
            (&[r#"Negotiate, Basic realm="r""#], Some(Challenge::Basic)),
            (&[r#"Bearer service="no realm""#], None),
            (&["Digest realm=\"r\""], None),
            (&["", ",,", "=", "\"", "Bearer realm"], None),
        ] {
            assert_eq!(Challenge::choose(headers.iter().copied()), challenge, "{headers:?}");
        }
    }
}
