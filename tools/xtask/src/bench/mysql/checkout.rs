//! A connection taken out of a pool and given back, beside the driver's own pool.

use std::path::Path;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::super::ask;
use super::ratio::{Must, Ratio, Turns};

/// What `reqscope-bench mysql checkout` has seen.
#[derive(Deserialize)]
struct Seen {
    server: String,
    checkouts: i64,
    questions: Questions,
    waited: Turns,
    kept: Turns,
    aside: Turns,
}

/// How many the server was asked for so many checkouts. It counts a COM_RESET_CONNECTION as one.
#[derive(Deserialize, Serialize)]
struct Questions {
    reqscope: i64,
    driver: i64,
    kept: i64,
}

#[derive(Serialize)]
pub(super) struct Checkout {
    pub(super) server: String,
    checkouts: i64,
    questions: Questions,
    pub(super) ratios: [Ratio; 3],
}

impl Seen {
    fn judge(self) -> anyhow::Result<Checkout> {
        let Seen { server, checkouts, questions, waited, kept, aside } = self;
        let Questions { reqscope, driver, kept: unreset } = questions;
        // A pause of this machine may have one of ours look after a connection in between.
        let as_many = |questions: i64, asked: i64| (questions - asked).abs() <= checkouts / 100;
        ensure!(
            as_many(reqscope, checkouts) && as_many(driver, checkouts) && as_many(unreset, 0),
            "the server did not do the same for both: in {checkouts} checkouts it was asked {reqscope} questions by ours, \
             {driver} by the driver's pool, and {unreset} by ours without a reset"
        );
        let ratios = [
            waited.judge("checkout and return, the reset waited for", Some(Must::Most(1.2)))?,
            kept.judge("checkout and return without a reset, the driver's with", Some(Must::Most(0.5)))?,
            aside.judge("checkout and return of one of ten, the reset not waited for", None)?,
        ];
        Ok(Checkout { server, checkouts, questions, ratios })
    }
}

/// Plays the rounds.
pub(super) fn measure(program: &Path) -> anyhow::Result<Checkout> {
    ask::<Seen>(program, &["mysql", "checkout"])?.judge()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(questions: &str) -> Seen {
        let turns = r#"{"reqscope": [1], "driver": [1], "again": [1]}"#;
        let seen = format!(
            r#"{{"server": "11.4", "checkouts": 200, "questions": {questions},
                "waited": {turns}, "kept": {turns}, "aside": {turns}}}"#
        );
        serde_json::from_str(&seen).unwrap()
    }

    #[test]
    fn pools_that_have_the_server_do_something_else_are_not_compared() {
        assert!(seen(r#"{"reqscope": 201, "driver": 200, "kept": 0}"#).judge().is_ok());
        assert!(seen(r#"{"reqscope": 0, "driver": 200, "kept": 0}"#).judge().is_err());
        assert!(seen(r#"{"reqscope": 200, "driver": 400, "kept": 0}"#).judge().is_err());
        assert!(seen(r#"{"reqscope": 200, "driver": 200, "kept": 200}"#).judge().is_err());
    }
}
