//! Which file of the core may name which: `use crate::…`, and paths in the middle of the code.
//!
//! A name at the crate's root (`crate::Error`) counts as a name of the module that `lib.rs` exports it from. Code that
//! is compiled for tests only is free, and so is `lib.rs`, which lists everything.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use syn::visit::{self, Visit};
use syn::{Item, ItemUse, UseTree};

use crate::attributes::is_for_tests;
use crate::floors::Floors;
use crate::report::none_of;
use crate::tree::Tree;

const SOURCE: &str = "crates/reqscope/src";

/// Fails for each import of the core that does not go to a floor above.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let floors = Floors::parse(&tree.read(Path::new("ARCHITECTURE.md"))?, "text modules")?;
    let lib = parse(tree, &Path::new(SOURCE).join("lib.rs"))?;
    let exports = exports(&lib);
    let mut findings = out_of_order(&floors, &lib);
    let mut seen = Vec::new();
    for file in tree.files("rs") {
        let Some(module) = file.strip_prefix(SOURCE).ok().map(module) else { continue };
        if module.is_empty() || module.iter().any(|name| name == "tests") {
            continue;
        }
        let Some(place) = floors.place(&module) else {
            findings.push(format!("{}: has no floor in ARCHITECTURE.md", file.display()));
            continue;
        };
        for (line, path) in imports(&parse(tree, file)?, &module) {
            let target = floors.place(&path).or_else(|| floors.place(exports.get(path.first()?)?));
            let path = path.join("::");
            match target {
                None => findings.push(format!("{}:{line}: crate::{path} is on no floor", file.display())),
                Some(target) if !floors.may_import(&place, &target) => {
                    findings.push(format!("{}:{line}: {place} must not import crate::{path}", file.display()));
                }
                Some(_) => {}
            }
        }
        seen.push(place);
    }
    let stale = floors.names().filter(|name| !seen.iter().any(|place| place == name));
    findings.extend(stale.map(|name| format!("{name}: stands in ARCHITECTURE.md, but there is no such module")));
    none_of(findings)
}

fn parse(tree: &Tree, file: &Path) -> anyhow::Result<syn::File> {
    syn::parse_file(&tree.read(file)?).with_context(|| file.display().to_string())
}

/// `pool/mod.rs` is `pool`, `pool/slots.rs` is `pool, slots`, `lib.rs` is nothing.
fn module(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    let names = names.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "mod" && name != "lib").collect()
}

/// The modules that `lib.rs` lists after one of a higher floor.
fn out_of_order(floors: &Floors, lib: &syn::File) -> Vec<String> {
    let modules = lib.items.iter().filter_map(|item| if let Item::Mod(item) = item { Some(item) } else { None });
    let names: Vec<String> = modules.map(|item| item.ident.to_string()).filter(|name| floors.has(name)).collect();
    let pairs = names.windows(2).filter(|pair| floors.is_above(&pair[0], &pair[1]));
    pairs.map(|pair| format!("lib.rs: lists {} before {}, which stands on a lower floor", pair[0], pair[1])).collect()
}

/// What `lib.rs` exports, and the path it has inside.
fn exports(lib: &syn::File) -> HashMap<String, Vec<String>> {
    let uses = lib.items.iter().filter_map(|item| if let Item::Use(item) = item { Some(item) } else { None });
    let paths = uses.flat_map(|item| leaves(&item.tree));
    paths.filter_map(|path| Some((path.last()?.clone(), path))).collect()
}

/// All paths into the own crate, with their lines, as they are from the crate's root.
fn imports(file: &syn::File, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut imports = Imports { module: module.to_vec(), found: Vec::new() };
    imports.visit_file(file);
    imports.found
}

struct Imports {
    module: Vec<String>,
    found: Vec<(usize, Vec<String>)>,
}

impl Imports {
    fn add(&mut self, line: usize, path: &[String]) {
        let mut names = path.iter().map(String::as_str).peekable();
        let mut root = match names.next() {
            Some("crate") => Vec::new(),
            Some("self") => self.module.clone(),
            Some("super") => parent(&self.module),
            _ => return,
        };
        while names.next_if_eq(&"super").is_some() {
            root = parent(&root);
        }
        root.extend(names.map(str::to_owned));
        self.found.push((line, root));
    }
}

