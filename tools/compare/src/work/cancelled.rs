//! 1000 waiters on 8 handles, of which every second one leaves: at once, when a handle was granted to it but it was not
//! polled since, or while it is polled.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use reqscope_records::compare::CancelledTurn;
use tokio::runtime;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout, timeout_at};

use super::counting::Counting;
use crate::contender::{Contender, Settings};
use crate::contenders::Visitor;

const WAITERS: usize = 1000;
const HANDLES: usize = 8;
/// A waiter that is not served by then hangs.
const PATIENCE: Duration = Duration::from_secs(3);
/// The time between two checks of a condition.
const SHORT: Duration = Duration::from_millis(1);
/// The most polls of a waiter that leaves while it is polled.
const POLLS: usize = 100;

pub(crate) struct Turn;

impl Visitor for Turn {
    type Output = anyhow::Result<Option<CancelledTurn>>;

    fn visit<C: Contender>(self) -> anyhow::Result<Option<CancelledTurn>> {
        if C::lends(HANDLES) < HANDLES {
            return Ok(None);
        }
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let left = runtime.block_on(measure::<C>());
        // Does not wait for threads that a contender blocks.
        runtime.shutdown_background();
        left.map(Some)
    }
}

/// What a waiter does.
#[derive(Clone, Copy)]
enum Plan {
    Stays,
    LeavesAtOnce,
    LeavesWhenWoken,
    LeavesWhenPolled,
}

impl Plan {
    fn of(waiter: usize) -> Plan {
        match waiter % 6 {
            1 => Plan::LeavesAtOnce,
            3 => Plan::LeavesWhenWoken,
            5 => Plan::LeavesWhenPolled,
            _ => Plan::Stays,
        }
    }
}

async fn measure<C: Contender>() -> anyhow::Result<CancelledTurn> {
    let backend = Arc::new(Counting::default());
    // Its timeout is longer than ours, so that a waiter that hangs is seen to hang.
    let settings = Settings { timeout: 4 * PATIENCE, ..Settings::new(HANDLES) };
    let pool = Arc::new(C::build(Arc::clone(&backend), &settings).await);
    let taken = take::<C>(&pool).await;

    let queued = Arc::new(AtomicUsize::new(0));
    let (mut staying, mut leaving) = (JoinSet::new(), JoinSet::new());
    for waiter in 0..WAITERS {
        let plan = Plan::of(waiter);
        let tasks = if matches!(plan, Plan::Stays) { &mut staying } else { &mut leaving };
        tasks.spawn(wait::<C>(Arc::clone(&pool), plan, Arc::clone(&queued)));
    }
    while queued.load(Ordering::Relaxed) < WAITERS {
        sleep(SHORT).await;
    }

    let begun = Instant::now();
    for guard in taken {
        C::put(&pool, guard);
    }
    let mut refused = 0;
    while let Ok(Some(ended)) = timeout_at((begun + PATIENCE).into(), staying.join_next()).await {
        refused += u64::from(!ended?);
    }
    let took = u64::try_from(begun.elapsed().as_nanos())?;
    let hung = staying.len() as u64;
    // Waiters that hang are cancelled too: what follows checks whether the pool has recovered.
    staying.shutdown().await;
    leaving.shutdown().await;
    let back = take::<C>(&pool).await.len() as u64;
    Ok(CancelledTurn { hung, refused, back, created: backend.created(), took })
}

/// Checks out all handles that the pool has.
async fn take<C: Contender>(pool: &C::Pool<Counting>) -> Vec<C::Guard<Counting>> {
    let mut taken = Vec::new();
    while taken.len() < HANDLES {
        match timeout(PATIENCE / 10, C::get(pool)).await {
            Ok(Ok(guard)) => taken.push(guard),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    taken
}

/// Runs one waiter, and returns whether it was served.
async fn wait<C: Contender>(pool: Arc<C::Pool<Counting>>, plan: Plan, queued: Arc<AtomicUsize>) -> bool {
    let mut getting = pin!(C::get(&pool));
    let flag = Flag::for_this_task().await;
    let polled = match plan {
        Plan::LeavesWhenWoken => getting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&flag)))),
        _ => once(getting.as_mut()).await,
    };
    queued.fetch_add(1, Ordering::Relaxed);
    match (plan, polled) {
        (Plan::Stays, polled) => {
            let got = match polled {
                Poll::Ready(got) => got,
                Poll::Pending => getting.await,
            };
            let Ok(guard) = got else { return false };
            yield_now().await;
            C::put(&pool, guard);
            return true;
        }
        (Plan::LeavesWhenWoken, Poll::Pending) => flag.woken().await,
        (Plan::LeavesWhenPolled, Poll::Pending) => {
            let mut ahead = fastrand::usize(..POLLS);
            while ahead > 0 && once(getting.as_mut()).await.is_pending() {
                yield_now().await;
                // Nothing is granted before all waiters are queued.
                ahead -= usize::from(queued.load(Ordering::Relaxed) == WAITERS);
            }
        }
        (Plan::LeavesAtOnce, _) | (_, Poll::Ready(_)) => {}
    }
    false
}

async fn once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// A waker that remembers whether it was woken.
struct Flag {
    task: Waker,
    woken: AtomicBool,
}

impl Flag {
    async fn for_this_task() -> Arc<Flag> {
        let task = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        Arc::new(Flag { task, woken: AtomicBool::new(false) })
    }

    async fn woken(&self) {
        poll_fn(|_| if self.woken.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        // Before the task is woken, which then reads it.
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::Name;
    use crate::faults::naive::Naive;

    #[test]
    fn pool_that_loses_a_grant_of_a_dropped_waiter_fails() {
        let left = Turn.visit::<Naive>().unwrap().unwrap();
        assert!(left.hung > 0, "no waiter hangs");
        assert!(left.back < HANDLES as u64, "all {} are back", left.back);
    }

    #[test]
    fn pool_that_passes_a_grant_on_passes() {
        let left = Name::Semaphore.visit(Turn).unwrap().unwrap();
        assert_eq!((left.hung, left.refused, left.back), (0, 0, HANDLES as u64));
    }
}
