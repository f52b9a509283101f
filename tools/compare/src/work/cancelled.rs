//! 1000 waiters on 8 objects, of which every second one leaves: at once, when an object has been granted to it but it
//! has not been polled since, and while it is polled.

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
const OBJECTS: usize = 8;
/// Who is not served by then hangs.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks.
const SHORT: Duration = Duration::from_millis(1);
/// How often one who leaves while it is polled may have been polled.
const POLLS: usize = 100;

pub(crate) struct Turn;

impl Visitor for Turn {
    type Output = anyhow::Result<Option<CancelledTurn>>;

    fn visit<C: Contender>(self) -> anyhow::Result<Option<CancelledTurn>> {
        if C::lends(OBJECTS) < OBJECTS {
            return Ok(None);
        }
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let left = runtime.block_on(leave::<C>());
        // A thread that somebody blocks is not waited for.
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

async fn leave<C: Contender>() -> anyhow::Result<CancelledTurn> {
    let backend = Arc::new(Counting::default());
    // Its own patience is longer than ours, so that whoever hangs is seen to hang.
    let settings = Settings { timeout: 4 * PATIENCE, ..Settings::new(OBJECTS) };
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
    // Who hangs goes too: what is asked now is whether the pool has come back from all this.
    staying.shutdown().await;
    leaving.shutdown().await;
    let back = take::<C>(&pool).await.len() as u64;
    Ok(CancelledTurn { hung, refused, back, created: backend.created(), took })
}

/// All that the pool has.
async fn take<C: Contender>(pool: &C::Pool<Counting>) -> Vec<C::Guard<Counting>> {
    let mut taken = Vec::new();
    while taken.len() < OBJECTS {
        match timeout(PATIENCE / 10, C::get(pool)).await {
            Ok(Ok(guard)) => taken.push(guard),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    taken
}

/// Whether it was served.
async fn wait<C: Contender>(pool: Arc<C::Pool<Counting>>, plan: Plan, queued: Arc<AtomicUsize>) -> bool {
    let mut getting = pin!(C::get(&pool));
    let bell = Bell::of_this_task().await;
    let polled = match plan {
        Plan::LeavesWhenWoken => getting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&bell)))),
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
        (Plan::LeavesWhenWoken, Poll::Pending) => bell.rung().await,
        (Plan::LeavesWhenPolled, Poll::Pending) => {
            let mut ahead = fastrand::usize(..POLLS);
            while ahead > 0 && once(getting.as_mut()).await.is_pending() {
                yield_now().await;
                // Nothing is granted before all are there.
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

/// Wakes a task, and remembers it.
struct Bell {
    task: Waker,
    rung: AtomicBool,
}

impl Bell {
    async fn of_this_task() -> Arc<Bell> {
        let task = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        Arc::new(Bell { task, rung: AtomicBool::new(false) })
    }

    async fn rung(&self) {
        poll_fn(|_| if self.rung.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Before the task looks, which this wakes.
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::Name;
    use crate::faults::naive::Naive;

    #[test]
    fn who_loses_what_was_granted_to_one_who_left_is_found_out() {
        let left = Turn.visit::<Naive>().unwrap().unwrap();
        assert!(left.hung > 0, "nobody waits for what is lost");
        assert!(left.back < OBJECTS as u64, "all {} are back", left.back);
    }

    #[test]
    fn who_passes_it_on_is_not() {
        let left = Name::Semaphore.visit(Turn).unwrap().unwrap();
        assert_eq!((left.hung, left.refused, left.back), (0, 0, OBJECTS as u64));
    }
}
