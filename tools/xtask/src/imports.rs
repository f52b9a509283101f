//! Which file of a crate imports from which: `use` items, and paths in the middle of the code.
//!
//! A name that a module re-exports counts as a name of the module that it comes from. Code that is compiled for tests
//! only does not count.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Context;
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, UseTree, Visibility};

use crate::attributes::is_for_tests;
use crate::tree::Tree;

/// The path of a module from the root of its crate: `pool/slots.rs` is `pool, slots`, and the root is empty.
pub(crate) type Module = Vec<String>;

/// The files of one crate.
pub(crate) struct Imports {
    files: BTreeMap<Module, File>,
}

struct File {
    path: PathBuf,
    /// The modules that this one declares, in their order.
    declares: Vec<String>,
    found: Vec<Found>,
    /// What this file calls by one name and imports from elsewhere.
    aliases: HashMap<String, Vec<String>>,
}

/// One path into the own crate, as it is from the crate's root.
struct Found {
    line: usize,
    path: Vec<String>,
    /// It is only passed on under this path, and not used here.
    passed_on: bool,
}

/// An import of a module by another one.
pub(crate) struct Import<'a> {
    /// The file that imports, from the root of the workspace.
    pub(crate) file: &'a Path,
    pub(crate) line: usize,
    pub(crate) from: &'a Module,
    pub(crate) to: &'a Module,
    /// The file that is imported from.
    pub(crate) to_file: &'a Path,
    /// What is imported, as the file says it.
    pub(crate) path: String,
    pub(crate) passed_on: bool,
}

impl Imports {
    /// Reads all files below the folder of a `lib.rs` or `main.rs`, except for those in folders `tests`.
    pub(crate) fn read(tree: &Tree, folder: &Path) -> anyhow::Result<Imports> {
        let mut sources = BTreeMap::new();
        for path in tree.files("rs") {
            let Some(module) = path.strip_prefix(folder).ok().map(module) else { continue };
            if module.iter().all(|name| name != "tests") {
                sources.entry(module).or_insert((path.to_owned(), tree.read(path)?));
            }
        }
        Imports::of(sources)
    }

    fn of(sources: BTreeMap<Module, (PathBuf, String)>) -> anyhow::Result<Imports> {
        let modules: BTreeSet<Module> = sources.keys().cloned().collect();
        let mut files = BTreeMap::new();
        for (module, (path, text)) in sources {
            let parsed = syn::parse_file(&text).with_context(|| path.display().to_string())?;
            files.insert(module.clone(), File::of(path, &parsed, &module, &modules));
        }
        Ok(Imports { files })
    }

    /// Returns all modules, and the file of each.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (&Module, &Path)> {
        self.files.iter().map(|(module, file)| (module, file.path.as_path()))
    }

    /// Returns the modules that the root declares, in their order.
    pub(crate) fn declared_by_root(&self) -> &[String] {
        self.files.get(&Module::new()).map_or(&[], |root| &root.declares)
    }

    /// Returns all imports by one module of another.
    pub(crate) fn all(&self) -> impl Iterator<Item = Import<'_>> {
        self.files.iter().flat_map(move |(from, file)| {
            file.found.iter().filter_map(move |Found { line, path, passed_on }| {
                let (to, target) = self.home(path)?;
                (to != from).then(|| Import {
                    file: &file.path,
                    line: *line,
                    from,
                    to,
                    to_file: &target.path,
                    path: format!("crate::{}", path.join("::")),
                    passed_on: *passed_on,
                })
            })
        })
    }

    /// Returns the module where the thing at this path is defined.
    fn home(&self, path: &[String]) -> Option<(&Module, &File)> {
        let mut path = path.to_vec();
        // A re-export of a re-export takes one more turn. No chain of ours is nearly as long as this.
        for _ in 0..8 {
            let (module, file) = self.deepest(&path)?;
            let alias = path.get(module.len()).and_then(|name| file.aliases.get(name));
            match alias {
                Some(target) => path = target.iter().chain(&path[module.len() + 1..]).cloned().collect(),
                None => return Some((module, file)),
            }
        }
        None
    }

    /// Returns the module with the longest path that this one begins with.
    fn deepest(&self, path: &[String]) -> Option<(&Module, &File)> {
        (0..=path.len()).rev().find_map(|length| self.files.get_key_value(&path[..length]))
    }
}

