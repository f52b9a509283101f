//! What can be told of a statement by its text.

use mysql_async::Params;
use mysql_async::prelude::AsQuery;

/// May it change the session's database? A reset leaves that as it is, and no answer tells.
///
/// Whether the word `USE` is in it: `USE INDEX` is taken for it, too, which costs a round trip when the connection is made
/// new.
pub(crate) fn names_a_database(query: &impl AsQuery) -> bool {
    let text = query.as_query();
    let is_letter = |at: usize| text.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.windows(3)
        .enumerate()
        .any(|(at, word)| word.eq_ignore_ascii_case(b"use") && !is_letter(at + 3) && (at == 0 || !is_letter(at - 1)))
}

/// The same of a prepared statement, whose text the driver keeps to itself: one with parameters is no `USE`.
pub(crate) fn is_without_any(params: &Params) -> bool {
    matches!(params, Params::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_found_wherever_it_stands() {
        for text in
            ["USE shop", "use`shop`", "/* */ Use shop", "SELECT 1;use shop", "EXECUTE IMMEDIATE 'USE shop'", "USE"]
        {
            assert!(names_a_database(&text), "{text}");
        }
    }

    #[test]
    fn words_that_only_contain_it_are_not_it() {
        for text in ["", "us", "SELECT user()", "SELECT * FROM houses", "SELECT reuse FROM t", "SELECT use_count"] {
            assert!(!names_a_database(&text), "{text}");
        }
    }
}
