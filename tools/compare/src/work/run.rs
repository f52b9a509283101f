use clap::ValueEnum;
use tokio::runtime;
use tokio::task::unconstrained;

use super::{leave, uncontended};
use crate::contender::Contender;
use crate::contenders::Visitor;

/// An operation that can be repeated.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Get and return.
    Get,
    /// Get and return, at four places of the program in turn.
    Places,
    /// Get and return, with a validation each time.
    Validated,
    /// Leaks an idle handle.
    Leave,
}

/// Repeats an operation, and does nothing else.
pub(crate) struct Run {
    pub(crate) operation: Operation,
    pub(crate) times: usize,
}

impl Visitor for Run {
    type Output = anyhow::Result<()>;

    fn visit<C: Contender>(self) -> anyhow::Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let Run { operation, times } = self;
        match operation {
            Operation::Leave => {
                runtime.block_on(leave::handles::<C>(times))?;
                // The runtime and its tasks keep the pool and its handles.
                std::mem::forget(runtime);
            }
            // Without tokio's budget, whose yields would be counted as the pool's.
            Operation::Places => runtime.block_on(unconstrained(uncontended::repeat_at_four_places::<C>(times)))?,
            Operation::Get | Operation::Validated => runtime.block_on(async {
                let pool = uncontended::filled::<C>(operation == Operation::Validated).await?;
                unconstrained(uncontended::repeat::<C>(&pool, times)).await
            })?,
        }
        Ok(())
    }
}