/// `pool/mod.rs` is `pool`, `pool/slots.rs` is `pool, slots`, `lib.rs` and `main.rs` are nothing.
fn module(file: &Path) -> Module {
    let names = file.with_extension("");
    let mut names: Module = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let is_root = names.len() == 1 && (names[0] == "lib" || names[0] == "main");
    if is_root || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

impl File {
    fn of(path: PathBuf, parsed: &syn::File, module: &[String], modules: &BTreeSet<Module>) -> File {
        let mut visitor = Visitor {
            modules,
            module: module.to_vec(),
            found: Vec::new(),
            re_exports: Vec::new(),
            aliases: HashMap::new(),
            used: BTreeSet::new(),
        };
        visitor.visit_file(parsed);
        let Visitor { mut found, re_exports, aliases, used, .. } = visitor;
        for (line, path, name) in re_exports {
            // A name that is re-exported may be used here, too.
            found.push(Found { line, path, passed_on: !used.contains(&name) });
        }
        let declares = parsed.items.iter().filter_map(|item| match item {
            Item::Mod(ItemMod { ident, content: None, .. }) => Some(ident.to_string()),
            _ => None,
        });
        File { path, declares: declares.collect(), found, aliases }
    }
}

struct Visitor<'a> {
    modules: &'a BTreeSet<Module>,
    /// Where the visitor is: the file, or a module within it.
    module: Module,
    found: Vec<Found>,
    /// The line, the path and the name of each.
    re_exports: Vec<(usize, Vec<String>, String)>,
    aliases: HashMap<String, Vec<String>>,
    /// The names with which paths begin.
    used: BTreeSet<String>,
}

impl Visitor<'_> {
    /// Returns the path from the crate's root, or `None` if it leads into another crate.
    fn own(&self, path: &[String]) -> Option<Vec<String>> {
        let mut names = path.iter().map(String::as_str).peekable();
        let mut root = match *names.peek()? {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => parent(&self.module),
            child => {
                let child: Module = self.module.iter().cloned().chain([child.to_owned()]).collect();
                return self.modules.contains(&child).then(|| child.into_iter().chain(path[1..].to_vec()).collect());
            }
        };
        names.next();
        while names.next_if_eq(&"super").is_some() {
            root = parent(&root);
        }
        root.extend(names.map(str::to_owned));
        Some(root)
    }
}

