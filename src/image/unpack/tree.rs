//! The files of an image, as they are after an engine has unpacked its layers on top of each other.
//!
//! - If a layer has several entries for a path, the last one counts. A file or link replaces a folder with everything
//!   in it, and hides what lower layers have below that path.
//! - A [whiteout](https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts) hides files of lower
//!   layers, never those of its own layer.
//! - A hard link is another name of the file that is at its target at that moment, in this layer or in lower ones.
//! - Symbolic links are followed within the image, where `..` in the root is the root, as for `COPY --from` and for a
//!   program that runs in the image.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Bound;

use super::archive::{Archive, Kind};

/// Linux follows at most this many symbolic links in one path.
const MOST_LINKS: usize = 40;
/// The most memory that all names of an image may take: 256 MiB.
const MOST_NAMES: usize = 256 << 20;
/// What an entry takes in memory besides its names.
const NODE: usize = 64;

/// The files of an image, as far as its layers have been read.
#[derive(Debug, Default)]
pub struct Tree {
    /// The uppermost first.
    layers: Vec<Layer>,
    /// Whether all layers have been read.
    complete: bool,
    names: usize,
}

/// A regular file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The layer with its content, counted from the uppermost.
    pub layer: usize,
    /// The entry of that layer with its content, counted from the first.
    pub entry: usize,
    /// The length of its content in bytes.
    pub size: u64,
    /// The permission bits with setuid and setgid.
    pub mode: u32,
    /// Whether it has capabilities.
    pub capabilities: bool,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A regular file, possibly through links.
    File(File),
    /// A folder, a device or the like, and its name in errors.
    Other(&'static str),
    /// A link to this path, which doesn't exist.
    Dangling(String),
    /// Nothing.
    Nothing,
    /// Unknown, since it depends on a layer that hasn't been read yet.
    Undecided,
}

/// The files of one layer.
#[derive(Debug, Default)]
struct Layer {
    nodes: BTreeMap<String, Node>,
    /// Paths that it removes from lower layers.
    removed: BTreeSet<String>,
    /// Folders whose content it removes from lower layers.
    emptied: BTreeSet<String>,
    /// The memory that all names take, including those of the layers above it.
    names: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// From an entry, or implied by one below it.
    Folder,
    File(File),
    Symlink(String),
    /// Another name of a lower layer's file at this path.
    HardLink(String),
    Other(&'static str),
}

/// The entry at a path, in a layer or in the ones below it.
enum Lookup<'a> {
    Node(&'a Node, usize),
    Absent,
    Undecided,
}

impl Tree {
    /// Reads the next layer; the uppermost comes first.
    ///
    /// # Errors
    /// Reading fails, or the layer couldn't be unpacked.
    pub fn read_layer(&mut self, archive: impl Read) -> io::Result<()> {
        let mut archive = Archive::new(archive);
        let (mut layer, mut number) = (Layer { names: self.names, ..Layer::default() }, 0);
        while let Some(entry) = archive.next_entry()? {
            layer.count(entry.path.len())?;
            let node = match entry.kind {
                Kind::File { size, mode, capabilities } => {
                    Node::File(File { layer: self.layers.len(), entry: number, size, mode, capabilities })
                }
                Kind::Folder => Node::Folder,
                Kind::Symlink(target) => Node::Symlink(target),
                Kind::HardLink(target) => Node::HardLink(target),
                Kind::Other(what) => Node::Other(what),
            };
            layer.add(&entry.path, node)?;
            number += 1;
        }
        self.names = layer.names;
        self.layers.push(layer);
        Ok(())
    }

