//! Values that must not be shown.

use std::fmt;
use std::sync::Arc;

/// A password or token. `Debug` never shows it; only [`Secret::expose`] does.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the value; `None` if it is empty, as GitHub passes a secret that isn't set.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Option<Self> {
        let value = value.into();
        (!value.is_empty()).then_some(Self(value))
    }

    /// The value, for the code that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Gets secrets that turn up during a run before they are used, so that they can be masked.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(&Secret) + Send + Sync>);

impl Listener {
    /// Calls `hear` for each secret.
    #[must_use]
    pub fn new(hear: impl Fn(&Secret) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Passes `secret` on.
    pub fn tell(&self, secret: &Secret) {
        (self.0)(secret);
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_value() {
        let secret = Secret::new("hunter2").unwrap();
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn an_unset_secret_is_none() {
        assert_eq!(Secret::new(""), None);
    }
}
