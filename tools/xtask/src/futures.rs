//! What dropping a future loses is said in its docs: at every `async fn`, at every function that returns a future
//! without a name, at every type that is a future.

use anyhow::{Context, ensure};
use serde_json::{Map, Value};

use crate::report::none_of;
use crate::rustdoc;
use crate::tree::Tree;

/// The heading, as tokio has it.
const SECTION: &str = "# Cancel safety";

/// Fails for each public future of a published crate that does not say what its drop loses.
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

/// How many public futures there are, and those that say nothing.
fn silent(json: &Value) -> anyhow::Result<(usize, Vec<String>)> {
    let index = json["index"].as_object().context("it has no index")?;
    let futures = index.values().filter_map(|item| future(item, index));
    // A method of a trait that says nothing of its own has the docs of the trait.
    let (told, silent): (Vec<_>, Vec<_>) = futures.partition(|item| {
        let inherits = item["visibility"] == "default" && item["docs"].is_null();
        inherits || item["docs"].as_str().is_some_and(|docs| docs.contains(SECTION))
    });
    let names = silent.iter().map(|item| item["name"].as_str().unwrap_or("?").to_owned()).collect();
    Ok((told.len() + silent.len(), names))
}

/// The item whose docs have to speak, if this is a future or makes one.
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
    fn an_async_function_and_one_that_returns_a_future_have_to_speak() {
        let unnamed = json!({ "output": { "impl_trait": [{ "trait_bound": { "trait": { "path": "Future" } } }] } });
        assert_eq!(names(json!({ "1": function(Some("Gets."), "public", json!({}), true) })), ["get"]);
        assert_eq!(names(json!({ "1": function(Some("Gets."), "public", unnamed, false) })), ["get"]);
        let told = format!("Gets.\n\n{SECTION}\n\nNothing is lost.");
        assert!(names(json!({ "1": function(Some(&told), "public", json!({}), true) })).is_empty());
        assert!(names(json!({ "1": function(Some("Gets."), "public", json!({}), false) })).is_empty());
    }

    #[test]
    fn a_method_without_docs_of_its_own_has_those_of_its_trait() {
        assert!(names(json!({ "1": function(None, "default", json!({}), true) })).is_empty());
        assert_eq!(names(json!({ "1": function(Some("Gets."), "default", json!({}), true) })), ["get"]);
        assert_eq!(names(json!({ "1": function(None, "public", json!({}), true) })), ["get"]);
    }

    #[test]
    fn a_type_that_is_a_future_has_to_speak_if_it_is_shown() {
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