fn parent(module: &[String]) -> Module {
    module.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default()
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if attributes.iter().any(is_for_tests) {
            return;
        }
        if let Item::Mod(item) = item {
            // Inside of `mod a { .. }` a `super` is this file.
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        } else {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let line = item.use_token.span.start().line;
        for Leaf { path, name } in leaves(&item.tree) {
            let Some(path) = self.own(&path).filter(|_| item.leading_colon.is_none()) else { continue };
            if let Some(name) = &name {
                self.aliases.insert(name.clone(), path.clone());
            }
            match (&item.vis, name) {
                (Visibility::Inherited, _) | (_, None) => self.found.push(Found { line, path, passed_on: false }),
                (_, Some(name)) => self.re_exports.push((line, path, name)),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first().filter(|_| path.leading_colon.is_none()) {
            self.used.insert(names[0].clone());
            if let Some(path) = self.own(&names).filter(|_| names.len() > 1) {
                self.found.push(Found { line: first.ident.span().start().line, path, passed_on: false });
            }
        }
        visit::visit_path(self, path);
    }

    // The path of a `pub(in crate::a)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// One of the paths of a `use`.
struct Leaf {
    path: Vec<String>,
    /// What it is called from here on. `None` for a glob.
    name: Option<String>,
}

/// Takes a `use` apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let leaf = |path: &syn::Ident, name: &syn::Ident| {
        let path = if path == "self" { Vec::new() } else { vec![path.to_string()] };
        vec![Leaf { path, name: Some(name.to_string()) }]
    };
    match tree {
        UseTree::Path(path) => {
            let mut below = leaves(&path.tree);
            for Leaf { path: rest, name } in &mut below {
                // `a::{self}` is called `a`.
                if rest.is_empty() && name.as_ref().is_some_and(|name| name == "self") {
                    *name = Some(path.ident.to_string());
                }
                rest.insert(0, path.ident.to_string());
            }
            below
        }
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
        UseTree::Name(name) => leaf(&name.ident, &name.ident),
        UseTree::Rename(rename) => leaf(&rename.ident, &rename.rename),
        UseTree::Glob(_) => vec![Leaf { path: Vec::new(), name: None }],
    }
}

#[cfg(test)]
impl Imports {
    /// Makes a crate of files whose paths are as below `src`.
    pub(crate) fn of_files(files: &[(&str, &str)]) -> Imports {
        let source = |(path, text): &(&str, &str)| (module(Path::new(path)), (PathBuf::from(path), text.to_string()));
        Imports::of(files.iter().map(source).collect()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines and the paths into the own crate that one file of a crate has.
    fn found(path: &str, code: &str) -> Vec<String> {
        let imports = Imports::of_files(&[(path, code)]);
        let file = imports.files.values().next().unwrap();
        file.found.iter().map(|Found { line, path, .. }| format!("{line} {}", path.join("::"))).collect()
    }

    /// The imports between the files of a crate.
    fn between(files: &[(&str, &str)]) -> Vec<String> {
        let imports = Imports::of_files(files);
        let all = imports.all().map(|Import { from, to, passed_on, .. }| {
            format!("{} {} {}", from.join("/"), if passed_on { "passes on" } else { "uses" }, to.join("/"))
        });
        all.collect()
    }

    #[test]
    fn use_is_taken_apart_into_its_paths() {
        let code = "use crate::{Error, pool::{self, slots::Slot}};\nuse std::fmt;\nuse crate::wrap::*;";
        assert_eq!(found("scope.rs", code), ["1 Error", "1 pool", "1 pool::slots::Slot", "3 wrap"]);
    }

    #[test]
    fn super_and_self_start_from_the_place_of_the_file() {
        let code = "use super::retry::Retry;\nuse self::stage::Stage;\nuse super::super::exit::Exit;";
        assert_eq!(
            found("wrap/timeout.rs", code),
            ["1 wrap::retry::Retry", "2 wrap::timeout::stage::Stage", "3 exit::Exit"]
        );
    }

    #[test]
    fn super_in_an_inline_module_is_the_file() {
        assert_eq!(found("lazy.rs", "mod state {\n    use super::Lazy;\n}"), ["2 lazy::Lazy"]);
    }

    #[test]
    fn path_in_the_middle_of_the_code_counts() {
        let code = "fn a() -> crate::Exit {\n    crate::scope::open()\n}";
        assert_eq!(found("exit.rs", code), ["1 Exit", "2 scope::open"]);
    }

    #[test]
    fn code_for_tests_does_not_count() {
        let code = "#[cfg(test)]\nmod tests { use crate::scope::Scope; }\n#[cfg(not(test))]\nuse crate::exit::Exit;";
        assert_eq!(found("lazy.rs", code), ["4 exit::Exit"]);
    }

    #[test]
    fn path_may_begin_with_a_child_but_not_with_another_crate() {
        let files =
            [("pool/mod.rs", "mod slots;\nuse slots::Slot;\nuse fmt::Debug;"), ("pool/slots.rs", ""), ("fmt.rs", "")];
        assert_eq!(between(&files), ["pool uses pool/slots"]);
    }

    #[test]
    fn re_exported_name_belongs_to_the_module_it_comes_from() {
        let files = [
            ("lib.rs", "mod wrap;\nmod exit;\npub use wrap::{Policy as RetryPolicy, Retry};"),
            ("wrap/mod.rs", "mod retry;\npub use retry::{Policy, Retry};"),
            ("wrap/retry.rs", ""),
            ("exit.rs", "use crate::Retry;\nuse crate::RetryPolicy;"),
        ];
        let between = between(&files);
        assert_eq!(
            between[2..],
            [
                "exit uses wrap/retry",
                "exit uses wrap/retry",
                "wrap passes on wrap/retry",
                "wrap passes on wrap/retry",
            ]
        );
    }

    #[test]
    fn re_export_that_is_used_is_not_only_passed_on() {
        let files = [("a/mod.rs", "mod b;\npub use b::B;\nfn c(_: B) {}"), ("a/b.rs", "")];
        assert_eq!(between(&files), ["a uses a/b"]);
    }

    #[test]
    fn module_is_the_path_of_its_file() {
        assert_eq!(module(Path::new("pool/mod.rs")), ["pool"]);
        assert_eq!(module(Path::new("pool/slots.rs")), ["pool", "slots"]);
        assert!(module(Path::new("lib.rs")).is_empty());
    }
}
