//! Plays a script in a thread and a runtime of its own, and gives it a limit.

use std::any::Any;
use std::future::Future;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime;

use super::cell::LazyCell;
use super::contenders::{Name, Visitor};
use super::rows::Row;
use super::stage::Flaw;
use crate::verdict::{Judged, Verdict};

/// Far above what a script takes whose every wait runs out.
const LIMIT: Duration = Duration::from_secs(10);

/// What this contender makes of this script.
pub(crate) fn judge(row: Row, name: Name) -> Judged {
    Judged { row: row.name(), contender: name.to_string(), verdict: name.visit(Judge(row)) }
}

struct Judge(Row);

impl Visitor for Judge {
    type Output = Verdict;

    fn visit<C: LazyCell>(self) -> Verdict {
        verdict(LIMIT, self.0.play::<C>())
    }
}

/// A script that is not done in time has hung, even where it blocks its thread; one that panics has failed.
pub(crate) fn verdict(limit: Duration, script: impl Future<Output = Result<(), Flaw>> + Send + 'static) -> Verdict {
    let (says, said) = mpsc::channel();
    // It is not joined: one that blocks ends with the process.
    let thread = thread::spawn(move || {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().expect("threads and files are left");
        let verdict = Verdict::from(runtime.block_on(script));
        runtime.shutdown_background();
        // Nobody listens any more if the limit has passed.
        says.send(verdict).ok();
    });
    match said.recv_timeout(limit) {
        Ok(verdict) => verdict,
        Err(mpsc::RecvTimeoutError::Timeout) => Verdict::Fail(format!("not done after {limit:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let panic = thread.join().expect_err("it says what it has found, or panics");
            Verdict::Fail(format!("panicked: {}", message(&*panic)))
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("with something that is no text")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use clap::ValueEnum;

    use super::*;
    use crate::cells::contenders::careless::Careless;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn ours_passes_every_row() {
        for row in Row::value_variants() {
            assert_eq!(judge(*row, Name::Reqscope).verdict, Verdict::Pass, "{row:?}");
        }
    }

    /// Whichever none of the real ones fails, the careless one does, for the reason that the row is about.
    #[test]
    fn every_row_is_failed_by_somebody() {
        let careless = |row: Row| Judge(row).visit::<Careless>();
        for row in Row::value_variants() {
            let (verdict, saw) = match row {
                Row::Unpolled => (judge(*row, Name::OnceCell).verdict, "the next user: Hung"),
                Row::Cancelled => (careless(*row), "2 acquisitions at the same time"),
                Row::Impatient => (judge(*row, Name::OnceCell).verdict, "0 of 20 users were served"),
                Row::Abandoned => (careless(*row), "object 0 was never given back"),
                Row::Late => (careless(*row), "a task of it still had the object"),
                Row::Panic => (judge(*row, Name::Shared).verdict, "the next user: Panicked"),
                Row::Once => (careless(*row), "one of 8 users: Served(1)"),
                Row::HeldObject => (careless(*row), "given back while the task worked with it"),
                Row::HeldCell => (judge(*row, Name::OnceCell).verdict, "its object was still out"),
                Row::Told => (careless(*row), "was told as [Completed, Completed, Completed, Completed]"),
            };
            assert!(matches!(&verdict, Verdict::Fail(seen) if seen.contains(saw)), "{row:?}: {verdict:?}");
        }
    }

    #[test]
    fn a_script_that_does_not_end_has_hung() {
        let waits = verdict(SOON, pending());
        let blocks = verdict(SOON, async {
            thread::sleep(100 * SOON);
            Ok(())
        });
        assert_eq!([waits, blocks], [(); 2].map(|()| Verdict::Fail(format!("not done after {SOON:?}"))));
    }

    #[test]
    fn a_script_that_panics_has_failed() {
        let panics = verdict(LIMIT, async { panic!("two and {}", "two") });
        assert_eq!(panics, Verdict::Fail("panicked: two and two".to_owned()));
    }
}
