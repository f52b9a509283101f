//! The parts of a document that a command writes.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::tree::Tree;

/// Two marks in a document, with generated text between them.
pub(crate) struct Marks {
    /// The path of the document from the root.
    pub(crate) file: &'static str,
    /// The name of what is between the marks.
    pub(crate) what: &'static str,
    /// The command whose `--write` writes it.
    pub(crate) command: &'static str,
}

impl Marks {
    /// Writes the text between the marks.
    pub(crate) fn write(&self, tree: &Tree, text: &str) -> anyhow::Result<()> {
        let document = self.replace(&tree.read(Path::new(self.file))?, text);
        let document = document.with_context(|| self.missing())?;
        fs::write(tree.root().join(self.file), document).context(self.file)
    }

    /// Fails if the document has no such marks.
    pub(crate) fn check(&self, tree: &Tree) -> anyhow::Result<()> {
        let document = tree.read(Path::new(self.file))?;
        self.replace(&document, "").map(drop).with_context(|| self.missing())
    }

    fn missing(&self) -> String {
        format!("{} has no marks for the {}", self.file, self.what)
    }

    fn replace(&self, document: &str, text: &str) -> Option<String> {
        let Marks { what, command, .. } = self;
        let begin = format!("<!-- {what}: begin; written by `cargo xtask {command} --write` -->\n");
        let end = format!("<!-- {what}: end -->\n");
        let (before, rest) = document.split_once(&begin)?;
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{begin}\n{text}\n{end}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { file: "README.md", what: "prices", command: "shop" };
    const BEGIN: &str = "<!-- prices: begin; written by `cargo xtask shop --write` -->\n";
    const END: &str = "<!-- prices: end -->\n";

    #[test]
    fn only_text_between_the_marks_is_replaced() {
        let document = format!("# A\n{BEGIN}old\n{END}\nend\n");
        assert_eq!(MARKS.replace(&document, "new\n").unwrap(), format!("# A\n{BEGIN}\nnew\n\n{END}\nend\n"));
    }

    #[test]
    fn marks_of_another_command_are_not_replaced() {
        let document =
            "# A\n<!-- figures: begin; written by `cargo xtask bench --write` -->\n<!-- figures: end -->\n";
        assert_eq!(MARKS.replace(document, "new\n"), None);
    }
}
