//! The syntax of the input and the key `source`: an image in a registry, an OCI layout, or files for each platform.

use crate::action::inputs::list;
use crate::hint::Flaw;
use crate::image::layout::LAYOUT;
use crate::image::platform::NotLinux;
use crate::image::reference::InvalidName;
use crate::image::source::{FILES, SourceFile};
use crate::image::{Platform, SourceName};
use crate::version::Version;

use super::template::{InvalidTemplate, Template};

/// File name extensions of archives. A path that ends with one, without a path in the archive, is incomplete.
const ARCHIVES: [&str; 6] = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst", ".zip"];

/// A source as it was written, with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenSource {
    /// An image in a registry or in a layout.
    Named(Template),
    /// Files to make an image of.
    Files(Vec<WrittenFile>),
}

/// A line of the form `linux/amd64=dist/tool -> /tool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenFile {
    platform: Platform,
    path: Template,
    entry: Option<Template>,
    to: Option<String>,
}

impl WrittenSource {
    /// Parses the text of the input or the key.
    ///
    /// # Errors
    /// All problems of the text.
    pub fn read(text: &str) -> Result<Self, Vec<Flaw>> {
        let mut lines = list::lines(text);
        let first = lines.next().unwrap_or_default();
        let rest: Vec<&str> = lines.collect();
        if first == FILES {
            return files(&rest);
        }
        if file_of(first).is_some() {
            let hint = format!("write `{FILES}` on a line before it");
            return Err(vec![Flaw::new(format!("`{first}` is a line of files"), hint)]);
        }
        if !rest.is_empty() {
            let situation = format!("expected the name of one image, found {} lines", rest.len() + 1);
            let hint = format!(
                "name an image, or write `{FILES}` and then a line for each file, such as `linux/amd64=dist/tool`"
            );
            return Err(vec![Flaw::new(situation, hint)]);
        }
        template(first).map(Self::Named).map_err(|problem| vec![problem])
    }

    /// The source for `version`. An image in a registry without a tag gets the version as its tag.
    ///
    /// # Errors
    /// The version lacks what a placeholder asks for, or the result isn't a valid name.
    pub fn fill(&self, version: &Version) -> Result<SourceName, Flaw> {
        let fill = |template: &Template| -> Result<String, Flaw> {
            template
                .render(version, "")
                .ok_or_else(|| format!("`{template}` can't be filled for version `{version}`").into())
        };
        match self {
            Self::Named(template) => {
                let mut text = fill(template)?;
                // `latest` may name another version by now.
                let has_tag = text.contains('@') || text.rsplit('/').next().is_some_and(|name| name.contains(':'));
                if !text.starts_with(LAYOUT) && !has_tag {
                    text = format!("{text}:{}", version.tag_text());
                }
                text.parse().map_err(|invalid: InvalidName| Flaw::of(&invalid))
            }
            Self::Files(written) => {
                let mut files = Vec::<SourceFile>::new();
                for file in written {
                    let (path, entry) = (fill(&file.path)?, file.entry.as_ref().map(&fill).transpose()?);
                    let name = entry.as_ref().unwrap_or(&path).rsplit('/').next().unwrap_or_default().to_owned();
                    let to = match &file.to {
                        None => format!("/{name}"),
                        Some(folder) if folder.ends_with('/') => format!("{folder}{name}"),
                        Some(to) => to.clone(),
                    };
                    if entry.is_none() && ARCHIVES.iter().any(|suffix| path.ends_with(suffix)) {
                        let hint = format!("name the file in it, such as `{}={path}!tool`", file.platform);
                        return Err(Flaw::new(format!("`{path}` is an archive"), hint));
                    }
                    if !to.starts_with('/') || to.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
                        let situation = format!("`{to}` is not the absolute path of a file");
                        return Err(Flaw::new(situation, "write it as in `-> /tool`"));
                    }
                    if files.iter().any(|other| other.platform == file.platform && other.to == to) {
                        let situation = format!("two files for `{}` would both become `{to}`", file.platform);
                        return Err(Flaw::new(situation, "give one of them another name with `->`"));
                    }
                    files.push(SourceFile { platform: file.platform.clone(), path, entry, to });
                }
                Ok(SourceName::Files(files))
            }
        }
    }
}

