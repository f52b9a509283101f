//! What can be told of a statement by its text.

use mysql_async::prelude::AsQuery;

/// The words without which no statement leaves the session with another database (or with none, where the one that it is in
/// is dropped), or another role. A procedure may take one as well.
const WORDS: [&[u8]; 6] = [b"use", b"database", b"schema", b"role", b"authorization", b"call"];

/// May it lead the session to where no reset brings it back from?
///
/// Whether one of those words is in it. A `USE INDEX` and a `SELECT DATABASE()` are taken for it, too, which costs a round
/// trip when the connection is made new.
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
    fn a_word_is_found_wherever_it_stands() {
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
    fn words_that_only_contain_it_are_not_it() {
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
