//! Measures many tasks that share the one handle of their request, as the resolvers of one GraphQL request share its
//! transaction, beside as many tasks that share a `Mutex` of tokio.

use std::future::Future;
use std::sync::Arc;

use reqscope::Scopes;
use reqscope_records::bench::CrowdRun;
use tokio::runtime;
use tokio::sync::Mutex;
use tokio::task::{JoinSet, yield_now};

use crate::ready::{IN_A_CROWD, Ready};
use crate::turns::{each, play};

const TASKS: usize = 1000;
/// How often each task uses the handle.
const USES: usize = 10;

/// Measures so many rounds, and prints them.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let turns = play(rounds, || runtime.block_on(with_mutex()), || runtime.block_on(with_lazy()));
    let run = CrowdRun { tasks: TASKS as u64, uses: (TASKS * USES) as u64, turns };
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

async fn with_lazy() -> f64 {
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&Arc::new(Ready::<IN_A_CROWD>));
    crowd(move || {
        let lazy = lazy.clone();
        async move {
            let guard = lazy.get().await.expect("it is ready");
            yield_now().await;
            drop(guard);
        }
    })
    .await
}

async fn with_mutex() -> f64 {
    let mutex = Arc::new(Mutex::new(0));
    crowd(move || {
        let mutex = Arc::clone(&mutex);
        async move {
            let guard = mutex.lock().await;
            yield_now().await;
            drop(guard);
        }
    })
    .await
}

/// Returns the nanoseconds that one use takes if many tasks want to use the same thing at once.
async fn crowd<U, F>(uses: U) -> f64
where
    U: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    each(TASKS * USES, async || {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let uses = uses.clone();
            tasks.spawn(async move {
                for _ in 0..USES {
                    uses().await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task panics");
        }
    })
    .await
}
