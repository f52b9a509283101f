//! `cargo xtask loom`: the core under a model checker, which runs each model in every order of its threads.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cargo::Cargo;
use crate::report::{Report, none_of};
use crate::tree::Tree;

/// Where the models are.
const FOLDER: &str = "crates/reqscope/src/loom";

/// The note that lists them.
const NOTE: &str = "docs/design/0004-loom.md";

/// Replaces the core's locks, atomics and tasks by the checker's. Not the usual cfg `loom`, which tokio reads too:
/// tokio then has no network, and the crates beside the core do not build.
const FLAG: &str = "--cfg reqscope_loom -D warnings";

/// Runs all models.
pub(crate) fn run(tree: &Tree, report: &mut Report) {
    report.step("loom: the models of the core", || {
        // One model at a time: the checker allocates so many stacks that two models in parallel wait for the kernel,
        // and take longer than in sequence. Optimized, because each model runs in hundreds of thousands of orders.
        apart(tree, "test --release --package reqscope --lib --no-fail-fast")
            .words("loom:: -- --test-threads=1")
            .run()
    });
}

/// Runs clippy over the models, so that they compile even though they run rarely.
pub(crate) fn lint(tree: &Tree) -> anyhow::Result<()> {
    // The models exist in the test profile only.
    apart(tree, "clippy --package reqscope --lib --profile test").run_quietly()
}

/// Returns a command with a target folder of its own, because the flag rebuilds every dependency.
fn apart(tree: &Tree, line: &str) -> Cargo {
    let target = tree.metadata().target_directory.join("loom");
    Cargo::new(tree, line).argument("--target-dir", target.as_std_path()).flags("RUSTFLAGS", FLAG)
}

/// Fails for each model that the note does not list, and for each name in the note that is not a model.
pub(crate) fn check_note(tree: &Tree) -> anyhow::Result<()> {
    let mut models = BTreeSet::new();
    for file in tree.files("rs").filter(|file| file.starts_with(FOLDER)) {
        let module = file.file_stem().unwrap_or_default().to_string_lossy();
        models.extend(test_names(&tree.read(file)?).map(|model| format!("{module}::{model}")));
    }
    let note = tree.read(Path::new(NOTE))?;
    let listed = listed(&note);
    let missing = models.difference(&listed).map(|model| format!("{NOTE} does not list the model `{model}`"));
    let cited = listed.iter().cloned().chain(cited(&note));
    let stale = cited.filter(|name| !models.contains(name)).map(|name| format!("{NOTE}: `{name}` is not a model"));
    none_of(missing.chain(stale).collect())
}

/// Returns the names of the functions below `#[test]`.
fn test_names(code: &str) -> impl Iterator<Item = &str> {
    let below = code.split("#[test]\n").skip(1);
    below.filter_map(|text| text.split_once("fn ")?.1.split_once('(').map(|(name, _)| name))
}

/// Returns the models in the block `models`, where they are indented below their module.
fn listed(note: &str) -> BTreeSet<String> {
    let block = note.split_once("```text models\n").and_then(|(_, rest)| rest.split_once("```"));
    let mut module = "";
    let mut models = BTreeSet::new();
    for line in block.map_or("", |(block, _)| block).lines() {
        match line.strip_prefix("  ") {
            // The end of a long line about a module.
            Some(text) if text.contains(' ') => {}
            Some(model) => {
                models.insert(format!("{module}::{model}"));
            }
            None => module = line.split(':').next().unwrap_or_default(),
        }
    }
    models
}

/// Returns the models that the table names, as in `| a line | `module::model` |`.
fn cited(note: &str) -> impl Iterator<Item = String> {
    let rows = note.lines().filter(|line| line.starts_with('|'));
    let last = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('`').nth(1));
    last.filter(|name| name.contains("::") && !name.ends_with("::")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = "a\n```text models\none: a text\n    that goes on\n  first\n  second\ntwo: b\n  third\n```\n\
                        | broken | `loom::` |\n|---|---|\n| `x`: it | `one::first` |\n";

    #[test]
    fn models_are_listed_below_their_module() {
        let expected = ["one::first", "one::second", "two::third"].map(str::to_owned);
        assert_eq!(listed(NOTE), BTreeSet::from(expected));
        assert!(cited(NOTE).eq(["one::first".to_owned()]));
    }

    #[test]
    fn models_are_found_in_the_code() {
        let code = "fn helper() {}\n\n#[test]\nfn first() {\n    model();\n}\n\n#[test]\nfn second() {}\n";
        assert!(test_names(code).eq(["first", "second"]));
    }
}
