//! A static pool that serves one runtime after another, as in a test suite, with handles that depend on the runtime that
//! created them, as sockets do.

use std::fmt;
use std::time::Duration;

use reqscope::{Error, Health, Pool, Resource};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::support::{bounded, runtime};
use crate::watchdog::watch;

/// A server in a task of the runtime of its handle.
struct Echoes;

/// A connection to the task, which ends with its runtime.
struct Echo(mpsc::Sender<oneshot::Sender<()>>);

#[derive(Debug)]
struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its runtime has ended")
    }
}

impl std::error::Error for Gone {}

impl Echo {
    async fn ping(&self) -> Result<(), Gone> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }
}

impl Resource for Echoes {
    type Handle = Echo;
    type Cause = Gone;

    async fn acquire(&self) -> Result<Echo, Error<Gone>> {
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<()>>(1);
        tokio::spawn(async move {
            while let Some(answer) = asked.recv().await {
                // The caller may have left.
                answer.send(()).ok();
            }
        });
        Ok(Echo(ask))
    }

    async fn validate(&self, echo: &mut Echo) -> Result<(), Error<Gone>> {
        echo.ping().await.map_err(Error::failed)
    }

    /// A socket looks as alive as before when its runtime has ended.
    fn probe(&self, _: &Echo) -> Health {
        Health::Ready
    }
}

fn pool() -> Pool<Echoes> {
    watch();
    Pool::builder().max_size(4).build(Echoes)
}

async fn use_once(pool: &Pool<Echoes>) {
    let echo = bounded(pool.get()).await.unwrap();
    bounded(echo.ping()).await.unwrap_or_else(|gone| panic!("the handle was lent although {gone}"));
    pool.put(echo);
}

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

/// The fault: 10 of 20 runtimes failed at their first use, with the socket of the last one.
fn works_at_first_use_on(begin: fn() -> Runtime) {
    let pool = pool();
    for _ in 0..20 {
        begin().block_on(use_once(&pool));
    }
}

#[test]
fn pool_works_at_the_first_use_of_each_current_thread_runtime() {
    works_at_first_use_on(runtime);
}

#[test]
fn pool_works_at_the_first_use_of_each_multi_thread_runtime() {
    works_at_first_use_on(threads);
}

/// Not only the handle that is used first.
#[test]
fn all_idle_handles_of_an_ended_runtime_are_suspect() {
    let pool = pool();
    for _ in 0..5 {
        runtime().block_on(async {
            let mut all = Vec::new();
            for _ in 0..4 {
                let echo = bounded(pool.get()).await.unwrap();
                bounded(echo.ping()).await.unwrap_or_else(|gone| panic!("the handle was lent although {gone}"));
                all.push(echo);
            }
            all.into_iter().for_each(|echo| pool.put(echo));
        });
    }
}

/// The runtime ends while a waiter of the next one is in the line.
#[test]
fn handle_returned_to_a_waiter_of_the_next_runtime_is_proved() {
    let pool = Pool::builder().max_size(1).build(Echoes);
    let (first, second) = (runtime(), runtime());
    first.block_on(use_once(&pool));
    let echo = first.block_on(pool.get()).unwrap();
    let mut waiter = Box::pin(pool.get());
    {
        let _context = second.enter();
        assert!(reqscope_testkit::poll_once(waiter.as_mut()).is_pending());
    }
    drop(first);
    drop(echo);
    second.block_on(async {
        let echo = bounded(waiter).await.unwrap();
        bounded(echo.ping()).await.unwrap_or_else(|gone| panic!("the handle was lent although {gone}"));
        pool.put(echo);
    });
}

/// Runtimes that overlap, as those of tests in one process do. The fault: a handle of the runtime that ended was lent, as
/// long as the janitor of another one went on.
#[test]
fn handle_of_a_runtime_that_ends_beside_another_is_proved() {
    let pool = pool();
    let lives = runtime();
    lives.block_on(use_once(&pool));
    pool.clear();
    runtime().block_on(use_once(&pool));
    lives.block_on(use_once(&pool));
}

/// The pool waits for the end of each runtime in a task there.
#[test]
fn closed_pool_leaves_no_task_behind() {
    let pool = pool();
    let runtime = runtime();
    runtime.block_on(async {
        use_once(&pool).await;
        assert!(pool.close(Duration::from_secs(1)).await.is_clean());
        drop(pool);
        // The janitor's last round, and the tasks of the handles.
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}
