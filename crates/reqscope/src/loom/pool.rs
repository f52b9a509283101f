//! L1, L17, L19: returned handles, new handles and freed slots reach the waiters of a pool, in every order.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use loom::future::block_on;
use loom::thread;

use super::probe::{Acquire, Journal, Probe};
use super::runtime::end_all_tasks;
use super::{model, model_within, poll_once};
use crate::{Exit, Pool};

fn pool(size: usize, acquire: Acquire) -> (Arc<Pool<Probe>>, Arc<Journal>) {
    let probe = Probe::new(acquire);
    let journal = Arc::clone(&probe.journal);
    (Arc::new(Pool::builder().max_size(size).build(probe)), journal)
}

/// Takes a handle out, uses it and returns it.
fn use_one(pool: &Pool<Probe>) {
    let handle = block_on(pool.get()).expect("the pool is open");
    handle.touch();
    pool.put(handle);
}

/// Closes the pool, and asserts that `made` handles were made and that each was released once.
fn end(pool: &Pool<Probe>, journal: &Journal, made: usize) {
    let report = block_on(pool.close(Duration::from_secs(1)));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((journal.acquired(), journal.exits("it").len()), (made, made));
    let status = pool.status();
    let open = [status.in_use, status.idle, status.creating, status.ending, status.waiting];
    assert_eq!(open, [0; 5], "{status:?}");
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
        let handle = block_on(pool.get()).unwrap();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        handle.touch();
        pool.put(handle);
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}

#[test]
fn waiter_that_leaves_passes_on_its_grant() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let handle = block_on(pool.get()).unwrap();
        let (leaving, waiting) = (Arc::clone(&pool), Arc::clone(&pool));
        // Polled once, and then dropped.
        let leaver = thread::spawn(move || {
            if let Some(taken) = poll_once(leaving.get(), Waker::noop()) {
                leaving.put(taken.unwrap());
            }
        });
        let waiter = thread::spawn(move || use_one(&waiting));
        pool.put(handle);
        leaver.join().unwrap();
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}

#[test]
fn close_during_a_return_releases_it_and_answers_waiters() {
    model(["served", "closed"], |endings| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let handle = block_on(pool.get()).unwrap();
        let (returning, waiting) = (Arc::clone(&pool), Arc::clone(&pool));
        let user = thread::spawn(move || returning.put(handle));
        let waiter = thread::spawn(move || match block_on(waiting.get()) {
            Ok(handle) => {
                handle.touch();
                waiting.put(handle);
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
        let handle = block_on(pool.get()).unwrap();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        pool.resize(2);
        waiter.join().unwrap();
        pool.put(handle);
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
        let mut handle = block_on(pool.get()).unwrap();
        handle.cut();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        // The handle is dead, so its slot is freed when it has ended.
        pool.put(handle);
        waiter.join().unwrap();
        end(&pool, &journal, 2);
    });
}

#[test]
fn aborted_creation_strands_no_waiter() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::NotTheFirst);
        // The caller that started the creation has left.
        assert!(poll_once(pool.get(), Waker::noop()).is_none());
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || use_one(&other));
        end_all_tasks();
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}

/// The caller that began the creation has left.
#[test]
fn failing_creation_answers_the_next_waiter() {
    model_within(2, [], |_| {
        let (pool, journal) = pool(1, Acquire::Error);
        drop(poll_once(pool.get(), Waker::noop()));
        drop(block_on(pool.get()).unwrap_err());
        end(&pool, &journal, 0);
    });
}

/// The creation is overdue at once, and its task ends while a waiter gives it up and begins another one. That one is
/// late, too, if it has to be polled twice.
#[test]
fn creation_given_up_while_it_ends_frees_its_slot_once() {
    model_within(1, [], |_| {
        let probe = Probe::new(Acquire::NotTheFirst);
        let journal = Arc::clone(&probe.journal);
        let pool = Arc::new(Pool::builder().max_size(1).create_timeout(Duration::ZERO).build(probe));
        drop(poll_once(pool.get(), Waker::noop()));
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || {
            let mut get = Box::pin(other.get());
            // It finds the creation overdue, and then gives it up.
            let taken = (0..2).find_map(|_| poll_once(get.as_mut(), Waker::noop()));
            drop(get);
            if let Some(Ok(taken)) = taken {
                other.put(taken);
            }
        });
        end_all_tasks();
        waiter.join().unwrap();
        let report = block_on(pool.close(Duration::from_secs(1)));
        assert!(report.is_clean(), "{report:?}");
        end(&pool, &journal, journal.acquired());
    });
}

/// The second of three leaves, and its place is taken out of the list.
#[test]
fn waiter_that_leaves_from_the_middle_strands_none() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let handle = block_on(pool.get()).unwrap();
        let mut waiters = [(); 3].map(|()| Box::pin(pool.get()));
        for waiter in &mut waiters {
            assert!(poll_once(waiter.as_mut(), Waker::noop()).is_none());
        }
        let [first, second, third] = waiters;
        let leaver = thread::spawn(move || drop(second));
        let returning = Arc::clone(&pool);
        let user = thread::spawn(move || returning.put(handle));
        for waiter in [first, third] {
            pool.put(block_on(waiter).unwrap());
        }
        leaver.join().unwrap();
        user.join().unwrap();
        end(&pool, &journal, 1);
    });
}

/// The fault: the lock was held while all handles were looked at. In a model, a piece of the list is one handle.
#[test]
fn list_of_holders_is_made_in_pieces() {
    model(["both", "only the second", "none", "only the first"], |endings| {
        let (pool, journal) = pool(2, Acquire::AtOnce);
        let first = block_on(pool.get()).unwrap();
        let second = block_on(pool.get()).unwrap();
        let first_line = pool.holders()[0].taken_at;
        let returning = Arc::clone(&pool);
        let user = thread::spawn(move || {
            returning.put(first);
            returning.put(second);
        });
        endings.note(match &pool.holders()[..] {
            [_, _] => "both",
            // The first one was returned before the second, so there was no moment at which it alone was lent.
            [one] if one.taken_at == first_line => "only the first",
            [_] => "only the second",
            _ => "none",
        });
        user.join().unwrap();
        end(&pool, &journal, 2);
    });
}

/// A waker that locks the pool, a deadlock under the pool's own lock.
struct PoolCaller(Weak<Pool<Probe>>);

impl PoolCaller {
    fn waker(pool: &Arc<Pool<Probe>>) -> Waker {
        Waker::from(Arc::new(PoolCaller(Arc::downgrade(pool))))
    }

    fn call(&self) {
        if let Some(pool) = self.0.upgrade() {
            pool.status();
        }
    }
}

impl Wake for PoolCaller {
    fn wake(self: Arc<Self>) {
        self.call();
    }
}

impl Drop for PoolCaller {
    fn drop(&mut self) {
        self.call();
    }
}

#[test]
fn waker_may_call_the_pool() {
    model([], |_| {
        let (pool, journal) = pool(1, Acquire::AtOnce);
        let handle = block_on(pool.get()).unwrap();
        let other = Arc::clone(&pool);
        let waiter = thread::spawn(move || {
            let mut get = Box::pin(other.get());
            // Another waker at each poll, which replaces the earlier one.
            let taken = (0..2).find_map(|_| poll_once(get.as_mut(), &PoolCaller::waker(&other)));
            drop(get);
            if let Some(taken) = taken {
                other.put(taken.unwrap());
            }
        });
        pool.put(handle);
        waiter.join().unwrap();
        end(&pool, &journal, 1);
    });
}