    /// Declares that all layers have been read.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// What is at an absolute path.
    #[must_use]
    pub fn find(&self, path: &str) -> Found {
        let mut left: Vec<&str> = path.split('/').rev().collect();
        let (mut at, mut links) = (String::new(), 0);
        while let Some(name) = left.pop() {
            if !enter(&mut at, name) {
                continue;
            }
            let is_last = left.iter().all(|name| matches!(*name, "" | "."));
            match self.inode(&at) {
                Lookup::Node(Node::Folder, _) => {}
                Lookup::Node(Node::File(file), _) if is_last => return Found::File(file.clone()),
                Lookup::Node(Node::Other(what), _) if is_last => return Found::Other(what),
                Lookup::Node(Node::Symlink(target), _) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Found::Other("a loop of links");
                    }
                    leave(&mut at, target);
                    left.extend(target.split('/').rev());
                }
                Lookup::Undecided => return Found::Undecided,
                _ if links == 0 => return Found::Nothing,
                _ => {
                    let rest = left.iter().rev().filter(|name| !name.is_empty());
                    return Found::Dangling(rest.fold(at, |path, name| path + "/" + name));
                }
            }
        }
        Found::Other("a folder")
    }

    /// Some of the files in the image, for an error.
    #[must_use]
    pub fn some_files(&self, most: usize) -> Vec<String> {
        let nodes = self.layers.iter().flat_map(|layer| &layer.nodes);
        let files = nodes.filter(|(_, node)| matches!(node, Node::File(_))).map(|(path, _)| path);
        let mut some: Vec<String> = files.take(most).cloned().collect();
        some.sort();
        some.dedup();
        some
    }

    /// What is at a path whose folders aren't links; for a hard link, the name that it refers to.
    fn inode(&self, path: &str) -> Lookup<'_> {
        let mut found = self.lookup(path, 0);
        while let Lookup::Node(Node::HardLink(target), layer) = found {
            found = self.lookup(target, layer + 1);
        }
        found
    }

    fn lookup(&self, path: &str, from: usize) -> Lookup<'_> {
        for (number, layer) in self.layers.iter().enumerate().skip(from) {
            if let Some(node) = layer.nodes.get(path) {
                return Lookup::Node(node, number);
            }
            if layer.hides(path) {
                return Lookup::Absent;
            }
        }
        if self.complete { Lookup::Absent } else { Lookup::Undecided }
    }
}

impl Layer {
    fn add(&mut self, path: &str, node: Node) -> io::Result<()> {
        let Some((folder, name)) = path.rsplit_once('/') else { return Ok(()) };
        if path.contains("/.wh..wh.") {
            // AUFS kept other names of this form for itself.
            if name == ".wh..wh..opq" {
                self.emptied.insert(folder.to_owned());
            }
            return Ok(());
        }
        if let Some(name) = name.strip_prefix(".wh.") {
            self.removed.insert(format!("{folder}/{name}"));
            return Ok(());
        }
        let path = self.real_folder(folder)? + "/" + name;
        let node = match node {
            Node::HardLink(target) => {
                let (folder, name) = target.rsplit_once('/').unwrap_or_default();
                let real = self.real_folder(folder)? + "/" + name;
                match self.nodes.get(&real) {
                    Some(Node::Folder) => Node::Other("a hard link to a folder"),
                    Some(node) => node.clone(),
                    None => Node::HardLink(real),
                }
            }
            node => node,
        };
        match self.nodes.get(&path) {
            Some(Node::Folder) if node == Node::Folder => {}
            _ => {
                self.remove(&path);
                self.insert(path, node)?;
            }
        }
        Ok(())
    }

