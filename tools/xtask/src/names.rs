//! The names of functions: those of tests above all, which are read in a list.

use std::path::Path;

use crate::report::none_of;
use crate::tree::Tree;

/// The longest name that a function may have. What does not fit belongs in a comment above it.
const LONGEST: usize = 60;

/// Fails for each function whose name is too long.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for file in tree.files("rs") {
        findings.extend(too_long(file, &tree.read(file)?));
    }
    none_of(findings)
}

fn too_long(file: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().zip(1..).filter_map(|(line, number)| Some((function(line)?, number)));
    lines
        .filter(|(name, _)| name.len() > LONGEST)
        .map(|(name, number)| {
            format!("{}:{number}: `{name}` has {} characters, of at most {LONGEST}", file.display(), name.len())
        })
        .collect()
}

/// Returns the name of the function that the line declares.
fn function(line: &str) -> Option<&str> {
    let words = line.trim_start().strip_prefix("fn ").or_else(|| Some(line.split_once(" fn ")?.1))?;
    words.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_name_is_allowed_and_one_more_letter_is_not() {
        let line = |length: usize| format!("    pub async fn {}() {{\n", "a".repeat(length));
        assert!(too_long(Path::new("a.rs"), &line(LONGEST)).is_empty());
        assert_eq!(too_long(Path::new("a.rs"), &line(LONGEST + 1)).len(), 1);
    }

    #[test]
    fn function_is_found_behind_its_qualifiers() {
        assert_eq!(function("fn get(&self)"), Some("get"));
        assert_eq!(function("    pub(crate) async fn get<T>("), Some("get"));
        assert_eq!(function("let get = 1;"), None);
    }
}
