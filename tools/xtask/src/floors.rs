//! The floors of the crates, as ARCHITECTURE.md lists them: each line may import only from lines above it.
//!
//! The document is the rule, so it cannot drift from the code. A list is a fenced block whose info string says of what
//! it is: `text crates` of the crates, `text modules` of the core's modules, `text modules reqscope-hyper` of another
//! crate's.
//!
//! ```text
//! exit: how a use ended
//! sync, time: two neighbours on one floor, which do not import each other
//!   (a line that begins with a blank goes on with the words of the one before)
//! pool/slots: a file in a folder
//! pool: what else is in the folder, which is a room of its own: its files may import each other
//! ```

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};

use crate::architecture::{self, DOCUMENT, Exception, block};
use crate::imports::Imports;
use crate::report::none_of;
use crate::tree::Tree;

/// The crate whose root declares its modules in the order of the floors.
const CORE: &str = "reqscope";

/// Fails for each import between the modules of a published crate that does not go to a line above.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let document = tree.read(Path::new(DOCUMENT))?;
    let exceptions = architecture::exceptions(&document)?;
    let mut findings = Vec::new();
    for package in tree.published() {
        let name = package.name.as_str();
        let info = if name == CORE { "text modules".to_owned() } else { format!("text modules {name}") };
        match Floors::parse(&document, &info) {
            Ok(floors) => {
                let imports = Imports::read(tree, &Path::new("crates").join(name).join("src"))?;
                let found = floors.judge(&imports, &exceptions, name == CORE);
                findings.extend(found.into_iter().map(|found| format!("{name}: {found}")));
            }
            Err(error) => findings.push(format!("{name}: {error}")),
        }
    }
    none_of(findings)
}

/// One list of floors, the ground floor first.
pub(crate) struct Floors {
    floor_of: HashMap<String, usize>,
}

impl Floors {
    /// Finds the block with this info string in the document.
    pub(crate) fn parse(document: &str, info: &str) -> anyhow::Result<Floors> {
        let mut floor_of = HashMap::new();
        let lines = block(document, info).with_context(|| format!("{DOCUMENT} has no block `{info}`"))?;
        for (floor, line) in lines.filter(|line| !line.starts_with(' ')).enumerate() {
            let (names, _) = line.split_once(": ").with_context(|| format!("no `names: words` in `{line}`"))?;
            for name in names.split(", ") {
                if floor_of.insert(name.to_owned(), floor).is_some() {
                    bail!("`{name}` stands on two floors");
                }
            }
        }
        Ok(Floors { floor_of })
    }

