//! The floors of the house, as ARCHITECTURE.md lists them: each line may import only what stands on a line above.
//!
//! The document is the rule, so it cannot drift from the code. A list is a fenced block whose info string is
//! `text modules` or `text crates`:
//!
//! ```text
//! exit: how a use ended
//! sync, time: two neighbours on one floor, who do not import each other
//!   (a line that begins with a blank goes on with the words of the one before)
//! ```

use std::collections::HashMap;

use anyhow::{Context, bail};

/// One list of floors, the ground floor first.
pub(crate) struct Floors {
    floor_of: HashMap<String, usize>,
}

impl Floors {
    /// Finds the block with this info string in the document.
    pub(crate) fn parse(document: &str, info: &str) -> anyhow::Result<Floors> {
        let fence = format!("```{info}");
        let mut lines = document.lines().skip_while(|line| *line != fence);
        lines.next().with_context(|| format!("ARCHITECTURE.md has no block `{fence}`"))?;
        let mut floor_of = HashMap::new();
        let block = lines.take_while(|line| *line != "```");
        for (floor, line) in block.filter(|line| !line.starts_with(' ')).enumerate() {
            let (names, _) = line.split_once(": ").with_context(|| format!("no `names: words` in `{line}`"))?;
            for name in names.split(", ") {
                if floor_of.insert(name.to_owned(), floor).is_some() {
                    bail!("`{name}` stands on two floors");
                }
            }
        }
        Ok(Floors { floor_of })
    }

    /// Is this name on any floor?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.floor_of.contains_key(name)
    }

    /// All names, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.floor_of.keys().map(String::as_str)
    }

    /// The name on a floor to which a path of names belongs: the longest that is a prefix of it.
    pub(crate) fn place(&self, path: &[String]) -> Option<String> {
        let prefixes = (1..=path.len()).rev().map(|length| path[..length].join("/"));
        prefixes.into_iter().find(|name| self.has(name))
    }

    /// May a file of `importer` name something of `imported`? A noun may always name itself.
    pub(crate) fn may_import(&self, importer: &str, imported: &str) -> bool {
        importer == imported || self.is_above(importer, imported)
    }

    /// Does `this` stand on a higher floor than `that`, nearer to the user?
    pub(crate) fn is_above(&self, this: &str, that: &str) -> bool {
        self.floor_of[this] > self.floor_of[that]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str =
        "# A\n```text modules\nexit: a\nsync, time: b\n  more words\nwrap/retry: c\n```\n```\nx\n```\n";

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn a_floor_imports_those_above_it_only() {
        let floors = Floors::parse(DOCUMENT, "text modules").unwrap();
        assert!(floors.may_import("sync", "exit"));
        assert!(!floors.may_import("exit", "sync"));
        assert!(floors.may_import("wrap/retry", "time"));
    }

    #[test]
    fn neighbours_do_not_import_each_other() {
        let floors = Floors::parse(DOCUMENT, "text modules").unwrap();
        assert!(!floors.may_import("sync", "time"));
        assert!(!floors.may_import("time", "sync"));
        assert!(floors.may_import("time", "time"));
    }

    #[test]
    fn a_path_belongs_to_its_longest_listed_prefix() {
        let floors = Floors::parse(DOCUMENT, "text modules").unwrap();
        assert_eq!(floors.place(&path("exit/Exit")).as_deref(), Some("exit"));
        assert_eq!(floors.place(&path("wrap/retry/Retry")).as_deref(), Some("wrap/retry"));
        assert_eq!(floors.place(&path("wrap/timeout")), None);
        assert_eq!(floors.place(&[]), None);
    }

    #[test]
    fn a_document_without_the_list_or_with_a_name_twice_is_refused() {
        assert!(Floors::parse(DOCUMENT, "text crates").is_err());
        assert!(Floors::parse("```text modules\na: x\na: y\n```\n", "text modules").is_err());
        assert!(Floors::parse("```text modules\na\n```\n", "text modules").is_err());
    }
}
