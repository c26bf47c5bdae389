//! The input and key `binaries`: which files of the source go into a variant, and where they go.

use std::collections::BTreeSet;
use std::fmt;

use super::recipe::DESTINATION;
use crate::hint::Flaw;

/// Targets can't be below these: every container mounts its own.
const OF_THE_KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// A file of the source and where it goes: `/uv`, or `/completions/_uv -> /usr/share/zsh/site-functions/_uv`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binary {
    from: String,
    to: String,
}

/// All files of a variant that come from the source, in the order in which they are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binaries(Vec<Binary>);

impl Binary {
    /// The absolute path of the file in the source.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }

    /// The absolute path of the file in the variant.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.to
    }

    /// The folder of the file in the variant: `/usr/local/bin`.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.to.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The name of the file in the variant.
    #[must_use]
    pub fn name(&self) -> &str {
        name(&self.to)
    }

    /// Whether the file goes to a folder `bin` or `sbin`, and so must be executable.
    #[must_use]
    pub fn must_be_executable(&self) -> bool {
        matches!(name(self.folder()), "bin" | "sbin")
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.to == format!("{DESTINATION}/{}", name(&self.from)) {
            return f.write_str(&self.from);
        }
        write!(f, "{} -> {}", self.from, self.to)
    }
}

impl Binaries {
    /// Adds the paths in `text`, which are separated by blanks, commas or line breaks; each may be followed by `->` and
    /// a target. What is wrong is added to `problems`.
    pub fn add(&mut self, text: &str, problems: &mut Vec<Flaw>) {
        let text = text.replace("->", " -> ");
        let mut words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()).peekable();
        while let Some(from) = words.next() {
            let to = match words.next_if_eq(&"->") {
                Some(_) => match words.next() {
                    Some(to) if from != "->" && to != "->" => Some(to),
                    _ => {
                        problems.push(Flaw::new("`->` stands between two paths", "write `/tool -> /bin/tool`"));
                        continue;
                    }
                },
                None => None,
            };
            self.add_one(from, to, problems);
        }
    }

    fn add_one(&mut self, from: &str, to: Option<&str>, problems: &mut Vec<Flaw>) {
        let to = match to {
            None => format!("{DESTINATION}/{}", name(from)),
            // As for `COPY`: into this folder, under the same name.
            Some(folder) if folder.ends_with('/') => format!("{folder}{}", name(from)),
            Some(to) => to.to_owned(),
        };
        // Kept even if it is invalid, so that it isn't reported as missing as well.
        self.0.push(Binary { from: from.to_owned(), to: to.clone() });
        if let Some(path) = [from, &to].into_iter().find(|path| !is_plain(path)) {
            let hint = format!("write `/{}`", path.trim_matches(['/', '.', '\'', '"']));
            problems.push(Flaw::new(format!("`{path}` is not the absolute path of a file"), hint));
            return;
        }
        if OF_THE_KERNEL.iter().any(|folder| is_below(&to, folder)) {
            let situation = format!("`{to}` can't be in an image: containers have a file system of their own there");
            problems.push(Flaw::new(situation, "choose another folder"));
        }
        if to.split('/').any(|part| part.starts_with(".wh.")) {
            let situation = format!("`{to}` has a name that means a deletion in a layer");
            problems.push(Flaw::new(situation, "choose another one"));
        }
        let (_, others) = self.0.split_last().expect("it was pushed");
        for other in others.iter().filter(|other| is_plain(&other.from) && is_plain(&other.to)) {
            let (first, second) = (&other.from, from);
            if other.to == to {
                let situation = format!("`{first}` and `{second}` would both become `{to}`");
                problems.push(Flaw::new(situation, "keep one of them"));
            } else if is_below(&to, &other.to) || is_below(&other.to, &to) {
                let situation = format!("`{}` and `{to}` can't both exist", other.to);
                problems.push(Flaw::new(situation, "one of them would be a folder and a file"));
            }
        }
    }

    /// The files in the order in which they are listed.
    pub fn iter(&self) -> impl Iterator<Item = &Binary> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The target of the first executable, which a variant runs by default.
    #[must_use]
    pub fn first_executable(&self) -> &str {
        self.iter().find(|binary| binary.must_be_executable()).or(self.0.first()).map_or("", Binary::to)
    }

    /// The folders that files go to, each with its files, in the order of their first files.
    #[must_use]
    pub fn by_folder(&self) -> Vec<(&str, Vec<&Binary>)> {
        let mut folders: Vec<(&str, Vec<&Binary>)> = Vec::new();
        for binary in &self.0 {
            match folders.iter_mut().find(|(folder, _)| *folder == binary.folder()) {
                Some((_, binaries)) => binaries.push(binary),
                None => folders.push((binary.folder(), vec![binary])),
            }
        }
        folders
    }

    /// Every folder on the way to the files, outermost first: `/usr`, `/usr/local`, `/usr/local/bin`. Each must be a
    /// folder in the base, or absent: if `/bin` is a link there, a layer with `bin/tool` would replace the link.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        let above = |binary: &'_ Binary| {
            binary.to.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0).collect::<Vec<_>>()
        };
        let folders: BTreeSet<&str> =
            self.0.iter().flat_map(|binary| above(binary).into_iter().map(|end| &binary.to[..end])).collect();
        folders.into_iter()
    }
}

