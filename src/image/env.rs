//! Environment variables of images, `Env` of a [config](https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md).

/// Why `name` can't be that of a variable; `None` if it can be. POSIX asks for letters, digits and `_`; engines take more, as
/// `npm_config_@acme:registry`, so this refuses only what would be read as something else.
#[must_use]
pub fn wrong_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        _ if name.contains('=') => Some("it has an equals sign"),
        _ if name.contains(char::is_whitespace) => Some("it has a blank"),
        _ if name.contains(char::is_control) => Some("it has a control character"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::wrong_name;

    #[test]
    fn only_names_that_would_be_read_as_something_else_are_wrong() {
        for good in ["PATH", "a.b-c", "npm_config_@acme:registry", "1", "É"] {
            assert_eq!(wrong_name(good), None, "{good}");
        }
        for bad in ["", "A B", "A=B", "=", "A\tB", "A\nB", "A\u{0}", " A", "A\u{a0}B"] {
            assert!(wrong_name(bad).is_some(), "{bad:?}");
        }
    }
}
