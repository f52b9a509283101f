//! Which of the public types and futures are `Send`, `Sync`, `Unpin` and `'static`.

use std::cell::Cell;
use std::convert::Infallible;
use std::marker::PhantomPinned;
use std::sync::Arc;
use std::time::Duration;

use reqscope::context::{AcquireContext, Label, Tenant};
use reqscope::error::{ConnectFailure, Holding, Shortage, Stage};
use reqscope::future::{Close, Get, Release};
use reqscope::observer::{Abandoned, Subject};
use reqscope::pool::{PoolBuilder, PoolStatus, Reset};
use reqscope::reaper::ReaperBuilder;
use reqscope::scope::{LazyState, MappedGuard, Problem, ScopesBuilder, TryGetError};
use reqscope::stats::{DrainReport, Stats};
use reqscope::{
    CloseError, Error, Exit, Guard, Health, Identity, Lazy, Lease, Observer, Pool, Pooled, Reaper, Resource, Scope,
    ScopeHandle, Scopes, Shared, resource_fn,
};
use reqscope_testkit::Probe;

/// A tuple has these traits if all of its elements have them.
fn everything<T: Send + Sync + Unpin + 'static>() {}
fn future<T: Send + Unpin + 'static>() {}
fn send<T: Send + 'static>() {}
fn send_value<T: Send + 'static>(_: &T) {}

/// A handle with the fewest traits that a resource may have: it is `Send` only.
struct Poor {
    _not_sync: Cell<u8>,
    _not_unpin: PhantomPinned,
}

struct Maker;

impl Resource for Maker {
    type Handle = Poor;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Poor, Error<Infallible>> {
        Ok(Poor { _not_sync: Cell::new(0), _not_unpin: PhantomPinned })
    }
}

#[test]
fn plain_values_implement_all_auto_traits() {
    everything::<(Exit, Stage, Health, Identity, LazyState, Stats, DrainReport, Subject, Abandoned)>();
    everything::<(AcquireContext, Label, Tenant, TryGetError<Infallible>)>();
    everything::<(Problem, CloseError, Error<Infallible>, Shortage, Holding, ConnectFailure)>();
}

#[test]
fn scope_types_implement_all_auto_traits() {
    everything::<(Scopes, ScopesBuilder, Scope, ScopeHandle, Reaper, ReaperBuilder)>();
    everything::<(Lazy<Probe>, Guard<Probe>, Lease<Probe>, Box<dyn Observer>)>();
}

#[test]
fn pool_types_implement_all_auto_traits() {
    everything::<(Pool<Probe>, Pooled<Probe>, PoolBuilder<Probe>, PoolStatus, Reset)>();
    // A pool hands a handle to one user at a time.
    everything::<(Pool<Maker>, PoolBuilder<Maker>)>();
    send::<Pooled<Maker>>();
}

#[test]
fn futures_of_a_pool_are_send_even_if_its_handles_are_not_sync() {
    let pool = Pool::new(Maker);
    send_value(&pool.warm());
    send_value(&pool.close(Duration::ZERO));
    send_value(&async move {
        let handle = pool.get().await.unwrap();
        tokio::task::yield_now().await;
        pool.put(handle);
    });
}

#[test]
fn lazy_is_sync_even_if_its_handle_is_not() {
    everything::<Lazy<Maker>>();
    send::<(Guard<Maker>, MappedGuard<Maker, Cell<u8>>, Lease<Maker>)>();
}

#[test]
fn futures_are_send_even_if_the_handle_is_not_sync() {
    future::<(Close, Get<Probe>, Release<Probe>, Get<Maker>, Release<Maker>)>();
    let (maker, scopes) = (Arc::new(Maker), Scopes::new());
    send_value(&Lease::acquire(&maker));
    send_value(&Lease::acquire_in(scopes.reaper(), &maker));
    send_value(&scopes.drain(Duration::ZERO));
    send_value(&scopes.reaper().drain(Duration::ZERO));
    send_value(&scopes.open().handle().closed());
}

#[test]
fn handler_holding_all_types_across_await_can_be_spawned() {
    let (maker, scopes) = (Arc::new(Maker), Scopes::new());
    send_value(&async move {
        let scope = scopes.open();
        let guard = scope.lazy(&maker).get().await.unwrap();
        tokio::task::yield_now().await;
        let lease = Guard::detach(guard);
        tokio::task::yield_now().await;
        Lease::complete(lease).await.unwrap();
        scope.close(Exit::Completed).await.unwrap();
        scopes.drain(Duration::ZERO).await
    });
}

/// The fault: the release was a function pointer, whose signature contains the handle's lifetime. In an `async` block
/// the compiler forgets that it is `'static`, and then finds no implementation of `Resource`.
#[test]
fn task_may_hold_a_static_str_made_by_functions() {
    async fn name() -> Result<&'static str, Error<Infallible>> {
        Ok("alice")
    }
    async fn forget(_name: &'static str, _exit: Exit) -> Result<(), Error<Infallible>> {
        Ok(())
    }
    async fn request<R: Resource>(names: Arc<R>) {
        let scope = Scopes::new().open();
        let name = scope.lazy(&names).get().await.unwrap();
        tokio::task::yield_now().await;
        drop(name);
    }

    let shared = Shared::new(resource_fn(name)).get();
    send_value(&async move { shared.await.unwrap().len() });
    send_value(&request(Arc::new(resource_fn(name))));
    send_value(&request(Arc::new(resource_fn(name).on_release(forget))));
}

#[test]
fn debug_output_shows_handles_and_states() {
    let scopes = Scopes::new();
    let scope = scopes.open();
    let lists = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(vec![1]) }));
    let lazy = scope.lazy(&lists);
    assert_eq!(format!("{lazy:?}"), "Lazy { state: Unused, .. }");
    assert_eq!(format!("{:?}", lazy.try_get()), "Err(WouldWait)");
    let guard = crate::support::get_now(&lazy);
    assert_eq!(format!("{guard:?} {lazy:?}"), "Guard([1]) Lazy { state: Lent, .. }");
    assert_eq!(format!("{:?}", Guard::detach(guard)), "Lease([1])");
    assert_eq!(format!("{:?}", scope.handle()), "ScopeHandle { closed: false, .. }");
    assert!(format!("{scopes:?}").contains("open_scopes: 1"));
}
