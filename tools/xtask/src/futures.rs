//! Checks that docs say what is lost when a future is dropped: at every `async fn`, at every function that returns an
//! unnamed future, and at every type that is a future.

use anyhow::{Context, ensure};
use serde_json::{Map, Value};

use crate::report::none_of;
use crate::rustdoc;
use crate::tree::Tree;

/// The heading that tokio uses.
const SECTION: &str = "# Cancel safety";

/// Fails for each public future of a published crate whose docs lack the section.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    let mut futures = 0;
    for package in tree.published() {
        let shown = rustdoc::json(tree, package)?;
        let (found, silent) = silent(&shown).with_context(|| rustdoc::changed(package))?;
        futures += found;
        findings.extend(silent.into_iter().map(|item| format!("{}: {item} has no `{SECTION}`", package.name)));
    }
    ensure!(futures > 0, "no crate shows a future: rustdoc's JSON is not as it was");
    none_of(findings)
}

/// Returns how many public futures there are, and the names of those without the section.
fn silent(json: &Value) -> anyhow::Result<(usize, Vec<String>)> {
    let index = json["index"].as_object().context("it has no index")?;
    let futures = index.values().filter_map(|item| future(item, index));
    // A trait method without docs in an impl inherits those of the trait.
    let (documented, silent): (Vec<_>, Vec<_>) = futures.partition(|item| {
        let inherits = item["visibility"] == "default" && item["docs"].is_null();
        inherits || item["docs"].as_str().is_some_and(|docs| docs.contains(SECTION))
    });
    let names = silent.iter().map(|item| item["name"].as_str().unwrap_or("?").to_owned()).collect();
    Ok((documented.len() + silent.len(), names))
}

/// Returns the item whose docs need the section, if this item is a future or returns one.
fn future<'a>(item: &'a Value, index: &'a Map<String, Value>) -> Option<&'a Value> {
    let function = &item["inner"]["function"];
    if !function.is_null() {
        let is_future = function["header"]["is_async"] == true || is_unnamed_future(&function["sig"]["output"]);
        return is_future.then_some(item);
    }
    let implementation = &item["inner"]["impl"];
    if implementation["trait"]["path"] != "Future" {
        return None;
    }
    let of = index.get(&implementation["for"]["resolved_path"]["id"].to_string())?;
    (of["visibility"] == "public").then_some(of)
}

fn is_unnamed_future(output: &Value) -> bool {
    let bounds = output["impl_trait"].as_array().into_iter().flatten();
    bounds.map(|bound| &bound["trait_bound"]["trait"]["path"]).any(|path| path == "Future")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn function(docs: Option<&str>, visibility: &str, sig: Value, is_async: bool) -> Value {
        let inner = json!({ "function": { "header": { "is_async": is_async }, "sig": sig } });
        json!({ "name": "get", "visibility": visibility, "docs": docs, "inner": inner })
    }

    fn names(items: Value) -> Vec<String> {
        silent(&json!({ "index": items })).unwrap().1
    }

    #[test]
    fn async_functions_and_those_that_return_futures_count() {
        let unnamed = json!({ "output": { "impl_trait": [{ "trait_bound": { "trait": { "path": "Future" } } }] } });
        assert_eq!(names(json!({ "1": function(Some("Gets."), "public", json!({}), true) })), ["get"]);
        assert_eq!(names(json!({ "1": function(Some("Gets."), "public", unnamed, false) })), ["get"]);
        let documented = format!("Gets.\n\n{SECTION}\n\nNothing is lost.");
        assert!(names(json!({ "1": function(Some(&documented), "public", json!({}), true) })).is_empty());
        assert!(names(json!({ "1": function(Some("Gets."), "public", json!({}), false) })).is_empty());
    }

    #[test]
    fn method_without_docs_has_those_of_its_trait() {
        assert!(names(json!({ "1": function(None, "default", json!({}), true) })).is_empty());
        assert_eq!(names(json!({ "1": function(Some("Gets."), "default", json!({}), true) })), ["get"]);
        assert_eq!(names(json!({ "1": function(None, "public", json!({}), true) })), ["get"]);
    }

    #[test]
    fn type_that_is_a_future_counts_if_it_is_public() {
        let items = |visibility: &str| {
            json!({
                "1": { "inner": { "impl": { "trait": { "path": "Future" }, "for": { "resolved_path": { "id": 2 } } } } },
                "2": { "name": "Get", "visibility": visibility, "docs": "Gets.", "inner": { "struct": {} } }
            })
        };
        assert_eq!(names(items("public")), ["Get"]);
        assert!(names(items("crate")).is_empty());
    }
}
