//! What a fault script found.

use serde::{Deserialize, Serialize};

/// One cell of the honesty table; a script says it from what it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "saw", rename_all = "lowercase")]
pub(crate) enum Verdict {
    Pass,
    /// What was seen instead.
    Fail(String),
    /// The contender has nothing that the fault could be about.
    #[serde(rename = "not offered")]
    NotOffered,
}

/// One line of what the subcommands print.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) row: &'static str,
    pub(crate) contender: String,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_seen_where_there_is_something_to_say() {
        let line =
            |verdict| serde_json::to_string(&Judged { row: "hang", contender: "pool".to_owned(), verdict }).unwrap();
        assert_eq!(line(Verdict::Pass), r#"{"row":"hang","contender":"pool","verdict":"pass"}"#);
        assert_eq!(
            line(Verdict::Fail("it hung".to_owned())),
            r#"{"row":"hang","contender":"pool","verdict":"fail","saw":"it hung"}"#
        );
        assert_eq!(line(Verdict::NotOffered), r#"{"row":"hang","contender":"pool","verdict":"not offered"}"#);
    }
}
