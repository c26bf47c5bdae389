//! The [scopes](https://distribution.github.io/distribution/spec/auth/scope/) of tokens: `repository:acme/tool:pull,push`.

use super::challenge::Challenge;

/// The scopes that a token is requested with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scopes {
    /// The scopes that a request needs, in our words.
    ours: Vec<String>,
    /// Further scopes from challenges: proxies know a repository by another name.
    theirs: Vec<String>,
    /// Whether only the challenges' scopes are requested. Some token servers don't merge scopes, or refuse all if they
    /// refuse one.
    only_theirs: bool,
}

impl Scopes {
    pub(super) fn new(ours: Vec<String>) -> Self {
        Self { ours, ..Self::default() }
    }

    /// The scopes to request, one for each resource.
    pub(super) fn asked(&self) -> Vec<String> {
        if self.only_theirs {
            return merged(self.theirs.iter());
        }
        merged(self.ours.iter().chain(&self.theirs))
    }

    /// The scopes to request after a challenge; `None` if another request is pointless, because a fresh token with
    /// these scopes was refused.
    pub(super) fn after(&self, challenge: &Challenge, fresh: bool) -> Option<Self> {
        let Challenge::Bearer { scopes, .. } = challenge else { return None };
        let theirs = merged(self.theirs.iter().chain(scopes));
        let more = Self { theirs, ..self.clone() };
        if more.asked() != self.asked() {
            return Some(more);
        }
        if fresh { self.without_ours() } else { Some(self.clone()) }
    }

    /// The scopes without our own, if that makes a difference.
    pub(super) fn without_ours(&self) -> Option<Self> {
        let only_theirs = Self { only_theirs: true, ..self.clone() };
        let is_new = !self.only_theirs && self.beyond_ours() && only_theirs.asked() != self.asked();
        is_new.then_some(only_theirs)
    }

    /// Whether challenges have named anything that we didn't ask for.
    fn beyond_ours(&self) -> bool {
        merged(self.ours.iter().chain(&self.theirs)) != merged(self.ours.iter())
    }
}

/// One scope for each resource, with all of its actions. Scopes in another form (Gitea's challenges contain `*`) are
/// dropped.
fn merged<'a>(scopes: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut resources: Vec<(&str, Vec<&str>)> = Vec::new();
    for scope in scopes {
        // A name may contain colons itself: `host:5000/name`.
        let Some((resource, actions)) = scope.rsplit_once(':') else { continue };
        let at = resources.iter().position(|(known, _)| *known == resource).unwrap_or_else(|| {
            resources.push((resource, Vec::new()));
            resources.len() - 1
        });
        for action in actions.split(',').filter(|action| !action.is_empty()) {
            if !resources[at].1.contains(&action) {
                resources[at].1.push(action);
            }
        }
    }
    resources.into_iter().map(|(resource, actions)| format!("{resource}:{}", actions.join(","))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(scope: &str) -> Challenge {
        let scopes = scope.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        Challenge::Bearer { realm: String::new(), service: None, scopes }
    }

    #[test]
    fn the_scope_of_a_challenge_is_requested_together_with_ours_and_then_alone() {
        let ours = Scopes::new(vec!["repository:base/alpine:pull".into()]);
        let named = challenge("repository:library/base/alpine:pull");
        let both = ours.after(&named, false).unwrap();
        assert_eq!(both.asked(), ["repository:base/alpine:pull", "repository:library/base/alpine:pull"]);
        assert_eq!(ours.after(&named, true).unwrap(), both, "a fresh token had another scope");
        assert_eq!(both.after(&named, false).unwrap(), both, "an old token may have expired");
        let alone = both.after(&named, true).unwrap();
        assert_eq!(alone.asked(), ["repository:library/base/alpine:pull"]);
        assert_eq!(alone.after(&named, true), None);
    }

    #[test]
    fn a_challenge_with_the_scopes_that_we_requested_changes_nothing() {
        let ours = Scopes::new(vec!["repository:a:pull,push".into()]);
        for scope in ["repository:a:pull,push", "repository:a:push,pull", "repository:a:pull", "*", ""] {
            assert_eq!(ours.after(&challenge(scope), true), None, "{scope}");
            assert_eq!(ours.after(&challenge(scope), false).unwrap().asked(), ["repository:a:pull,push"], "{scope}");
        }
        assert_eq!(ours.after(&Challenge::Basic, false), None);
    }

    #[test]
    fn actions_on_one_resource_are_merged_into_one_scope() {
        let ours = Scopes::new(vec!["repository:a:pull".into()]);
        let more = ours.after(&challenge("repository:a:pull,delete"), true).unwrap();
        assert_eq!(more.asked(), ["repository:a:pull,delete"]);
        // Azure's registry asks for it for lists of tags.
        let more = ours.after(&challenge("repository:a:metadata_read"), true).unwrap();
        assert_eq!(more.asked(), ["repository:a:pull,metadata_read"]);
        let ported = Scopes::new(vec!["repository:host:5000/a:pull".into(), "repository:host:5000/a:push".into()]);
        assert_eq!(ported.asked(), ["repository:host:5000/a:pull,push"]);
    }
}