fn parent(module: &[String]) -> Vec<String> {
    module.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default()
}

impl<'ast> Visit<'ast> for Imports {
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

    // `pub use` lists what a module exports; it depends on nothing.
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if matches!(item.vis, syn::Visibility::Public(_)) {
            return;
        }
        let line = item.use_token.span.start().line;
        for path in leaves(&item.tree) {
            self.add(line, &path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first().filter(|_| names.len() > 1) {
            self.add(first.ident.span().start().line, &names);
        }
        visit::visit_path(self, path);
    }

    // `pub(in crate::a)` says who may look in, it imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// The paths of a `use`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn leaves(tree: &UseTree) -> Vec<Vec<String>> {
    match tree {
        UseTree::Path(path) => {
            let mut below = leaves(&path.tree);
            below.iter_mut().for_each(|leaf| leaf.insert(0, path.ident.to_string()));
            below
        }
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
        UseTree::Name(name) if name.ident == "self" => vec![Vec::new()],
        UseTree::Name(name) => vec![vec![name.ident.to_string()]],
        UseTree::Rename(rename) => vec![vec![rename.ident.to_string()]],
        UseTree::Glob(_) => vec![Vec::new()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(module: &str, code: &str) -> Vec<String> {
        let module: Vec<String> = module.split('/').map(str::to_owned).collect();
        let file = syn::parse_file(code).unwrap();
        imports(&file, &module).into_iter().map(|(line, path)| format!("{line} {}", path.join("::"))).collect()
    }

    #[test]
    fn a_use_is_taken_apart_into_its_paths() {
        let code = "use crate::{Error, pool::{self, slots::Slot}};\nuse std::fmt;\nuse crate::wrap::*;";
        assert_eq!(found("scope", code), ["1 Error", "1 pool", "1 pool::slots::Slot", "3 wrap"]);
    }

    #[test]
    fn super_and_self_are_followed_from_the_files_own_place() {
        let code = "use super::retry::Retry;\nuse self::stage::Stage;\nuse super::super::exit::Exit;";
        assert_eq!(
            found("wrap/timeout", code),
            ["1 wrap::retry::Retry", "2 wrap::timeout::stage::Stage", "3 exit::Exit"]
        );
    }

    #[test]
    fn super_inside_of_an_inline_module_is_the_file() {
        assert_eq!(found("lazy", "mod state {\n    use super::Lazy;\n}"), ["2 lazy::Lazy"]);
    }

    #[test]
    fn a_path_in_the_middle_of_the_code_counts() {
        let code = "fn a() -> crate::Exit {\n    crate::scope::open()\n}";
        assert_eq!(found("exit", code), ["1 Exit", "2 scope::open"]);
    }

    #[test]
    fn code_for_tests_is_free() {
        let code = "#[cfg(test)]\nmod tests { use crate::scope::Scope; }\n#[cfg(not(test))]\nuse crate::exit::Exit;";
        assert_eq!(found("lazy", code), ["4 exit::Exit"]);
    }

    #[test]
    fn a_name_at_the_root_belongs_to_the_module_it_is_exported_from() {
        let lib = syn::parse_file("mod wrap;\npub use wrap::retry::{Retry, Policy as RetryPolicy};").unwrap();
        assert_eq!(exports(&lib)["Retry"], ["wrap", "retry", "Retry"]);
    }

    #[test]
    fn the_tour_goes_through_the_floors_in_their_order() {
        let floors = Floors::parse("```text modules\nexit: a\nsync, time: b\nlazy: c\n```", "text modules").unwrap();
        let order = |code| out_of_order(&floors, &syn::parse_file(code).unwrap());
        assert!(order("mod exit; mod time; mod sync; mod lazy;").is_empty());
        assert_eq!(
            order("mod exit; mod lazy; mod sync;"),
            ["lib.rs: lists lazy before sync, which stands on a lower floor"]
        );
    }

    #[test]
    fn a_file_is_the_module_of_its_path() {
        assert_eq!(module(Path::new("pool/mod.rs")), ["pool"]);
        assert_eq!(module(Path::new("pool/slots.rs")), ["pool", "slots"]);
        assert!(module(Path::new("lib.rs")).is_empty());
    }
}
