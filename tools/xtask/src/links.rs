//! Checks the links in Markdown files that lead to a file of the repository.

use pulldown_cmark::{Event, Parser, Tag};

use crate::report::none_of;
use crate::tree::Tree;

/// Fails for each link to a file or folder that does not exist. Links to web pages are not followed.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for file in tree.files("md") {
        let folder = tree.root().join(file.parent().expect("a file lies in a folder"));
        let text = tree.read(file)?;
        let dead = targets(&text).into_iter().filter(|target| !folder.join(target).exists());
        findings.extend(dead.map(|target| format!("{}: links to {target}, which is not there", file.display())));
    }
    none_of(findings)
}

/// Returns the relative targets in a document, without their `#anchors`.
fn targets(text: &str) -> Vec<String> {
    let links = Parser::new(text).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url),
        _ => None,
    });
    let files = links.filter(|target| !target.contains(':')).filter_map(|target| {
        let (file, _anchor) = target.split_once('#').unwrap_or((&target, ""));
        (!file.is_empty()).then(|| file.to_owned())
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found_wherever_they_are_written() {
        let text = "[a](A.md#top) and [b]\n\n| [c](c/) |\n|---|\n\n[b]: b.rs\n";
        assert_eq!(targets(text), ["A.md", "b.rs", "c/"]);
    }

    #[test]
    fn web_links_anchors_and_code_are_ignored() {
        assert!(targets("[a](https://x.y/z) [b](#b) `[c](c.md)`\n\n```text\n[d](d.md)\n```\n").is_empty());
    }
}