impl<'a> FromIterator<&'a str> for Binaries {
    /// For texts that are known to be valid.
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let (mut binaries, mut problems) = (Self::default(), Vec::new());
        texts.into_iter().for_each(|text| binaries.add(text, &mut problems));
        debug_assert!(problems.is_empty(), "{problems:?}");
        binaries
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_plain(path: &str) -> bool {
    path.starts_with('/') && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."))
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hinted as _;

    fn read(text: &str) -> Result<Vec<String>, Vec<String>> {
        let (mut binaries, mut problems) = (Binaries::default(), Vec::new());
        binaries.add(text, &mut problems);
        let targets = binaries.iter().map(|binary| format!("{} {}", binary.from(), binary.to())).collect();
        let said = |flaw: &Flaw| flaw.with_hints();
        if problems.is_empty() { Ok(targets) } else { Err(problems.iter().map(said).collect()) }
    }

    #[test]
    fn paths_go_to_the_usual_folder_or_to_the_target_after_the_arrow() {
        for (text, expected) in [
            ("/uv /uvx", &["/uv /usr/local/bin/uv", "/uvx /usr/local/bin/uvx"][..]),
            ("/opt/uv,/uvx", &["/opt/uv /usr/local/bin/uv", "/uvx /usr/local/bin/uvx"]),
            ("/hadolint -> /bin/hadolint", &["/hadolint /bin/hadolint"]),
            ("/a->/b\n/c -> /d/\n/e -> /", &["/a /b", "/c /d/c", "/e /e"]),
            (
                "/tool\n/LICENSE -> /usr/share/doc/tool/LICENSE",
                &["/tool /usr/local/bin/tool", "/LICENSE /usr/share/doc/tool/LICENSE"],
            ),
            ("", &[]),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_installed_is_a_problem() {
        for (text, expected) in [
            ("uv", "`uv` is not the absolute path of a file\nhint: write `/uv`"),
            ("/uv -> bin/uv", "`bin/uv` is not the absolute path"),
            ("/uv -> /a/../uv", "`/a/../uv` is not"),
            ("/uv ->", "`->` stands between two paths"),
            ("-> /uv", "`->` is not the absolute path"),
            ("/uv -> -> /x", "`->` stands between"),
            ("/a/uv /b/uv", "`/a/uv` and `/b/uv` would both become `/usr/local/bin/uv`"),
            ("/a -> /x\n/b -> /x/y", "`/x` and `/x/y` can't both exist"),
            ("/a -> /x/y\n/b -> /x", "`/x/y` and `/x` can't both exist"),
            ("/a -> /proc/a", "`/proc/a` can't be in an image"),
            ("/a -> /opt/.wh.a", "means a deletion"),
        ] {
            let problems = read(text).unwrap_err();
            assert!(problems[0].contains(expected), "{text}: {problems:?}");
        }
    }

    #[test]
    fn every_folder_on_the_way_is_named_once() {
        let binaries: Binaries = ["/uv /uvx", "/_uv -> /usr/share/zsh/_uv", "/x -> /x"].into_iter().collect();
        let folders: Vec<_> = binaries.folders().collect();
        assert_eq!(folders, ["/usr", "/usr/local", "/usr/local/bin", "/usr/share", "/usr/share/zsh"]);
        let groups = binaries.by_folder().into_iter().map(|(folder, files)| (folder, files.len())).collect::<Vec<_>>();
        assert_eq!(groups, [("/usr/local/bin", 2), ("/usr/share/zsh", 1), ("", 1)]);
        assert_eq!(
            binaries.iter().map(ToString::to_string).collect::<Vec<_>>()[1..3],
            ["/uvx", "/_uv -> /usr/share/zsh/_uv"]
        );
    }

    #[test]
    fn the_first_executable_is_the_first_file_in_a_bin_folder() {
        let first = |text: &str| [text].into_iter().collect::<Binaries>().first_executable().to_owned();
        assert_eq!(first("/LICENSE -> /licenses/x\n/uv"), "/usr/local/bin/uv");
        assert_eq!(first("/uv -> /uv"), "/uv");
    }
}
