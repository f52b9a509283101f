//! Words that do not belong into source files.

use std::path::Path;

use crate::report::none_of;
use crate::tree::Tree;

/// Each with the reason. Cut in two, so that this file passes its own check.
const WORDS: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "what is left to do is an issue, not a comment"),
    (concat!("FIX", "ME"), "what is left to do is an issue, not a comment"),
    (concat!("#[", "ignore"), "a test that does not run proves nothing"),
    (concat!("```", "ignore"), "an example that is not compiled goes stale"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
];

/// What may follow the one for tests: this program runs them, where others had better not.
const RUN_BY_US: &str = " = \"run by `cargo xtask test`";

/// Fails for each line that has one of them.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for file in tree.files("rs").chain(tree.files("toml")) {
        findings.extend(find(file, &tree.read(file)?));
    }
    none_of(findings)
}

fn find(file: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().zip(1..);
    lines
        .flat_map(|(line, number)| {
            let found = WORDS.iter().filter(move |(word, _)| line.contains(word) && !line.contains(RUN_BY_US));
            found.map(move |(word, why)| format!("{}:{number}: `{word}`: {why}", file.display()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_told_with_its_line_and_its_reason() {
        let text = concat!("fn a() {}\n// TO", "DO: more\n");
        let findings = find(Path::new("a.rs"), text);
        assert_eq!(findings, [concat!("a.rs:2: `TO", "DO`: what is left to do is an issue, not a comment")]);
    }

    #[test]
    fn a_test_may_be_ignored_that_is_run_by_us() {
        let ignored = |why: &str| find(Path::new("a.rs"), &format!(concat!("#[", "ignore = \"{}\"]"), why));
        assert_eq!(ignored("slow").len(), 1);
        assert!(ignored("run by `cargo xtask test`, in namespaces of its own").is_empty());
    }

    #[test]
    fn the_macro_of_the_same_letters_is_clippys_affair() {
        assert!(find(Path::new("Cargo.toml"), "todo = \"deny\"").is_empty());
    }
}
