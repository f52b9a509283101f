//! L1, L17, L19: what comes back, is made or becomes free reaches whoever waits, whatever happens at the same time.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use loom::future::block_on;
use loom::thread;

use super::probe::{Acquire, Journal, Probe};
use super::runtime::end_all_tasks;
use super::{model, poll_once};
use crate::{Exit, Pool};

fn pool(size: usize, acquire: Acquire) -> (Arc<Pool<Probe>>, Arc<Journal>) {
    let probe = Probe::new(acquire);
    let journal = Arc::clone(&probe.journal);
    (Arc::new(Pool::builder().max_size(size).build(probe)), journal)
}

/// Takes one out, uses it and gives it back.
fn use_one(pool: &Pool<Probe>) {
    let object = block_on(pool.get()).expect("nobody closes it");
    object.touch();
    pool.put(object);
}

/// Ends the pool, and looks at the books: as many were made, and each was released once.
fn end(pool: &Pool<Probe>, journal: &Journal, made: usize) {
    let report = block_on(pool.close(Duration::from_secs(1)));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((journal.acquired(), journal.exits("it").len()), (made, made));
    let status = pool.status();
    assert_eq!((status.in_use, status.idle, status.creating, status.waiting), (0, 0, 0, 0), "{status:?}");
}

#[test]
fn two_callers_share_the_one_creation_of_a_pool_of_one() {
    for acquire in [|| Acquire::AtOnce, || Acquire::Soon] {
        model([], move |_| {
            let (pool, journal) = pool(1, acquire());
            let other = Arc::clone(&pool);
            let user = thread::spawn(move || use_one(&other));
            use_one(&pool);
            user.join().unwrap();
            end(&pool, &journal, 1);
        });
    }
}

#[test]
fn handle_returned_while_a_caller_queues_serves_it() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let object = block_on(pool.get()).unwrap();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        object.touch();
        pool.put(object);
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}

#[test]
fn waiter_that_leaves_passes_on_its_grant() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let object = block_on(pool.get()).unwrap();
        let (leaving, waiting) = (Arc::clone(&pool), Arc::clone(&pool));
        // Asks, and is never polled again.
        let leaver = thread::spawn(move || {
            if let Some(taken) = poll_once(leaving.get(), Waker::noop()) {
                leaving.put(taken.unwrap());
            }
        });
        let waiter = thread::spawn(move || use_one(&waiting));
        pool.put(object);
        leaver.join().unwrap();
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}

#[test]
fn close_during_a_return_releases_it_and_answers_waiters() {
    model(["served", "closed"], |endings| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let object = block_on(pool.get()).unwrap();
        let (returning, waiting) = (Arc::clone(&pool), Arc::clone(&pool));
        let user = thread::spawn(move || returning.put(object));
        let waiter = thread::spawn(move || match block_on(waiting.get()) {
            Ok(object) => {
                object.touch();
                waiting.put(object);
                "served"
            }
            Err(error) if error.is_closed() => "closed",
            Err(error) => panic!("{error}"),
        });
        let report = block_on(pool.close(Duration::from_secs(1)));
        assert!(report.is_clean(), "{report:?}");
        user.join().unwrap();
        endings.note(waiter.join().unwrap());
        end(&pool, &journal, 1);
    });
}

#[test]
fn pool_that_shrinks_during_returns_keeps_its_new_size() {
    model([], |_| {
        let (pool, journal) = pool(2, Acquire::AtOnce);
        let (one, two) = (block_on(pool.get()).unwrap(), block_on(pool.get()).unwrap());
        let other = Arc::clone(&pool);
        let user = thread::spawn(move || other.put(one));
        let shrinking = Arc::clone(&pool);
        let operator = thread::spawn(move || shrinking.resize(1));
        pool.put(two);
        user.join().unwrap();
        operator.join().unwrap();
        let status = pool.status();
        assert_eq!((status.max_size, status.idle, status.in_use), (1, 1, 0), "{status:?}");
        assert_eq!(journal.exits("it"), [Exit::Completed]);
        end(&pool, &journal, 2);
    });
}

#[test]
fn pool_that_grows_serves_its_waiters() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let object = block_on(pool.get()).unwrap();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        pool.resize(2);
        waiter.join().unwrap();
        pool.put(object);
        end(&pool, &journal, 2);
    });
}

#[test]
fn pause_that_ends_while_a_caller_queues_strands_none() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        use_one(&pool);
        pool.pause();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        pool.resume();
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}

#[test]
fn freed_slot_serves_a_waiter() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let mut object = block_on(pool.get()).unwrap();
        object.cut();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        // It is dead, so its slot is free when it has ended.
        pool.put(object);
        waiter.join().unwrap();
        end(&pool, &journal, 2);
    });
}

#[test]
fn aborted_creation_strands_no_waiter() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::NotTheFirst);
        // Whoever caused it has left.
        assert!(poll_once(pool.get(), Waker::noop()).is_none());
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        end_all_tasks();
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}

/// A waker that looks into the pool, which under the pool's own lock is a deadlock.
struct Nosy(Weak<Pool<Probe>>);

impl Nosy {
    fn waker(pool: &Arc<Pool<Probe>>) -> Waker {
        Waker::from(Arc::new(Nosy(Arc::downgrade(pool))))
    }

    fn ask(&self) {
        if let Some(pool) = self.0.upgrade() {
            pool.status();
        }
    }
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        self.ask();
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.ask();
    }
}

#[test]
fn waker_may_call_the_pool() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let object = block_on(pool.get()).unwrap();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || {
            let mut get = Box::pin(other.get());
            // Another one at each poll, which puts the earlier one out.
            let taken = (0..2).find_map(|_| poll_once(get.as_mut(), &Nosy::waker(&other)));
            drop(get);
            if let Some(taken) = taken {
                other.put(taken.unwrap());
            }
        });
        pool.put(object);
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}