    /// The folder of an entry, after following this layer's links on the way to it. Folders without an entry are
    /// implied.
    fn real_folder(&mut self, folder: &str) -> io::Result<String> {
        let mut left: Vec<String> = folder.split('/').rev().map(str::to_owned).collect();
        let (mut at, mut links) = (String::new(), 0);
        while let Some(name) = left.pop() {
            if !enter(&mut at, &name) {
                continue;
            }
            match self.nodes.get(&at) {
                None => self.insert(at.clone(), Node::Folder)?,
                Some(Node::Folder) => {}
                Some(Node::Symlink(target)) if links < MOST_LINKS => {
                    links += 1;
                    leave(&mut at, target);
                    left.extend(target.split('/').rev().map(str::to_owned));
                }
                Some(_) => {
                    let message = format!("`{folder}` is not a folder, but its archive has entries in it");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
            }
        }
        Ok(at)
    }

    fn insert(&mut self, path: String, node: Node) -> io::Result<()> {
        let target = match &node {
            Node::Symlink(target) | Node::HardLink(target) => target.len(),
            Node::Folder | Node::File(_) | Node::Other(_) => 0,
        };
        self.count(path.len() + target + NODE)?;
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Counts the memory that names take.
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.names += bytes;
        if self.names > MOST_NAMES {
            return Err(io::Error::other(format!("the names in the image have more than {} MiB", MOST_NAMES >> 20)));
        }
        Ok(())
    }

    /// Removes a path and everything below it.
    fn remove(&mut self, path: &str) {
        let was_folder = self.nodes.remove(path) == Some(Node::Folder);
        if was_folder {
            let inside = format!("{path}/");
            let below = self.nodes.range::<str, _>((Bound::Included(inside.as_str()), Bound::Unbounded));
            let below: Vec<String> =
                below.map(|(path, _)| path).take_while(|path| path.starts_with(&inside)).cloned().collect();
            for path in below {
                self.nodes.remove(&path);
            }
        }
    }

    /// Whether this layer, without an entry for the path, hides it from lower layers.
    fn hides(&self, path: &str) -> bool {
        let is_hiding = |folder| {
            self.emptied.contains(folder)
                || self.removed.contains(folder)
                || self.nodes.get(folder).is_some_and(|node| *node != Node::Folder)
        };
        self.removed.contains(path) || path.rmatch_indices('/').any(|(end, _)| is_hiding(&path[..end]))
    }
}

/// Moves from a folder to the item `name` in it; `false` if that is the folder itself, or its parent.
fn enter(at: &mut String, name: &str) -> bool {
    match name {
        "" | "." => false,
        ".." => {
            at.truncate(at.rfind('/').unwrap_or(0));
            false
        }
        name => {
            at.push('/');
            at.push_str(name);
            true
        }
    }
}

/// Moves from a symbolic link to the folder that its target is relative to.
fn leave(at: &mut String, target: &str) {
    at.truncate(if target.starts_with('/') { 0 } else { at.rfind('/').unwrap_or(0) });
}

#[cfg(test)]
mod tests {
    use tar::EntryType;

    use super::*;

