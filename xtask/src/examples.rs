//! An example for everything that a crate shows, as rustdoc sees it.
//!
//! rustdoc tells what is public as JSON, whose format is not stable yet. So it is read loosely, and a crate in which
//! nothing at all is found fails: that is how a changed format would look.

use std::fs;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cargo::Cargo;
use crate::report::none_of;
use crate::tree::Tree;

/// What must have an example on its own page. A method may leave it to the example of its type.
const KINDS: [&str; 7] = ["struct", "enum", "union", "trait", "type_alias", "function", "macro"];

/// Fails for each public item of a published crate whose docs have no code in them.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    // Build scripts look at `RUSTC_BOOTSTRAP` too: in the common folder each change of it would build half the
    // dependencies anew.
    let target = tree.metadata().target_directory.join("examples");
    let mut findings = Vec::new();
    for package in tree.published() {
        // The format is behind an unstable option, which a stable rustdoc takes only so.
        Cargo::new(tree, format!("rustdoc --package {} --lib --all-features", package.name))
            .argument("--target-dir", target.as_std_path())
            // With the cfg of docs.rs, whose pages are built with unstable features, too.
            .flags("RUSTDOCFLAGS", "--cfg docsrs -Z unstable-options --output-format json")
            .flags("RUSTC_BOOTSTRAP", "1")
            .run_quietly()?;
        let name = package.name.replace('-', "_");
        let file = target.join("doc").join(name).with_extension("json");
        let text = fs::read_to_string(&file).with_context(|| file.to_string())?;
        let bare = without_example(&text).with_context(|| format!("{file}: rustdoc's JSON is not as it was"))?;
        findings.extend(bare.into_iter().map(|item| format!("{}: {item} has no example", package.name)));
    }
    none_of(findings)
}

/// The public items without an example, wherever in the crate they are defined.
fn without_example(json: &str) -> anyhow::Result<Vec<String>> {
    let json: Value = serde_json::from_str(json)?;
    let index = json["index"].as_object().context("it has no index")?;
    let shown = shown(&json["root"], index)?;
    ensure!(!shown.is_empty(), "it shows nothing that is public");
    let bare = shown.into_iter().filter(|(_, _, docs)| !docs.contains("```"));
    Ok(bare.map(|(kind, name, _)| format!("{kind} {name}")).collect())
}

/// The kind, the name and the docs of everything that can be reached from a module.
fn shown<'a>(
    module: &Value,
    index: &'a serde_json::Map<String, Value>,
) -> anyhow::Result<Vec<(&'a str, &'a str, &'a str)>> {
    let mut shown = Vec::new();
    let mut reached = vec![module.to_string()];
    while let Some(id) = reached.pop() {
        // What comes from another crate is not in the index, and has its docs there.
        let Some(item) = index.get(&id) else { continue };
        let (kind, inner) = item["inner"].as_object().and_then(|inner| inner.iter().next()).context("no kind")?;
        match kind.as_str() {
            "module" => reached.extend(inner["items"].as_array().context("no items")?.iter().map(Value::to_string)),
            "use" => reached.push(inner["id"].to_string()),
            kind if KINDS.contains(&kind) && item["crate_id"] == 0 => {
                let name = item["name"].as_str().context("no name")?;
                shown.push((kind, name, item["docs"].as_str().unwrap_or_default()));
            }
            _ => {}
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_found_through_modules_and_re_exports() {
        let json = r#"{ "root": 0, "index": {
            "0": { "crate_id": 0, "inner": { "module": { "items": [1, 2] } } },
            "1": { "crate_id": 0, "name": "Told", "docs": "```\n```", "inner": { "struct": {} } },
            "2": { "crate_id": 0, "inner": { "use": { "id": 3 } } },
            "3": { "crate_id": 0, "name": "bare", "docs": null, "inner": { "function": {} } }
        } }"#;
        assert_eq!(without_example(json).unwrap(), ["function bare"]);
    }

    #[test]
    fn another_format_is_an_error_and_not_a_clean_crate() {
        assert!(without_example("{}").is_err());
        assert!(without_example(r#"{ "root": { "id": 0 }, "index": {} }"#).is_err());
        let renamed = r#"{ "root": 0, "index": { "0": { "inner": { "module": { "children": [1] } } } } }"#;
        assert!(without_example(renamed).is_err());
    }
}
