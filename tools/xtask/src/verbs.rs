//! The first doc line of a public function begins with a verb in the third person: "Returns", "Sets", "Waits until".

use std::path::Path;

use anyhow::{Context, ensure};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItemFn, Item, ItemFn, ItemImpl, ItemTrait, Lit, Meta, TraitItemFn, Visibility};

use crate::attributes::is_for_tests;
use crate::tree::Tree;

/// The least share of functions, in per cent, that must do so. In tokio it is 86 %.
const LEAST: usize = 80;

/// First words with an "s" at their end that are no such verb.
const NO_VERBS: [&str; 10] = ["This", "Its", "As", "Always", "Is", "Was", "Has", "Does", "Less", "Yes"];

/// Prints the share over all published crates. Fails, with the other functions, if it is too small.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut functions = Functions::default();
    for file in tree.files("rs").filter(|file| is_published(file)) {
        let parsed = syn::parse_file(&tree.read(file)?).with_context(|| file.display().to_string())?;
        functions.file = file.display().to_string();
        functions.visit_file(&parsed);
    }
    let Functions { all, others, .. } = functions;
    ensure!(all > 0, "no public function has docs");
    let share = 100.0 * (all - others.len()) as f64 / all as f64;
    println!("{} of {all} public functions: {share:.1} % (must: >= {LEAST} %)", all - others.len());
    ensure!(share >= LEAST as f64, "{}", others.join("\n"));
    Ok(())
}

/// Whether the file is the source of a published crate.
fn is_published(file: &Path) -> bool {
    let mut names = file.iter().map(|name| name.to_string_lossy());
    names.next().is_some_and(|name| name == "crates")
        && names.nth(1).is_some_and(|name| name == "src")
        && names.all(|name| name != "tests" && name != "tests.rs")
}

/// Public functions with docs, as they are found.
#[derive(Default)]
struct Functions {
    file: String,
    all: usize,
    /// Those whose docs begin with another word: where each is, and its first line.
    others: Vec<String>,
}

impl Functions {
    fn add(&mut self, visibility: &Visibility, attributes: &[Attribute], name: &syn::Ident) {
        let Some(line) = first_line(attributes) else { return };
        if !matches!(visibility, Visibility::Public(_)) || is_hidden(attributes) {
            return;
        }
        self.all += 1;
        if !begins_with_verb(&line) {
            self.others.push(format!("{}:{}: `{name}`: {line}", self.file, name.span().start().line));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.add(&item.vis, &item.attrs, &item.sig.ident);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add(&item.vis, &item.attrs, &item.sig.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        for method in &item.items {
            if let syn::TraitItem::Fn(TraitItemFn { attrs, sig, .. }) = method {
                self.add(&item.vis, attrs, &sig.ident);
            }
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        // Methods of a trait have the docs of the trait.
        if item.trait_.is_none() {
            visit::visit_item_impl(self, item);
        }
    }
}

/// Returns the first line of the docs that these attributes are made of.
fn first_line(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(expr) => match &expr.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// `#[doc(hidden)]`
fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("doc") && list.tokens.to_string() == "hidden",
        _ => false,
    })
}

fn begins_with_verb(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default().trim_end_matches([',', '.', ':', ';']);
    let is_word = word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphabetic);
    is_word && word.ends_with('s') && !NO_VERBS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(code: &str) -> (usize, Vec<String>) {
        let mut functions = Functions { file: "a.rs".to_owned(), ..Functions::default() };
        functions.visit_file(&syn::parse_file(code).unwrap());
        (functions.all, functions.others)
    }

    #[test]
    fn verb_is_a_capitalized_word_that_ends_in_s() {
        assert!(begins_with_verb("Returns it."));
        assert!(begins_with_verb("Wakes, then waits."));
        for line in ["The handle.", "returns it.", "This returns it.", "`Guards` it.", "Is it closed?", ""] {
            assert!(!begins_with_verb(line), "{line}");
        }
    }

    #[test]
    fn functions_methods_and_methods_of_public_traits_count() {
        let code = "/// A.\npub fn a() {}\nimpl B {\n/// Returns.\npub fn b() {}\n}\n\
                    pub trait C {\n/// C.\nfn c();\n}\n";
        assert_eq!(others(code), (3, vec!["a.rs:2: `a`: A.".to_owned(), "a.rs:9: `c`: C.".to_owned()]));
    }

    #[test]
    fn private_hidden_and_test_functions_do_not_count() {
        let code = "/// A.\nfn a() {}\n/// B.\n#[doc(hidden)]\npub fn b() {}\n#[cfg(test)]\nmod c {\n/// C.\npub fn c() {}\n}\n\
                    impl Drop for D {\n/// D.\nfn drop(&mut self) {}\n}\n";
        assert_eq!(others(code), (0, Vec::new()));
    }
}
