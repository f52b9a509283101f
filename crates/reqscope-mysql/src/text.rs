//! Judges a statement by its text.

use mysql_async::prelude::AsQuery;

/// A statement without any of these words cannot change the session's database (dropping the current one leaves none)
/// or its role. A procedure may change either, hence `CALL`.
const WORDS: [&[u8]; 6] = [b"use", b"database", b"schema", b"role", b"authorization", b"call"];

/// Returns whether a statement may change what a reset does not restore: the session's database or its role.
///
/// It may if it contains one of [`WORDS`]. A `USE INDEX` and a `SELECT DATABASE()` are false positives, which cost a
/// round trip when the connection is reset.
pub(crate) fn may_outlive_reset(query: &impl AsQuery) -> bool {
    query
        .as_query()
        .split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_is_found_anywhere_in_the_text() {
        for text in [
            "USE shop",
            "use`shop`",
            "/* */ Use shop",
            "SELECT 1;use shop",
            "EXECUTE IMMEDIATE 'USE shop'",
            "USE",
            "DROP DATABASE shop",
            "create or replace schema`shop`",
            "SET ROLE boss",
            "CALL become_boss()",
        ] {
            assert!(may_outlive_reset(&text), "{text}");
        }
    }

    #[test]
    fn longer_words_that_contain_one_do_not_count() {
        for text in [
            "",
            "us",
            "SELECT user()",
            "SELECT current_role()",
            "SELECT * FROM houses",
            "SELECT reuse FROM t",
            "SELECT use_count",
            "SELECT * FROM information_schema.t",
        ] {
            assert!(!may_outlive_reset(&text), "{text}");
        }
    }
}