    /// Returns whether this name is on any floor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.floor_of.contains_key(name)
    }

    /// Returns all names, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.floor_of.keys().map(String::as_str)
    }

    /// Returns whether `importer` may name something of `imported`. Every name may name itself.
    pub(crate) fn may_import(&self, importer: &str, imported: &str) -> bool {
        importer == imported || self.is_above(importer, imported)
    }

    /// Returns whether `this` stands on a higher floor than `that`, nearer to the user.
    fn is_above(&self, this: &str, that: &str) -> bool {
        self.floor_of[this] > self.floor_of[that]
    }

    /// Returns the name on a floor to which a module belongs: the longest that is a prefix of it.
    fn place(&self, module: &[String]) -> Option<String> {
        let prefixes = (1..=module.len()).rev().map(|length| module[..length].join("/"));
        prefixes.into_iter().find(|name| self.has(name))
    }

    /// Returns what is wrong about a crate. Its root, which lists everything, may import everything.
    fn judge(&self, imports: &Imports, exceptions: &[Exception], root_in_order: bool) -> Vec<String> {
        let mut findings = Vec::new();
        let mut seen = Vec::new();
        for (module, file) in imports.modules().filter(|(module, _)| !module.is_empty()) {
            match self.place(module) {
                Some(place) => seen.push(place),
                None => findings.push(format!("{}: has no floor in {DOCUMENT}", file.display())),
            }
        }
        let mut stale: Vec<&str> = self.names().filter(|name| !seen.iter().any(|place| place == name)).collect();
        stale.sort_unstable();
        findings
            .extend(stale.iter().map(|name| format!("{name}: stands in {DOCUMENT}, but there is no such module")));
        // A `pub use` of what is not used here lists what the module exports; it depends on nothing.
        for import in imports.all().filter(|import| !import.passed_on) {
            if exceptions.iter().any(|exception| exception.is_for(&import)) {
                continue;
            }
            let at = format!("{}:{}", import.file.display(), import.line);
            let Some(place) = self.place(import.from) else { continue };
            match self.place(import.to) {
                None if import.to.is_empty() => findings.push(format!("{at}: {} is on no floor", import.path)),
                Some(target) if !self.may_import(&place, &target) => {
                    findings.push(format!("{at}: {place} must not import {}", import.path));
                }
                _ => {}
            }
        }
        if root_in_order {
            findings.extend(self.out_of_order(imports.declared_by_root()));
        }
        findings
    }

    /// Returns the modules that the root lists after one of a higher floor.
    fn out_of_order(&self, declared: &[String]) -> Vec<String> {
        let known: Vec<&String> = declared.iter().filter(|name| self.has(name)).collect();
        let pairs = known.windows(2).filter(|pair| self.is_above(pair[0], pair[1]));
        pairs
            .map(|pair| format!("lib.rs lists {} before {}, which stands on a lower floor", pair[0], pair[1]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: &str =
        "# A\n```text modules\nexit: a\nsync, time: b\n  more words\nwrap/retry: c\nwrap: d\n```\n```\nx\n```\n";

    fn floors() -> Floors {
        Floors::parse(LISTS, "text modules").unwrap()
    }

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn floor_imports_only_those_above_it_in_the_list() {
        assert!(floors().may_import("sync", "exit"));
        assert!(!floors().may_import("exit", "sync"));
        assert!(floors().may_import("wrap/retry", "time"));
    }

    #[test]
    fn neighbours_do_not_import_each_other() {
        assert!(!floors().may_import("sync", "time"));
        assert!(!floors().may_import("time", "sync"));
        assert!(floors().may_import("time", "time"));
    }

    #[test]
    fn module_belongs_to_its_longest_listed_prefix() {
        assert_eq!(floors().place(&path("exit")).as_deref(), Some("exit"));
        assert_eq!(floors().place(&path("wrap/retry/policy")).as_deref(), Some("wrap/retry"));
        assert_eq!(floors().place(&path("wrap/timeout")).as_deref(), Some("wrap"));
        assert_eq!(floors().place(&path("scope")), None);
        assert_eq!(floors().place(&[]), None);
    }

    #[test]
    fn missing_list_and_name_listed_twice_are_refused() {
        assert!(Floors::parse(LISTS, "text crates").is_err());
        assert!(Floors::parse("```text modules\na: x\na: y\n```\n", "text modules").is_err());
        assert!(Floors::parse("```text modules\na\n```\n", "text modules").is_err());
    }

    #[test]
    fn import_that_goes_up_or_sideways_is_found() {
        let imports = Imports::of_files(&[
            ("lib.rs", "mod exit;\nmod sync;\nmod time;\nmod wrap;\npub use wrap::Retry;"),
            ("exit.rs", "use crate::Retry;"),
            ("sync.rs", "use crate::exit::Exit;"),
            ("time.rs", "use crate::sync::Lock;\nuse crate::Unknown;"),
            ("wrap/mod.rs", "mod retry;\nmod timeout;\npub use retry::Retry;"),
            ("wrap/retry.rs", "use crate::exit::Exit;"),
            ("wrap/timeout.rs", "use super::retry::Retry;"),
        ]);
        assert_eq!(
            floors().judge(&imports, &[], true),
            [
                "exit.rs:1: exit must not import crate::Retry",
                "time.rs:1: time must not import crate::sync::Lock",
                "time.rs:2: crate::Unknown is on no floor",
            ]
        );
    }

    #[test]
    fn file_without_a_floor_and_floor_without_a_file_are_found() {
        let imports = Imports::of_files(&[("exit.rs", ""), ("sync.rs", ""), ("pool.rs", ""), ("wrap/retry.rs", "")]);
        assert_eq!(
            floors().judge(&imports, &[], false),
            [
                "pool.rs: has no floor in ARCHITECTURE.md",
                "time: stands in ARCHITECTURE.md, but there is no such module",
                "wrap: stands in ARCHITECTURE.md, but there is no such module",
            ]
        );
    }

    #[test]
    fn root_of_the_core_lists_modules_in_the_order_of_floors() {
        let order =
            |names: &[&str]| floors().out_of_order(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(order(&["exit", "time", "sync", "wrap"]).is_empty());
        assert_eq!(
            order(&["exit", "wrap", "sync"]),
            ["lib.rs lists wrap before sync, which stands on a lower floor"]
        );
    }
}
