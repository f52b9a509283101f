//! What can be told of a statement by its text.

use mysql_async::Params;
use mysql_async::prelude::AsQuery;

/// The words without which no statement changes the session's database: to go to one, or to drop or replace the one that it
/// is in, which leaves it in none.
const WORDS: [&[u8]; 3] = [b"use", b"database", b"schema"];

/// May it change the session's database? A reset leaves that as it is, and no answer tells.
///
/// Whether one of those words is in it: `USE INDEX` and `SELECT DATABASE()` are taken for it, too, which costs a round trip
/// when the connection is made new.
pub(crate) fn names_a_database(query: &impl AsQuery) -> bool {
    query
        .as_query()
        .split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
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
        for text in [
            "USE shop",
            "use`shop`",
            "/* */ Use shop",
            "SELECT 1;use shop",
            "EXECUTE IMMEDIATE 'USE shop'",
            "USE",
            "DROP DATABASE shop",
            "create or replace schema`shop`",
        ] {
            assert!(names_a_database(&text), "{text}");
        }
    }

    #[test]
    fn words_that_only_contain_it_are_not_it() {
        for text in [
            "",
            "us",
            "SELECT user()",
            "SELECT * FROM houses",
            "SELECT reuse FROM t",
            "SELECT use_count",
            "SELECT * FROM information_schema.t",
        ] {
            assert!(!names_a_database(&text), "{text}");
        }
    }
}
