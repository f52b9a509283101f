//! A connection checked out of a pool and returned, beside the driver's own pool.

use std::path::Path;

use anyhow::ensure;
use reqscope_records::bench::{CheckoutRun, Questions};
use serde::Serialize;

use super::super::ask;
use super::ratio::{Must, Ratio, judge};

#[derive(Serialize)]
pub(super) struct Checkout {
    pub(super) server: String,
    checkouts: i64,
    questions: Questions,
    pub(super) ratios: [Ratio; 3],
}

impl Checkout {
    fn of(run: CheckoutRun) -> anyhow::Result<Checkout> {
        let CheckoutRun { server, checkouts, questions, waited, kept, aside } = run;
        let Questions { reqscope, driver, kept: unreset } = questions;
        // After a pause of this machine our pool may validate a connection in between.
        let as_many = |questions: i64, asked: i64| (questions - asked).abs() <= checkouts / 100;
        ensure!(
            as_many(reqscope, checkouts) && as_many(driver, checkouts) && as_many(unreset, 0),
            "the server did not do the same for both: in {checkouts} checkouts our pool asked it {reqscope} questions, the \
             driver's pool {driver}, and ours without a reset {unreset}"
        );
        let ratios = [
            judge(&waited, "checkout and return, the reset waited for", Some(Must::Most(1.2)))?,
            judge(&kept, "checkout and return without a reset, the driver's with", Some(Must::Most(0.5)))?,
            judge(&aside, "checkout and return of one of ten, the reset not waited for", None)?,
        ];
        Ok(Checkout { server, checkouts, questions, ratios })
    }
}

/// Runs the rounds.
pub(super) fn measure(program: &Path) -> anyhow::Result<Checkout> {
    Checkout::of(ask(program, &["mysql", "checkout"])?)
}

#[cfg(test)]
mod tests {
    use reqscope_records::bench::Turns;

    use super::*;

    fn is_compared(reqscope: i64, driver: i64, kept: i64) -> bool {
        let turns = || Turns { ours: vec![1.0], floor: vec![1.0], again: vec![1.0] };
        let run = CheckoutRun {
            server: "11.4".to_owned(),
            checkouts: 200,
            questions: Questions { reqscope, driver, kept },
            waited: turns(),
            kept: turns(),
            aside: turns(),
        };
        Checkout::of(run).is_ok()
    }

    #[test]
    fn pools_that_ask_the_server_differently_are_not_compared() {
        assert!(is_compared(201, 200, 0));
        assert!(!is_compared(0, 200, 0));
        assert!(!is_compared(200, 400, 0));
        assert!(!is_compared(200, 200, 200));
    }
}
