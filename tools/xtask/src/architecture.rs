//! The lists in ARCHITECTURE.md that checks read.

use std::path::Path;

use anyhow::Context;

use crate::imports::Import;

pub(crate) const DOCUMENT: &str = "ARCHITECTURE.md";

/// Returns the lines of the fenced block with this info string.
pub(crate) fn block<'a>(document: &'a str, info: &str) -> Option<impl Iterator<Item = &'a str>> {
    let fence = format!("```{info}");
    let mut lines = document.lines().skip_while(move |line| *line != fence);
    lines.next()?;
    Some(lines.take_while(|line| *line != "```"))
}

/// An import that may be part of a circle, and may go up the floors.
#[derive(Debug, PartialEq)]
pub(crate) struct Exception {
    pub(crate) from: String,
    pub(crate) to: String,
}

impl Exception {
    pub(crate) fn of(from: &str, to: &str) -> Exception {
        Exception { from: from.to_owned(), to: to.to_owned() }
    }

    /// Returns whether this import is the exception.
    pub(crate) fn is_for(&self, import: &Import<'_>) -> bool {
        import.file == Path::new(&self.from) && import.to_file == Path::new(&self.to)
    }
}

/// Returns the imports that ARCHITECTURE.md excepts.
pub(crate) fn exceptions(document: &str) -> anyhow::Result<Vec<Exception>> {
    let lines = block(document, "text circles").into_iter().flatten();
    let parsed = lines.filter(|line| !line.starts_with(' ')).map(|line| {
        let words = line.split_once(": ").and_then(|(files, _)| files.split_once(" -> "));
        let (from, to) = words.with_context(|| format!("no `from -> to: reason` in `{line}`"))?;
        Ok(Exception::of(from, to))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exception_needs_two_files_and_a_reason() {
        let list = "```text circles\na -> b: so\n  it is\n```\n";
        assert_eq!(exceptions(list).unwrap(), [Exception::of("a", "b")]);
        assert!(exceptions("```text circles\na -> b\n```\n").is_err());
        assert!(exceptions("# A\n").unwrap().is_empty());
    }
}
