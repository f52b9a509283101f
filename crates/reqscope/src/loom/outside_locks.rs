//! L19: observers, resources and handles may call the scope from each of their methods.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use parking_lot::Mutex;

use super::{drain, model, poll_once};
use crate::observer::Subject;
use crate::{Error, Exit, Health, Observer, Resource, ScopeHandle, Scopes};

/// Calls that take every lock of the core, and so deadlock under any of them.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Option<Callee>>>);

type Callee = (ScopeHandle, Weak<CallingResource>);

impl Calls {
    fn call(&self) {
        // Not loom's lock, so it must not be held while loom may switch threads.
        let callee = self.0.lock().clone();
        if let Some((scope, resource)) = callee {
            if let Some(resource) = resource.upgrade() {
                scope.lazy(&resource).state();
            }
            let waker = Waker::from(Arc::new(CallingWaker(self.clone())));
            poll_once(scope.closed(), &waker).unwrap_or(());
        }
    }
}

/// A waker and an observer that call the scope.
struct CallingWaker(Calls);

impl Wake for CallingWaker {
    fn wake(self: Arc<Self>) {
        self.0.call();
    }
}

impl Observer for CallingWaker {
    fn acquired(&self, _: Subject, _: Duration) {
        self.0.call();
    }

    fn late(&self, _: Subject) {
        self.0.call();
    }

    fn still_lent(&self, _: Subject) {
        self.0.call();
    }

    fn released(&self, _: Subject, _: Exit) {
        self.0.call();
    }

    fn second_resource(&self, _: &'static str) {
        self.0.call();
    }
}

struct CallingResource(Calls);

struct CallingHandle(Calls);

impl Drop for CallingHandle {
    fn drop(&mut self) {
        self.0.call();
    }
}

impl Resource for CallingResource {
    type Handle = CallingHandle;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<CallingHandle, Error<Infallible>> {
        Err(Error::unavailable())
    }

    fn try_acquire(&self) -> Option<CallingHandle> {
        self.0.call();
        Some(CallingHandle(self.0.clone()))
    }

    fn probe(&self, _: &CallingHandle) -> Health {
        self.0.call();
        Health::Ready
    }

    fn reclaim(&self, _: CallingHandle, _: Exit) -> Result<(), CallingHandle> {
        self.0.call();
        Ok(())
    }

    fn settles(&self, _: Exit) -> bool {
        self.0.call();
        true
    }
}

#[test]
fn every_callback_may_call_the_scope() {
    model(["settled", "not settled"], |endings| {
        let calls = Calls::default();
        let scopes = Scopes::builder().observer(CallingWaker(calls.clone())).build();
        let scope = scopes.open();
        let (resource, second) = (Arc::new(CallingResource(calls.clone())), Arc::new(CallingResource(calls.clone())));
        *calls.0.lock() = Some((scope.handle().clone(), Arc::downgrade(&resource)));
        let lazy = scope.lazy(&resource);
        let request = scope.handle().clone();
        let user = thread::spawn(move || {
            drop(block_on(lazy.get()));
            drop(request.lazy(&second));
        });
        let outcome = block_on(scope.close(Exit::Completed));
        user.join().unwrap();
        drain(&scopes);
        // Breaks the cycle: the calls hold the scope, which holds its observer, which holds the calls.
        *calls.0.lock() = None;
        endings.note(if outcome.is_ok() { "settled" } else { "not settled" });
    });
}