fn files(lines: &[&str]) -> Result<WrittenSource, Vec<Flaw>> {
    if lines.is_empty() {
        let situation = format!("`{FILES}` is not followed by files");
        return Err(vec![Flaw::new(situation, "write a line for each, such as `linux/amd64=dist/x86_64/tool`")]);
    }
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for line in lines {
        match file(line) {
            Ok(file) => files.push(file),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(WrittenSource::Files(files)) } else { Err(problems) }
}

fn file(line: &str) -> Result<WrittenFile, Flaw> {
    let wrong = || {
        let hint = "write `linux/amd64=dist/tool`, or `linux/amd64=tool.tar.gz!tool` for one in an archive";
        Flaw::new(format!("`{line}` is not a file for a platform"), hint)
    };
    let (platform, rest) = file_of(line).ok_or_else(wrong)?;
    if !platform.is_linux() {
        return Err(Flaw::of(&NotLinux(platform)));
    }
    let (from, to) = match rest.split_once("->") {
        Some((from, to)) => (from.trim(), Some(to.trim())),
        None => (rest.trim(), None),
    };
    let (path, entry) = match from.split_once('!') {
        Some((path, entry)) => (path, Some(entry.trim_start_matches("./").trim_start_matches('/'))),
        None => (from, None),
    };
    if path.is_empty() || entry.is_some_and(str::is_empty) || to.is_some_and(str::is_empty) {
        return Err(wrong());
    }
    Ok(WrittenFile {
        platform,
        path: template(path)?,
        entry: entry.map(template).transpose()?,
        to: to.map(str::to_owned),
    })
}

/// The platform at the beginning of a line of files, and the rest of the line.
fn file_of(line: &str) -> Option<(Platform, &str)> {
    let (platform, rest) = line.split_once('=')?;
    Some((platform.trim().parse().ok()?, rest))
}

fn template(text: &str) -> Result<Template, Flaw> {
    let template = text.parse::<Template>().map_err(|invalid: InvalidTemplate| Flaw::of(&invalid))?;
    if template.has_tag() {
        return Err(format!("`{text}` has `{{tag}}`, which only variants have").into());
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hinted as _;
    use crate::version::Scheme;

    fn filled(text: &str) -> Result<String, String> {
        let version = Version::parse("1.2.3", Scheme::Auto).unwrap();
        let said = |flaw: &Flaw| flaw.with_hints();
        let written =
            WrittenSource::read(text).map_err(|flaws| flaws.iter().map(said).collect::<Vec<_>>().join("\n"))?;
        let source = written.fill(&version).map_err(|flaw| said(&flaw))?;
        Ok(match source {
            SourceName::Files(files) => files.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            other => other.to_string(),
        })
    }

    #[test]
    fn a_source_is_an_image_a_layout_or_files() {
        for (text, expected) in [
            ("ghcr.io/acme/tool", "ghcr.io/acme/tool:1.2.3"),
            ("localhost:5000/tool", "localhost:5000/tool:1.2.3"),
            ("ghcr.io/acme/tool:{major}.{minor}", "ghcr.io/acme/tool:1.2"),
            ("oci:dist/tool-{version}.tar", "oci:dist/tool-1.2.3.tar"),
            ("oci:dist:{version}", "oci:dist:1.2.3"),
            ("files\nlinux/amd64 = dist/x/tool\n", "linux/amd64=dist/x/tool -> /tool"),
            (
                "# made before\nfiles\nlinux/arm64=t.tar.gz!./tool-{version}/tool\nlinux/x86_64=t-amd64 -> /tool\nlinux/arm64=LICENSE->/doc/",
                "linux/arm64=t.tar.gz!tool-1.2.3/tool -> /tool\nlinux/amd64=t-amd64 -> /tool\nlinux/arm64=LICENSE -> /doc/LICENSE",
            ),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("files", "is not followed by files"),
            ("linux/amd64=tool", "write `files` on a line before it"),
            ("a/b:1\nc/d:1", "found 2 lines"),
            ("a/b:{tag}", "only variants have"),
            ("a/b:{python}", "unknown placeholder"),
            ("files\ntool", "`tool` is not a file for a platform"),
            ("files\nlinux/amd64=x!", "is not a file for a platform"),
            ("files\nwindows/amd64=tool.exe", "is not a Linux platform"),
            ("files\nlinux/amd64=tool.tar.gz", "is an archive\nhint: name the file in it"),
            ("files\nlinux/amd64=tool -> tool", "not the absolute path"),
            ("files\nlinux/amd64=tool -> /a/../b", "not the absolute path"),
            ("files\nlinux/amd64=a/tool\nlinux/amd64=b/tool", "would both become `/tool`"),
            ("oci:", "does not name an OCI layout"),
            ("A/b:1", "is not a valid repository"),
        ] {
            let problem = filled(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
