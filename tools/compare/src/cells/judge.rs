//! Runs one script on one contender, in a process of its own, as for the pools.

use clap::Args;
use tokio::runtime::{self, Runtime};

use super::cell::LazyCell;
use super::contenders::{Name, Visitor};
use super::rows::Row;
use crate::faults::judge::{apart, here};

/// The `cell-fault` subcommand.
#[derive(Args)]
pub(crate) struct Fault {
    row: Row,
    contender: Name,
    /// Runs the script in this process, which may then hang or abort. Prints the verdict alone, and each panic.
    #[arg(long)]
    here: bool,
}

impl Fault {
    /// Prints the verdict as JSON.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Fault { row, contender, here } = self;
        if here { contender.visit(Here(row)) } else { apart("cell-fault", row.name(), contender.to_string()) }
    }
}

struct Here(Row);

impl Visitor for Here {
    type Output = anyhow::Result<()>;

    fn visit<C: LazyCell>(self) -> anyhow::Result<()> {
        here(&stage()?, self.0.run::<C>())
    }
}

/// Creates a runtime of one thread, so that a script knows how far each task has come.
fn stage() -> std::io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use reqscope_records::compare::Verdict;

    use super::*;
    use crate::cells::contenders::careless::Careless;
    use crate::faults::judge::verdict;

    struct Judge(Row);

    impl Visitor for Judge {
        type Output = Verdict;

        fn visit<C: LazyCell>(self) -> Verdict {
            verdict(&stage().unwrap(), self.0.run::<C>())
        }
    }

    fn judge(row: Row, name: Name) -> Verdict {
        name.visit(Judge(row))
    }

    #[test]
    fn ours_passes_every_row() {
        for row in Row::value_variants() {
            assert_eq!(judge(*row, Name::Reqscope), Verdict::Pass, "{row:?}");
        }
    }

    /// A row that no real contender fails is failed by the careless one, for the reason that the row is about.
    #[test]
    fn every_row_is_failed_by_a_contender() {
        let careless = |row: Row| Judge(row).visit::<Careless>();
        for row in Row::value_variants() {
            let (verdict, saw) = match row {
                Row::Unpolled => (judge(*row, Name::OnceCell), "the next caller hangs"),
                Row::Cancelled => (careless(*row), "2 acquisitions at the same time"),
                Row::Impatient => (judge(*row, Name::OnceCell), "0 of 20 callers were served"),
                Row::Abandoned => (careless(*row), "handle 0 was never released"),
                Row::Late => (careless(*row), "a task of it still had the handle"),
                Row::Panic => (judge(*row, Name::Shared), "the next caller panics: inner future panicked"),
                Row::Once => (careless(*row), "one of 8 callers is served with handle 1"),
                Row::HeldHandle => (careless(*row), "released while the task used it"),
                Row::HeldCell => (judge(*row, Name::OnceCell), "its handle was not released"),
                Row::Exit => (careless(*row), "were passed as [Completed, Completed, Completed, Completed]"),
            };
            assert!(matches!(&verdict, Verdict::Fail(seen) if seen.contains(saw)), "{row:?}: {verdict:?}");
        }
    }
}