    /// Makes an archive: `path` is a file, `path/` a folder, `path -> target` a symbolic link, `path => target` a hard
    /// link, `path !` a pipe.
    fn archive(entries: &[&str]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o555);
            header.set_size(0);
            if let Some((path, target)) = entry.split_once(" -> ") {
                header.set_entry_type(EntryType::Symlink);
                archive.append_link(&mut header, path, target).unwrap();
            } else if let Some((path, target)) = entry.split_once(" => ") {
                header.set_entry_type(EntryType::Link);
                archive.append_link(&mut header, path, target).unwrap();
            } else {
                let kind = if entry.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
                header.set_entry_type(if entry.ends_with(" !") { EntryType::Fifo } else { kind });
                archive.append_data(&mut header, entry.trim_end_matches(" !"), &b""[..]).unwrap();
            }
        }
        archive.into_inner().unwrap()
    }

    fn tree(top_down: &[&[&str]]) -> Tree {
        let mut tree = Tree::default();
        for layer in top_down {
            tree.read_layer(&archive(layer)[..]).unwrap();
        }
        tree
    }

    /// `layer.entry` of the file at `path`, or a description of anything else there.
    fn find(top_down: &[&[&str]], path: &str) -> String {
        let mut tree = tree(top_down);
        tree.complete();
        match tree.find(path) {
            Found::File(file) => format!("{}.{}", file.layer, file.entry),
            Found::Other(what) => what.to_owned(),
            Found::Dangling(to) => format!("-> {to}"),
            Found::Nothing => "nothing".to_owned(),
            Found::Undecided => "undecided".to_owned(),
        }
    }

    #[test]
    fn the_last_entry_of_the_uppermost_layer_counts() {
        assert_eq!(find(&[&["tool", "tool"]], "/tool"), "0.1");
        assert_eq!(find(&[&["./tool"], &["tool"]], "/tool"), "0.0");
        assert_eq!(find(&[&["other"], &["tool"]], "/tool"), "1.0");
        assert_eq!(find(&[&["tool"]], "//./tool/."), "0.0");
        assert_eq!(find(&[&["tool/"]], "/tool"), "a folder");
        assert_eq!(find(&[&["tool !"]], "/tool"), "a pipe");
        assert_eq!(find(&[&["tool"]], "/"), "a folder");
        assert_eq!(find(&[&["tool"]], "/tool/x"), "nothing");
    }

    #[test]
    fn a_file_or_link_hides_what_is_below_it() {
        for hiding in ["opt", "opt -> usr", "opt => x", "opt !"] {
            assert_eq!(
                find(&[&["x", hiding], &["opt/tool"]], "/opt/tool"),
                if hiding.contains("->") { "-> /usr/tool" } else { "nothing" }
            );
        }
        assert_eq!(find(&[&["opt -> usr"], &["opt/tool", "usr/tool"]], "/opt/tool"), "1.1");
        assert_eq!(find(&[&["opt/"], &["opt/tool"]], "/opt/tool"), "1.0", "a folder hides nothing");
        assert_eq!(find(&[&["opt/"], &["opt"], &["opt/tool"]], "/opt/tool"), "nothing");
        assert_eq!(
            find(&[&["opt/x"], &["opt -> usr", "usr/tool"]], "/opt/tool"),
            "nothing",
            "an implied folder hides a link"
        );
        // In one layer, the last entry removes what was below its path, and is removed by what comes below it.
        assert_eq!(find(&[&["opt/tool", "opt"]], "/opt/tool"), "nothing");
        assert_eq!(find(&[&["opt", "opt/", "opt/tool"]], "/opt/tool"), "0.2");
        assert_eq!(find(&[&["opt/tool", "opt-x/tool", "opt !"]], "/opt-x/tool"), "0.1");
    }

    #[test]
    fn a_whiteout_hides_what_lower_layers_have() {
        for whiteout in [".wh.bin", "bin/.wh.tool", "bin/.wh..wh..opq", ".wh..wh..opq"] {
            assert_eq!(find(&[&[whiteout], &["bin/tool"]], "/bin/tool"), "nothing", "{whiteout}");
            assert_eq!(find(&[&["bin/tool", whiteout], &["bin/tool"]], "/bin/tool"), "0.0", "{whiteout}");
            assert_eq!(
                find(&[&[whiteout], &["other/tool", ".wh..wh.plnk/1.2"]], "/other/tool"),
                if whiteout == ".wh..wh..opq" { "nothing" } else { "1.0" }
            );
        }
        assert_eq!(find(&[&[".wh.bin", "bin/x"], &["bin/tool"]], "/bin/tool"), "nothing");
        assert_eq!(find(&[&[".wh.tool"], &["tool-x"]], "/tool-x"), "1.0");
    }

    #[test]
    fn hard_links_are_names_of_one_file() {
        assert_eq!(find(&[&["bin/[", "bin/busybox => bin/["]], "/bin/busybox"), "0.0");
        assert_eq!(find(&[&["a", "b => /a", "c => ./b", "a"]], "/c"), "0.0", "the file that was there then");
        assert_eq!(find(&[&["x", "b => a"], &["a"], &["a"]], "/b"), "1.0", "in the layer below");
        assert_eq!(find(&[&["a", "b"], &["y", "b => a"], &["a"]], "/b"), "0.1");
        assert_eq!(find(&[&["a"], &["b => a"], &["a"]], "/b"), "2.0", "never in a layer above");
        assert_eq!(find(&[&["b => a"], &["a => c"], &["c"]], "/b"), "2.0");
        assert_eq!(find(&[&["b => a"], &["a -> c"], &["c"]], "/b"), "2.0", "a name of the link itself");
        assert_eq!(find(&[&["b => a"]], "/b"), "nothing");
        assert_eq!(find(&[&["b => b"]], "/b"), "nothing");
        assert_eq!(find(&[&["d/", "b => d"]], "/b"), "a hard link to a folder");
    }

    #[test]
    fn symbolic_links_are_followed_within_the_image() {
        let store = "nix/store/0c-tool/bin/tool";
        assert_eq!(find(&[&["bin/tool -> /nix/store/0c-tool/bin/tool"], &[store]], "/bin/tool"), "1.0");
        assert_eq!(find(&[&[store], &["bin/tool -> ../nix/store/0c-tool/bin/tool"]], "/bin/tool"), "0.0");
        assert_eq!(find(&[&["bin -> usr/bin", "usr/bin/tool"]], "/bin/tool"), "0.1", "a link on the way");
        assert_eq!(find(&[&["a -> b", "b -> c", "c"]], "/a"), "0.2");
        assert_eq!(find(&[&["bin/tool -> ../../../tool", "tool"]], "/bin/tool"), "0.1", "above the root is the root");
        assert_eq!(find(&[&["a -> b", "b -> a"]], "/a"), "a loop of links");
        assert_eq!(find(&[&["a -> a/x"]], "/a"), "a loop of links");
        assert_eq!(find(&[&["a -> /nowhere/x"]], "/a"), "-> /nowhere/x");
        assert_eq!(find(&[&["a -> b", "b/"]], "/a"), "a folder");
        // An entry whose folder is a link in the same layer goes to the link's target.
        assert_eq!(find(&[&["opt -> usr", "opt/tool"]], "/usr/tool"), "0.1");
        let error = Tree::default().read_layer(&archive(&["opt", "opt/tool"])[..]).unwrap_err();
        assert!(error.to_string().contains("`/opt` is not a folder"), "{error}");
    }

    #[test]
    fn lower_layers_are_read_only_if_they_could_change_the_answer() {
        let undecided = |top: &[&str], path: &str| tree(&[top]).find(path) == Found::Undecided;
        assert!(!undecided(&["tool"], "/tool") && !undecided(&["usr/bin/tool"], "/usr/bin/tool"));
        assert!(!undecided(&[".wh.tool"], "/tool") && !undecided(&["opt"], "/opt/tool"));
        assert!(
            undecided(&["opt/"], "/opt/tool") && undecided(&["tool -> x"], "/tool") && undecided(&["a => b"], "/a")
        );
    }

    #[test]
    fn names_without_end_are_an_error() {
        // The folders on the way to an entry count, too: the names of these have 4 MiB.
        let link = format!("l -> {}", "a/".repeat(2000));
        for (left, entries) in [(4, &["tool"][..]), (1 << 20, &[&*link, "l/x"][..])] {
            let mut tree = Tree { names: MOST_NAMES - left, ..Tree::default() };
            let error = tree.read_layer(&archive(entries)[..]).unwrap_err();
            assert!(error.to_string().contains("more than 256 MiB"), "{error}");
        }
        // So do the real targets of hard links, which may be longer than what the archive says.
        let mut layer = Layer::default();
        layer.add("/l", Node::Symlink("a/".repeat(2000))).unwrap();
        layer.add("/l/x", Node::Other("a file")).unwrap();
        let before = layer.names;
        layer.add("/h", Node::HardLink("/l/y".to_owned())).unwrap();
        assert!(layer.names > before + 4000);
    }
}
