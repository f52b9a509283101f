//! What a pool shows about the requests that hold its handles.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::Subject;
use reqscope::{Error, Exit, Lease, Observer, Pool, Pooled, Resource, ResourceExt, Scopes};
use reqscope_testkit::{Probe, Scripted};

use super::aging::{ROUND, SECOND, pass, without_limits};
use super::rig::Around;

/// An observer that records label, tenant and pool of each event.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<[Option<String>; 3]>>>);

impl Names {
    fn record(&self, of: &Subject) {
        let tenant = of.tenant().map(ToString::to_string);
        self.0.lock().push([of.label().map(str::to_owned), tenant, of.pool().map(str::to_owned)]);
    }

    fn take(&self) -> Vec<[Option<String>; 3]> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Observer for Names {
    fn acquired(&self, of: Subject, _waited: Duration) {
        self.record(&of);
    }

    fn held_too_long(&self, of: Subject, _held: Duration) {
        self.record(&of);
    }
}

fn names<const N: usize>(names: [Option<&str>; N]) -> [Option<String>; N] {
    names.map(|name| name.map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn holders_show_the_label_of_their_request() {
    let pool = Arc::new(Pool::builder().build(Probe::new()));
    let scope = Scopes::new().open();
    scope.set_label("GET /orders/{id}");
    let _guard = scope.lazy(&pool).get().await.unwrap();
    let _direct = pool.get().await.unwrap();
    let labels: Vec<_> = pool.holders().into_iter().map(|holding| holding.label).collect();
    assert_eq!(labels.iter().flatten().map(ToString::to_string).collect::<Vec<_>>(), ["GET /orders/{id}"]);
    assert_eq!(labels.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn label_reaches_a_pool_inside_of_a_wrapper() {
    let pool = Arc::new(Pool::builder().build(Probe::new()));
    let scope = Scopes::new().open();
    scope.set_label("POST /orders");
    let _guard = scope.lazy(&Arc::new(Around(Arc::clone(&pool)))).get().await.unwrap();
    assert_eq!(pool.holders()[0].label.as_ref().map(ToString::to_string).as_deref(), Some("POST /orders"));
}

/// The waiter's handle is granted to it while it waits, so its label must wait with it.
#[tokio::test(start_paused = true)]
async fn label_of_a_waiter_becomes_that_of_the_holder() {
    let pool = Arc::new(Pool::builder().max_size(1).build(Probe::new()));
    let first: Pooled<Probe> = pool.get().await.unwrap();
    let scope = Scopes::new().open();
    scope.set_label("GET /waits");
    let lazy = scope.lazy(&pool);
    let waiting = tokio::spawn(async move { lazy.get().await.unwrap() });
    tokio::task::yield_now().await;
    pool.put(first);
    let _guard = waiting.await.unwrap();
    assert_eq!(pool.holders()[0].label.as_ref().map(ToString::to_string).as_deref(), Some("GET /waits"));
}

/// An operator reads who holds the handles in the error of the caller that got none. A label comes from the program, but
/// may quote what a client sent: it must not forge a line of the log.
#[tokio::test(start_paused = true)]
async fn shortage_shows_the_label_escaped_and_cut() {
    let pool = Arc::new(without_limits().name("orders").max_size(1).acquire_timeout(SECOND).build(Probe::new()));
    let scope = Scopes::new().open();
    scope.set_label(format!("query {}\nERROR forged", "x".repeat(110)));
    let _guard = scope.lazy(&pool).get().await.unwrap();
    let message = pool.get().await.unwrap_err().to_string();
    assert!(message.contains("pool orders: 1 of 1 in use"), "{message}");
    assert!(message.ends_with(&format!(r" by query {}\nERROR forge", "x".repeat(110))), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[tokio::test(start_paused = true)]
async fn held_too_long_names_request_and_pool() {
    let seen = Names::default();
    let builder = without_limits().name("orders").leak_after(60 * SECOND).observer(seen.clone());
    let pool = Arc::new(builder.build(Probe::new()));
    let scope = Scopes::new().open();
    scope.set_label("GET /report");
    scope.set_tenant("acme");
    let _guard = scope.lazy(&pool).get().await.unwrap();
    // A creation is for whichever request needs the handle next.
    assert_eq!(seen.take(), [names([None, None, Some("orders")])]);
    pass(60 * SECOND + 3 * ROUND).await;
    assert_eq!(seen.take(), [names([Some("GET /report"), Some("acme"), Some("orders")])]);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_pool_without_a_name_have_its_type() {
    let (of_pool, of_scopes) = (Names::default(), Names::default());
    let pool = Arc::new(Pool::builder().observer(of_pool.clone()).build(Probe::new()));
    let scopes = Scopes::builder().observer(of_scopes.clone()).build();
    let scope = scopes.open();
    drop(scope.lazy(&pool).get().await.unwrap());
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(of_pool.take(), [names([None, None, Some(std::any::type_name::<Probe>())])]);
    assert_eq!(of_scopes.take(), [names([None, None, Some(std::any::type_name::<Probe>())])]);
}

/// The fault: two pools of one type could not be told apart in the events of a scope.
#[tokio::test(start_paused = true)]
async fn events_of_a_scope_name_the_pool_of_the_handle() {
    let of_scopes = Names::default();
    let pool = |name: &'static str| Arc::new(Pool::builder().name(name).build(Probe::new()));
    let (orders, reports) = (pool("orders"), pool("reports"));
    let scopes = Scopes::builder().observer(of_scopes.clone()).build();
    // The first use of a pool waits for a creation, the second one finds an idle handle.
    for _ in 0..2 {
        let scope = scopes.open();
        scope.set_label("GET /");
        let bounded = Arc::new(Arc::clone(&reports).timeout(SECOND));
        drop(scope.lazy(&orders).get().await.unwrap());
        drop(scope.lazy(&bounded).get().await.unwrap());
        let plain = Arc::new(Probe::new());
        drop(scope.lazy(&plain).get().await.unwrap());
        scope.close(Exit::Completed).await.unwrap();
        let label = Some("GET /");
        let seen =
            [names([label, None, Some("orders")]), names([label, None, Some("reports")]), names([label, None, None])];
        assert_eq!(of_scopes.take(), seen);
    }
}

/// The pool that a resource uses first is not the pool of what it acquires next.
#[tokio::test(start_paused = true)]
async fn lease_inside_of_a_resource_does_not_inherit_its_pool() {
    struct Pair(Pool<Probe>, Arc<Probe>);

    impl Resource for Pair {
        type Handle = (Pooled<Probe>, Lease<Probe>);
        type Cause = Scripted;

        async fn acquire(&self) -> Result<Self::Handle, Error<Scripted>> {
            Ok((self.0.get().await?, Lease::acquire(&self.1).await?))
        }
    }

    let seen = Names::default();
    let scopes = Scopes::builder().observer(seen.clone()).build();
    let pair = Arc::new(Pair(Pool::builder().name("orders").build(Probe::new()), Arc::new(Probe::new())));
    let scope = scopes.open();
    drop(scope.lazy(&pair).get().await.unwrap());
    assert_eq!(seen.take(), [names([None, None, None]), names([None, None, Some("orders")])]);
}
