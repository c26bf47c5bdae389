//! The sections of `docs/troubleshooting.md`, to which every error leads.

/// The page's address. The tag `v1` moves with the releases.
const PAGE: &str = "https://github.com/astral-sh/publish-variants/blob/v1/docs/troubleshooting.md";

macro_rules! topics {
    ($($(#[doc = $doc:literal])* $name:ident => $anchor:literal,)*) => {
        /// A kind of error, with a section of the page about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Topic {
            $($(#[doc = $doc])* $name,)*
        }

        impl Topic {
            /// All of them, in the order of the page.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The anchor of its section.
            #[must_use]
            pub fn anchor(self) -> &'static str {
                match self {
                    $(Self::$name => $anchor,)*
                }
            }
        }
    };
}

topics! {
    /// An input's value.
    Inputs => "an-input-cant-be-used",
    /// The version, in the input or the event.
    Version => "the-version-is-missing-or-isnt-one",
    /// Lines of `credentials`.
    Credentials => "a-line-of-credentials-cant-be-used",
    /// A password that would be published.
    Secret => "a-password-would-be-published",
    /// The matrix, the record of images or the workflow.
    Matrix => "the-matrix-cant-be-used",
    /// The release, its tag or its commit.
    Release => "the-release-its-tag-or-its-commit-isnt-found",
    /// The permissions of the token.
    Token => "github-refuses-the-token",
    /// GitHub's API.
    GitHub => "github-doesnt-answer",
    /// The git work tree.
    WorkTree => "the-git-work-tree-cant-be-read",
    /// A source, base or image that a registry doesn't have.
    NotFound => "an-image-doesnt-exist",
    /// Platforms of source, base and variant.
    Platforms => "a-platform-is-missing",
    /// An image that, in its form, can't be built on or copied.
    Unusable => "an-image-cant-be-used",
    /// The executables that are taken from the source.
    Executables => "an-executable-is-missing-or-wouldnt-run",
    /// Files and layouts of the workspace.
    Files => "a-file-or-a-layout-of-the-workspace-cant-be-used",
    /// Disk space, on this machine or the engine's.
    Disk => "the-disk-is-full-or-cant-be-written",
    /// The engine can't be used.
    Engine => "no-docker-engine-can-be-used",
    /// The engine fails at something.
    EngineFailed => "the-docker-engine-fails",
    /// Folders of bases.
    Folder => "a-folder-in-the-base-is-a-link",
    /// The engine's image differs from the composed one.
    Mismatch => "the-engine-built-something-else",
    /// A command of `verify` that fails.
    Verify => "a-check-of-a-variant-fails",
    /// 401, 403, or no such repository.
    Refused => "a-registry-refuses",
    /// TLS and certificates.
    Tls => "a-registry-without-tls-or-with-an-unknown-certificate",
    /// The network.
    Unreachable => "a-registry-cant-be-reached",
    /// Errors of the registry itself.
    Registry => "a-registry-fails",
    /// `on-conflict: fail`.
    Conflicts => "an-exact-tag-is-taken",
    /// Rolling tags that would show fewer platforms.
    LostPlatforms => "a-rolling-tag-would-lose-platforms",
    /// Tags that couldn't be written.
    Tags => "some-tags-couldnt-be-written",
    /// Several runs at once.
    Contended => "other-runs-move-the-same-tags",
    /// The release notes.
    Notes => "the-release-notes-cant-be-written",
    /// The runner's files.
    Runner => "a-file-of-the-runner-cant-be-written",
    /// A signal.
    Stopped => "the-run-was-stopped",
}

impl Topic {
    /// The address of its section.
    #[must_use]
    pub fn link(self) -> String {
        format!("{PAGE}#{}", self.anchor())
    }
}
