//! The known platforms: the values of Go's `GOOS` and `GOARCH`, which the [image
//! index](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md) refers to, and the variants of
//! architectures that the specification or containerd names. The common ones come first.

use super::Platform;

const SYSTEMS: [&str; 14] = [
    "linux",
    "windows",
    "freebsd",
    "darwin",
    "aix",
    "android",
    "dragonfly",
    "illumos",
    "ios",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
];

/// Architectures with their variants.
const ARCHITECTURES: [(&str, &[&str]); 15] = [
    ("amd64", &["v2", "v3", "v4"]),
    (
        "arm64",
        &[
            "v9", "v8.1", "v8.2", "v8.3", "v8.4", "v8.5", "v8.6", "v8.7", "v8.8", "v8.9", "v9.1", "v9.2", "v9.3",
            "v9.4", "v9.5",
        ],
    ),
    ("arm", &["v7", "v6", "v5", "v8"]),
    ("386", &["sse2", "softfloat"]),
    ("ppc64le", &["power8", "power9", "power10"]),
    ("s390x", &[]),
    ("riscv64", &["rva20u64", "rva22u64", "rva23u64"]),
    ("loong64", &[]),
    ("mips64le", &["hardfloat", "softfloat"]),
    ("mips64", &["hardfloat", "softfloat"]),
    ("mipsle", &["hardfloat", "softfloat"]),
    ("mips", &["hardfloat", "softfloat"]),
    ("ppc64", &["power8", "power9", "power10"]),
    ("wasm", &[]),
    ("sparc64", &[]),
];

/// Other names of architectures (in Debian, GNU, Rust, Docker Hub's old repositories) that [`Platform::new`] doesn't
/// know.
const ALIASES: [(&str, &str, Option<&str>); 20] = [
    ("x64", "amd64", None),
    ("intel64", "amd64", None),
    ("x86", "386", None),
    ("ia32", "386", None),
    ("i486", "386", None),
    ("i586", "386", None),
    ("arm64v8", "arm64", None),
    ("arm64e", "arm64", None),
    ("armv8", "arm64", None),
    ("armv8l", "arm64", None),
    ("arm32v7", "arm", Some("v7")),
    ("armv7", "arm", Some("v7")),
    ("armv7l", "arm", Some("v7")),
    ("arm32v6", "arm", Some("v6")),
    ("armv6", "arm", Some("v6")),
    ("armv6l", "arm", Some("v6")),
    ("ppc64el", "ppc64le", None),
    ("powerpc64le", "ppc64le", None),
    ("riscv", "riscv64", None),
    ("loongarch64", "loong64", None),
];

/// The nearest of `known` with an edit distance of at most two, and of at most a third of the word's length.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.len() / 3).min(2);
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(word, known), known));
    distances.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

impl Platform {
    /// Whether all its names are known. An unknown name may be newer than this program.
    #[must_use]
    pub fn is_known(&self) -> bool {
        SYSTEMS.contains(&self.os())
            && ARCHITECTURES.iter().any(|(architecture, variants)| {
                *architecture == self.architecture() && self.variant().is_none_or(|variant| variants.contains(&variant))
            })
    }

    /// The known platform that was probably meant: under another name, or misspelt by a letter or two.
    #[must_use]
    pub fn nearest(&self) -> Option<Self> {
        let os = nearest(self.os(), SYSTEMS)?;
        let alias = ALIASES.iter().find(|(alias, ..)| *alias == self.architecture());
        let (architecture, implied) = match alias {
            Some((_, architecture, variant)) => (*architecture, *variant),
            None => (nearest(self.architecture(), ARCHITECTURES.map(|(architecture, _)| architecture))?, None),
        };
        Some(Self::new(os, architecture, self.variant().or(implied))).filter(Self::is_known)
    }

    /// All known platforms: `linux/amd64`, `linux/arm64`, …
    pub fn known() -> impl Iterator<Item = String> {
        SYSTEMS.into_iter().flat_map(|os| {
            ARCHITECTURES.into_iter().flat_map(move |(architecture, variants)| {
                let with_variant = variants.iter().map(move |variant| format!("{os}/{architecture}/{variant}"));
                std::iter::once(format!("{os}/{architecture}")).chain(with_variant)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_known_in_every_spelling() {
        for text in Platform::known() {
            assert!(text.parse::<Platform>().unwrap().is_known(), "{text}");
        }
        for text in [
            "linux/x86_64",
            "linux/aarch64",
            "linux/arm64/v8",
            "linux/arm",
            "linux/armhf",
            "Linux/i386",
            "windows/amd64",
        ] {
            assert!(text.parse::<Platform>().unwrap().is_known(), "{text}");
        }
        for (text, meant) in [
            ("linux/arm46", Some("linux/arm64")),
            ("linux/amd65", Some("linux/amd64")),
            ("linus/amd64", Some("linux/amd64")),
            ("linux/rsicv64", Some("linux/riscv64")),
            ("linux/s390", Some("linux/s390x")),
            ("linux/x64", Some("linux/amd64")),
            ("linux/x86", Some("linux/386")),
            ("linux/armv7l", Some("linux/arm/v7")),
            ("linux/arm64v8", Some("linux/arm64")),
            ("linux/ppc64el", Some("linux/ppc64le")),
            ("linux/quantum", None),
            ("linux/arm/v9", None),
            ("linux/amd64/v5", None),
            ("linux/z80", None),
            ("temple/amd64", None),
        ] {
            let nearest = text.parse::<Platform>().unwrap().nearest();
            assert_eq!(nearest.map(|nearest| nearest.to_string()).as_deref(), meant, "{text}");
        }
        for text in ["linux/arm46", "linux/amd65", "linus/amd64", "linux/arm/v9", "linux/amd64/v5", "linux/s390"] {
            assert!(!text.parse::<Platform>().unwrap().is_known(), "{text}");
        }
    }
}
