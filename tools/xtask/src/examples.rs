//! Checks that every public item of a crate has an example.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::report::none_of;
use crate::rustdoc;
use crate::tree::Tree;

/// The kinds of items that need an example of their own. Methods may rely on the example of their type.
const KINDS: [&str; 7] = ["struct", "enum", "union", "trait", "type_alias", "function", "macro"];

/// Fails for each public item of a published crate whose docs contain no code.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for package in tree.published() {
        let shown = rustdoc::json(tree, package)?;
        let bare = without_example(&shown).with_context(|| rustdoc::changed(package))?;
        findings.extend(bare.into_iter().map(|item| format!("{}: {item} has no example", package.name)));
    }
    none_of(findings)
}

/// Returns the public items without an example, wherever in the crate they are defined.
fn without_example(json: &Value) -> anyhow::Result<Vec<String>> {
    let index = json["index"].as_object().context("it has no index")?;
    let shown = shown(&json["root"], index)?;
    ensure!(!shown.is_empty(), "it shows nothing that is public");
    let bare = shown.into_iter().filter(|(_, _, docs)| !docs.contains("```"));
    Ok(bare.map(|(kind, name, _)| format!("{kind} {name}")).collect())
}

/// Returns the kind, the name and the docs of everything that can be reached from a module.
fn shown<'a>(
    module: &Value,
    index: &'a serde_json::Map<String, Value>,
) -> anyhow::Result<Vec<(&'a str, &'a str, &'a str)>> {
    let mut shown = Vec::new();
    let mut reached = vec![module.to_string()];
    while let Some(id) = reached.pop() {
        // An item of another crate is not in the index; its docs are in that crate.
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
    use serde_json::json;

    use super::*;

    #[test]
    fn item_is_found_through_modules_and_re_exports() {
        let json = json!({ "root": 0, "index": {
            "0": { "crate_id": 0, "inner": { "module": { "items": [1, 2] } } },
            "1": { "crate_id": 0, "name": "Told", "docs": "```\n```", "inner": { "struct": {} } },
            "2": { "crate_id": 0, "inner": { "use": { "id": 3 } } },
            "3": { "crate_id": 0, "name": "bare", "docs": null, "inner": { "function": {} } }
        } });
        assert_eq!(without_example(&json).unwrap(), ["function bare"]);
    }

    #[test]
    fn unknown_format_is_an_error_and_not_a_clean_crate() {
        assert!(without_example(&json!({})).is_err());
        assert!(without_example(&json!({ "root": { "id": 0 }, "index": {} })).is_err());
        let renamed = json!({ "root": 0, "index": { "0": { "inner": { "module": { "children": [1] } } } } });
        assert!(without_example(&renamed).is_err());
    }
}
