//! The parts of a README.md that a chore writes.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::tree::Tree;

/// Two marks in a document.
pub(crate) struct Marks {
    /// From the root.
    pub(crate) file: &'static str,
    /// What stands between them.
    pub(crate) what: &'static str,
    /// Whose `--write` has put it there.
    pub(crate) chore: &'static str,
}

impl Marks {
    /// Puts the text between them.
    pub(crate) fn write(&self, tree: &Tree, text: &str) -> anyhow::Result<()> {
        let document = self.replace(&tree.read(Path::new(self.file))?, text);
        let document = document.with_context(|| format!("{} has no marks for the {}", self.file, self.what))?;
        fs::write(tree.root().join(self.file), document).context(self.file)
    }

    fn replace(&self, document: &str, text: &str) -> Option<String> {
        let Marks { what, chore, .. } = self;
        let begin = format!("<!-- {what}: begin; written by `cargo xtask {chore} --write` -->\n");
        let end = format!("<!-- {what}: end -->\n");
        let (before, rest) = document.split_once(&begin)?;
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{begin}\n{text}\n{end}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { file: "README.md", what: "prices", chore: "shop" };
    const BEGIN: &str = "<!-- prices: begin; written by `cargo xtask shop --write` -->\n";
    const END: &str = "<!-- prices: end -->\n";

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let document = format!("# A\n{BEGIN}old\n{END}\nend\n");
        assert_eq!(MARKS.replace(&document, "new\n").unwrap(), format!("# A\n{BEGIN}\nnew\n\n{END}\nend\n"));
    }

    #[test]
    fn the_marks_of_another_are_left_alone() {
        let document =
            "# A\n<!-- figures: begin; written by `cargo xtask bench --write` -->\n<!-- figures: end -->\n";
        assert_eq!(MARKS.replace(document, "new\n"), None);
    }
}
