//! Platforms, as the [image index](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md) names them.

mod known;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hint::{Hinted, Hints, Input};
use crate::quote::quoted;

/// An operating system, an architecture and sometimes a variant of the architecture: `linux/arm/v7`.
///
/// Names are normalised in the same way as in containerd (`x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is
/// `arm/v7`), so that equal platforms are equal values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// A text that isn't `os/architecture[/variant]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a platform", quoted(.0))]
pub struct InvalidPlatform(String);

impl Hinted for InvalidPlatform {
    fn hints(&self) -> Hints {
        "a platform looks like `linux/amd64` or `linux/arm/v7`".into()
    }
}

/// A platform that variants can't have: `/usr/local/bin` exists only on Linux.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Linux platform, and variants are for Linux")]
pub struct NotLinux(pub Platform);

impl Hinted for NotLinux {
    fn hints(&self) -> Hints {
        format!("remove it from {}", Input("platforms")).into()
    }
}

/// The fields of an [ELF header](https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html) that identify a
/// platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElfIdentity {
    /// The field `e_machine`.
    pub machine: u16,
    /// The word size: 32 or 64.
    pub bits: u8,
    /// Whether the header is little-endian.
    pub little_endian: bool,
}

impl ElfIdentity {
    /// Reads the identity from the first 20 bytes of a file; `None` if it isn't an ELF file.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        let head = head.get(..20)?;
        if &head[..4] != b"\x7fELF" {
            return None;
        }
        let bits = match head[4] {
            1 => 32,
            2 => 64,
            _ => return None,
        };
        let little_endian = head[5] == 1;
        let machine = [head[18], head[19]];
        let machine = if little_endian { u16::from_le_bytes(machine) } else { u16::from_be_bytes(machine) };
        Some(Self { machine, bits, little_endian })
    }
}

/// The ELF headers by architecture: machine, bits, and whether they are little-endian.
const ELF: [(&str, u16, u8, bool); 14] = [
    ("386", 3, 32, true),
    ("amd64", 62, 64, true),
    ("arm", 40, 32, true),
    ("arm64", 183, 64, true),
    ("loong64", 258, 64, true),
    ("mips", 8, 32, false),
    ("mips64", 8, 64, false),
    ("mips64le", 8, 64, true),
    ("mipsle", 8, 32, true),
    ("ppc64", 21, 64, false),
    ("ppc64le", 21, 64, true),
    ("riscv64", 243, 64, true),
    ("s390x", 22, 64, false),
    ("sparc64", 43, 64, false),
];

impl fmt::Display for ElfIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "machine {}", self.machine)?;
        if let Some((name, ..)) = ELF.iter().find(|(_, machine, bits, little)| {
            (*machine, *bits, *little) == (self.machine, self.bits, self.little_endian)
        }) {
            write!(f, " ({name})")?;
        }
        write!(f, ", {} bits, {}-endian", self.bits, if self.little_endian { "little" } else { "big" })
    }
}

/// The format of a file, judged by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A Linux executable or library.
    Elf(ElfIdentity),
    /// A file that names its interpreter after `#!`.
    Script,
    /// Something that Linux can't execute, and its name in errors.
    Other(&'static str),
}

impl Format {
    /// How many bytes [`Format::of`] needs.
    pub const HEAD: u64 = 20;

    /// Recognises the format by the first bytes of a file.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        if let Some(identity) = ElfIdentity::of(head) {
            return Self::Elf(identity);
        }
        match head {
            [] => Self::Other("an empty file"),
            [b'#', b'!', ..] => Self::Script,
            [b'M', b'Z', ..] => Self::Other("a Windows executable"),
            [0xcf, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => Self::Other("a macOS executable"),
            _ => Self::Other("neither an ELF file nor a script"),
        }
    }
}

impl Platform {
    /// The platform made of the given parts, normalised.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = os.to_ascii_lowercase();
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), None),
            "i386" | "i686" => ("386".to_owned(), None),
            "aarch64" => ("arm64".to_owned(), None),
            "armhf" | "arm" => ("arm".to_owned(), Some("v7")),
            "armel" => ("arm".to_owned(), Some("v6")),
            other => (other.to_owned(), None),
        };
        let variant = variant.filter(|v| !v.is_empty()).or(implied).map(str::to_ascii_lowercase);
        let redundant = match architecture.as_str() {
            "arm64" => Some("v8"),
            "amd64" => Some("v1"),
            _ => None,
        };
        let variant = variant.filter(|v| Some(v.as_str()) != redundant).map(|v| match v.parse::<u8>() {
            Ok(number) if architecture.starts_with("arm") => format!("v{number}"),
            _ => v,
        });
        Self { os, architecture, variant }
    }

    /// The operating system, a value of `GOOS`: `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture, a value of `GOARCH`: `amd64`, `arm64`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant of the architecture: `v7`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether the operating system is Linux, as it must be for variants.
    #[must_use]
    pub fn is_linux(&self) -> bool {
        self.os == "linux"
    }

    /// Whether this names a platform. `unknown/unknown`, which BuildKit gives attestations in an index, doesn't.
    #[must_use]
    pub fn is_specified(&self) -> bool {
        [&self.os, &self.architecture].iter().all(|part| !part.is_empty() && *part != "unknown")
    }

    /// The ELF header of an executable for this platform; `None` if it isn't known.
    #[must_use]
    pub fn elf(&self) -> Option<ElfIdentity> {
        let (_, machine, bits, little_endian) =
            *ELF.iter().find(|(architecture, ..)| *architecture == self.architecture)?;
        Some(ElfIdentity { machine, bits, little_endian })
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let word =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !parts.iter().all(word) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        match parts[..] {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(InvalidPlatform(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl TryFrom<String> for Platform {
    type Error = InvalidPlatform;

    fn try_from(text: String) -> Result<Self, InvalidPlatform> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalised_and_round_trip() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AARCH64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            let platform: Platform = text.parse().unwrap();
            assert_eq!(platform.to_string(), normal);
            assert_eq!(normal.parse::<Platform>().unwrap(), platform);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_elf_header_of_this_test_is_that_of_its_platform() {
        let head = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let here = Platform::new(std::env::consts::OS, std::env::consts::ARCH, None);
        assert_eq!(ElfIdentity::of(&head), here.elf());
        assert_eq!(ElfIdentity::of(b"#!/bin/sh\nexec true\n"), None);
        assert_eq!(Format::of(b"#!"), Format::Script);
    }
}
