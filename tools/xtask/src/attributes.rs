//! What the attributes of an item say.

use syn::Attribute;

/// Whether this is `#[cfg(test)]`, `#[cfg(all(test, ..))]` or the like.
pub(crate) fn is_for_tests(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let tokens = list.tokens.to_string();
    let mut words = tokens.split(|c: char| !c.is_alphanumeric());
    list.path.is_ident("cfg") && words.clone().any(|word| word == "test") && !words.any(|word| word == "not")
}
