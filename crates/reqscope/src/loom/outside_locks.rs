//! L19: observers, resources and handles may ask the scope whatever they like, wherever they are called from.

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

/// What is asked: every lock of the core is taken for an answer, which deadlocks under any of them.
#[derive(Clone, Default)]
struct Questions(Arc<Mutex<Option<Asked>>>);

type Asked = (ScopeHandle, Weak<Curious>);

impl Questions {
    fn ask(&self) {
        // Not the checker's lock, so not to be held while the checker may switch.
        let known = self.0.lock().clone();
        if let Some((scope, resource)) = known {
            if let Some(resource) = resource.upgrade() {
                scope.lazy(&resource).state();
            }
            let waker = Waker::from(Arc::new(Asking(self.clone())));
            poll_once(scope.closed(), &waker).unwrap_or(());
        }
    }
}

/// A waker, and an observer.
struct Asking(Questions);

impl Wake for Asking {
    fn wake(self: Arc<Self>) {
        self.0.ask();
    }
}

impl Observer for Asking {
    fn acquired(&self, _: Subject, _: Duration) {
        self.0.ask();
    }

    fn late(&self, _: Subject) {
        self.0.ask();
    }

    fn still_lent(&self, _: Subject) {
        self.0.ask();
    }

    fn released(&self, _: Subject, _: Exit) {
        self.0.ask();
    }

    fn second_resource(&self, _: &'static str) {
        self.0.ask();
    }
}

struct Curious(Questions);

struct Handle(Questions);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ask();
    }
}

impl Resource for Curious {
    type Handle = Handle;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Handle, Error<Infallible>> {
        Err(Error::unavailable())
    }

    fn try_acquire(&self) -> Option<Handle> {
        self.0.ask();
        Some(Handle(self.0.clone()))
    }

    fn probe(&self, _: &Handle) -> Health {
        self.0.ask();
        Health::Ready
    }

    fn reclaim(&self, _: Handle, _: Exit) -> Result<(), Handle> {
        self.0.ask();
        Ok(())
    }

    fn settles(&self, _: Exit) -> bool {
        self.0.ask();
        true
    }
}

#[test]
fn every_callback_may_call_the_scope() {
    model(["settled", "not settled"], |endings| {
        let questions = Questions::default();
        let scopes = Scopes::builder().observer(Asking(questions.clone())).build();
        let scope = scopes.open();
        let (resource, second) = (Arc::new(Curious(questions.clone())), Arc::new(Curious(questions.clone())));
        *questions.0.lock() = Some((scope.handle().clone(), Arc::downgrade(&resource)));
        let lazy = scope.lazy(&resource);
        let request = scope.handle().clone();
        let user = thread::spawn(move || {
            drop(block_on(lazy.get()));
            drop(request.lazy(&second));
        });
        let outcome = block_on(scope.close(Exit::Completed));
        user.join().unwrap();
        drain(&scopes);
        // The questions hold the scope, which holds its observer, which holds the questions.
        *questions.0.lock() = None;
        endings.note(if outcome.is_ok() { "settled" } else { "not settled" });
    });
}
