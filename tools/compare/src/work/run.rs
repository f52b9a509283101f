use clap::ValueEnum;
use tokio::runtime;
use tokio::task::unconstrained;

use super::{leave, uncontended};
use crate::contender::Contender;
use crate::contenders::Visitor;

/// What can be repeated.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Get and return.
    Get,
    /// The same, and the object is asked each time whether it is sound.
    Validated,
    /// Leaves an idle object behind.
    Leave,
}

/// So many times, and nothing else.
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
                runtime.block_on(leave::objects::<C>(times))?;
                // It and its tasks keep the pool, and all that the pool has.
                std::mem::forget(runtime);
            }
            Operation::Get | Operation::Validated => runtime.block_on(async {
                let pool = uncontended::filled::<C>(operation == Operation::Validated).await?;
                // Nothing is to yield: that is the runtime's affair, and would be counted as the pool's.
                unconstrained(uncontended::repeat::<C>(&pool, times)).await
            })?,
        }
        Ok(())
    }
}
