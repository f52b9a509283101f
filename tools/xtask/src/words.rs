//! Words that do not belong in the repository.

use std::path::Path;

use crate::report::none_of;
use crate::tree::Tree;

/// What is searched for in `.rs` and `.toml` files as it stands here, each with the reason.
const TEXTS: &[(&str, &str)] = &[
    ("TODO", "what is left to do is an issue, not a comment"),
    ("FIXME", "what is left to do is an issue, not a comment"),
    ("#[ignore", "a test that does not run proves nothing"),
    ("```ignore", "an example that is not compiled goes stale"),
    ("/home/", "a path of one machine"),
    ("/Users/", "a path of one machine"),
    ("/root/", "a path of one machine"),
];

/// What is searched for in `.rs` and `.md` files as whole words, whatever their case.
const PHRASES: &[&str] =
    &["whoever", "whom", "somebody", "nobody", "come what may", "in vain", "for ever", "how-manieth"];

const PHRASES_REASON: &str = "name the subject and say it plainly: docs/STYLE.md, \"Voice\"";

/// The files that have to spell the words: this one and the one that bans them.
const EXEMPT: [&str; 2] = [file!(), "docs/STYLE.md"];

/// What may follow `#[ignore`: `cargo xtask test` runs these tests, in an environment that others had better not have.
const RUN_BY_US: &str = " = \"run by `cargo xtask test`";

/// Fails for each line that contains one of the words.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for extension in ["rs", "toml", "md"] {
        for file in tree.files(extension).filter(|file| !EXEMPT.iter().any(|exempt| *file == Path::new(exempt))) {
            let text = tree.read(file)?;
            if extension != "md" {
                findings.extend(texts(file, &text));
            }
            if extension != "toml" {
                findings.extend(phrases(file, &text));
            }
        }
    }
    none_of(findings)
}

fn texts(file: &Path, text: &str) -> Vec<String> {
    find(file, text, |line| {
        let found = TEXTS.iter().filter(move |(word, _)| line.contains(word) && !line.contains(RUN_BY_US));
        found.copied().collect()
    })
}

/// A name in snake case is read as the words that it is made of.
fn phrases(file: &Path, text: &str) -> Vec<String> {
    find(file, text, |line| {
        let line = line.to_lowercase().replace('_', " ");
        PHRASES.iter().filter(|phrase| has_phrase(&line, phrase)).map(|phrase| (*phrase, PHRASES_REASON)).collect()
    })
}

/// Returns one finding for each word that `find` returns for a line.
fn find(file: &Path, text: &str, find: impl Fn(&str) -> Vec<(&'static str, &'static str)>) -> Vec<String> {
    let lines = text.lines().zip(1..);
    let found = lines.flat_map(|(line, number)| find(line).into_iter().map(move |found| (number, found)));
    found.map(|(number, (word, why))| format!("{}:{number}: `{word}`: {why}", file.display())).collect()
}

/// Whether the phrase stands in the line with no letter or digit right before or after it.
fn has_phrase(line: &str, phrase: &str) -> bool {
    line.match_indices(phrase).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + phrase.len()..].chars().next();
        !before.into_iter().chain(after).any(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_has_the_line_and_the_reason() {
        let findings = texts(Path::new("a.rs"), "fn a() {}\n// TODO: more\n");
        assert_eq!(findings, ["a.rs:2: `TODO`: what is left to do is an issue, not a comment"]);
    }

    #[test]
    fn ignored_test_is_allowed_if_xtask_runs_it() {
        let ignored = |why: &str| texts(Path::new("a.rs"), &format!("#[ignore = \"{why}\"]"));
        assert_eq!(ignored("slow").len(), 1);
        assert!(ignored("run by `cargo xtask test`, in namespaces of its own").is_empty());
    }

    // `todo = "deny"` configures clippy's lint of that name.
    #[test]
    fn macro_of_the_same_letters_is_allowed() {
        assert!(texts(Path::new("Cargo.toml"), "todo = \"deny\"").is_empty());
    }

    #[test]
    fn phrase_is_found_in_any_case_and_in_names() {
        let found = |line: &str| phrases(Path::new("a.rs"), line).len();
        assert_eq!(found("// Nobody waits in vain."), 2);
        assert_eq!(found("fn a_guard_that_nobody_has() {}"), 1);
        assert_eq!(found("// for every one, within vains, nobodys"), 0);
    }
}
