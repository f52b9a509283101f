//! L15: no drop runs a resource's async code on its own thread, which may hold a lock that this code needs.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use reqscope::{Error, Exit, Health, Lease, Pool, Resource, Scopes};
use reqscope_testkit::poll_once;

use crate::support::{runtime, settle};
use crate::watchdog::watch;

/// A resource whose async methods take a lock.
#[derive(Clone)]
struct Locking {
    lock: Arc<Mutex<()>>,
    health: Health,
}

impl Locking {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap()
    }
}

impl Resource for Locking {
    type Handle = ();
    type Cause = Infallible;

    async fn acquire(&self) -> Result<(), Error<Infallible>> {
        drop(self.lock());
        Ok(())
    }

    async fn validate(&self, _: &mut ()) -> Result<(), Error<Infallible>> {
        drop(self.lock());
        Ok(())
    }

    async fn release(&self, _: (), _: Exit) -> Result<(), Error<Infallible>> {
        drop(self.lock());
        Ok(())
    }

    fn probe(&self, _: &()) -> Health {
        self.health
    }
}

type Value = Box<dyn Send>;
type Make = fn(Scopes, Locking) -> Pin<Box<dyn Future<Output = Value>>>;

fn pool(resource: Locking) -> Arc<Pool<Locking>> {
    Arc::new(Pool::builder().max_size(1).build(resource))
}

/// Returns values whose drops validate, release or create handles.
fn every_kind() -> Vec<(&'static str, Make)> {
    vec![
        ("a pooled handle", |_, resource| {
            Box::pin(async {
                let pool = pool(resource);
                Box::new((pool.get().await.unwrap(), pool)) as Value
            })
        }),
        ("a pooled handle for which a caller waits", |_, resource| {
            Box::pin(async {
                let pool = pool(resource);
                let handle = pool.get().await.unwrap();
                let mut waiter = Box::pin(pool.get());
                assert!(poll_once(waiter.as_mut()).is_pending());
                Box::new((handle, waiter, pool)) as Value
            })
        }),
        ("a get with a grant", |_, resource| {
            Box::pin(async {
                let pool = pool(resource);
                let handle = pool.get().await.unwrap();
                let mut waiter = Box::pin(pool.get());
                assert!(poll_once(waiter.as_mut()).is_pending());
                pool.clear();
                pool.put(handle);
                settle().await;
                Box::new((waiter, pool)) as Value
            })
        }),
        ("a pool", |_, resource| {
            Box::pin(async {
                let pool = pool(resource);
                pool.put(pool.get().await.unwrap());
                Box::new(pool) as Value
            })
        }),
        ("a lease of a pool", |_, resource| {
            Box::pin(async { Box::new(Lease::acquire(&pool(resource)).await.unwrap()) as Value })
        }),
        ("a release of a pooled handle", |_, resource| {
            Box::pin(async {
                let lease = Lease::acquire(&pool(resource)).await.unwrap();
                Box::new(Lease::complete(lease)) as Value
            })
        }),
        ("a scope with a pooled handle", |scopes, resource| {
            Box::pin(async move {
                let scope = scopes.open();
                drop(scope.lazy(&pool(resource)).get().await.unwrap());
                Box::new(scope) as Value
            })
        }),
        ("a guard of a closed scope", |scopes, resource| {
            Box::pin(async move { Box::new(scopes.open().lazy(&pool(resource)).get().await.unwrap()) as Value })
        }),
        ("a scope", |scopes, resource| {
            Box::pin(async move {
                let scope = scopes.open();
                drop(scope.lazy(&Arc::new(resource)).get().await.unwrap());
                Box::new(scope) as Value
            })
        }),
        ("a lease", |_, resource| {
            Box::pin(async { Box::new(Lease::acquire(&Arc::new(resource)).await.unwrap()) as Value })
        }),
    ]
}

/// The fault: the drop of a checked-out handle polled `validate` in place, and waited for a lock of its own thread.
#[test]
fn drop_under_a_lock_does_not_wait_for_it() {
    watch();
    for health in [Health::Ready, Health::Unknown] {
        for (name, make) in every_kind() {
            let (ended, end) = mpsc::channel();
            // A thread of its own, because it would hang.
            std::thread::spawn(move || {
                let resource = Locking { lock: Arc::default(), health: Health::Ready };
                let runtime = runtime();
                let value = runtime.block_on(make(Scopes::new(), Locking { health, ..resource.clone() }));
                runtime.block_on(async {
                    let held = resource.lock();
                    drop(value);
                    drop(held);
                    settle().await;
                });
                ended.send(()).unwrap();
            });
            let outcome = end.recv_timeout(Duration::from_secs(60));
            assert!(outcome.is_ok(), "{name}, {health:?}: the drop waits for the lock, or panics");
        }
    }
}
