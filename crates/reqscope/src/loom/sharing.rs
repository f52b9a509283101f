//! L5, L6, L12: one handle for all users, whose acquisition belongs to none of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::Waker;

use loom::future::block_on;
use loom::thread;
use parking_lot::Mutex;

use super::probe::{Acquire, once};
use super::{drain, model_within, poll_once};
use crate::{Error, Exit, Health, Resource, Scopes, Shared};

/// A resource whose handles are numbers, and those below `dead` are dead.
struct Clients {
    acquire: Acquire,
    acquired: Arc<Mutex<u32>>,
    dead: Arc<Mutex<u32>>,
}

impl Clients {
    fn new(acquire: Acquire) -> Self {
        Clients { acquire, acquired: Arc::default(), dead: Arc::default() }
    }

    fn make(&self) -> u32 {
        let mut acquired = self.acquired.lock();
        *acquired += 1;
        *acquired
    }
}

impl Resource for Clients {
    type Handle = u32;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<u32, Error<Infallible>> {
        if let Acquire::Never = self.acquire {
            std::future::pending::<()>().await;
        }
        once().await;
        Ok(self.make())
    }

    fn try_acquire(&self) -> Option<u32> {
        matches!(self.acquire, Acquire::AtOnce).then(|| self.make())
    }

    fn probe(&self, client: &u32) -> Health {
        if client < &*self.dead.lock() { Health::Dead } else { Health::Ready }
    }

    fn reclaim(&self, _client: u32, _exit: Exit) -> Result<(), u32> {
        Ok(())
    }
}

fn shared(scopes: &Scopes, clients: Clients) -> Arc<Shared<Clients>> {
    Arc::new(Shared::new_in(scopes.reaper(), clients))
}

#[test]
fn two_users_share_one_acquisition() {
    model_within(2, [], |_| {
        let scopes = Scopes::new();
        let one = shared(&scopes, Clients::new(Acquire::Soon));
        let other = Arc::clone(&one);
        let user = thread::spawn(move || *block_on(other.get()).unwrap());
        assert_eq!((*block_on(one.get()).unwrap(), user.join().unwrap()), (1, 1));
        drop(one);
        drain(&scopes);
    });
}

#[test]
fn user_that_leaves_strands_no_other_user() {
    model_within(2, [], |_| {
        let scopes = Scopes::new();
        let one = shared(&scopes, Clients::new(Acquire::Soon));
        let other = Arc::clone(&one);
        let leaver = thread::spawn(move || drop(poll_once(other.get(), Waker::noop())));
        assert_eq!(*block_on(one.get()).unwrap(), 1);
        leaver.join().unwrap();
        drop(one);
        drain(&scopes);
    });
}

#[test]
fn dead_handle_is_replaced_once_by_two_users() {
    model_within(2, [], |_| {
        let scopes = Scopes::new();
        let clients = Clients::new(Acquire::AtOnce);
        let dead = Arc::clone(&clients.dead);
        let one = shared(&scopes, clients);
        assert_eq!(*block_on(one.get()).unwrap(), 1);
        *dead.lock() = 2;
        let other = Arc::clone(&one);
        let user = thread::spawn(move || *block_on(other.get()).unwrap());
        assert_eq!((*block_on(one.get()).unwrap(), user.join().unwrap()), (2, 2));
        drop(one);
        drain(&scopes);
    });
}

#[test]
fn drop_during_an_acquisition_answers_the_user() {
    model_within(2, ["served", "closed"], |endings| {
        let scopes = Scopes::new();
        let shared = Shared::new_in(scopes.reaper(), Clients::new(Acquire::Soon));
        let get = shared.get();
        let user = thread::spawn(move || block_on(get).map(drop));
        drop(shared);
        endings.note(match user.join().unwrap() {
            Ok(()) => "served",
            Err(error) if error.is_closed() => "closed",
            Err(_) => "failed",
        });
        drain(&scopes);
    });
}

#[test]
fn drop_ends_an_acquisition_that_never_finishes() {
    model_within(2, [], |_| {
        let scopes = Scopes::new();
        let shared = Shared::new_in(scopes.reaper(), Clients::new(Acquire::Never));
        let get = shared.get();
        let user = thread::spawn(move || assert!(block_on(get).is_err_and(|error| error.is_closed())));
        drop(shared);
        user.join().unwrap();
        drain(&scopes);
    });
}

#[test]
fn attempt_that_is_given_up_strands_no_user() {
    model_within(2, ["in time", "late or cut"], |endings| {
        let scopes = Scopes::new();
        let one = shared(&scopes, Clients::new(Acquire::Soon));
        let other = Arc::clone(&one);
        let user = thread::spawn(move || drop(block_on(other.get()).unwrap()));
        let in_time = !one.give_up();
        endings.note(if in_time { "in time" } else { "late or cut" });
        user.join().unwrap();
        drop(one);
        drain(&scopes);
    });
}
