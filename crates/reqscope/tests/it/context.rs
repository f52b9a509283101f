//! What a request says about itself reaches every acquisition that it makes, and the observer.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::context::{AcquireContext, Label};
use reqscope::wrap::RetryPolicy;
use reqscope::{BoxResource, Error, Exit, Health, Lease, Resource, ResourceExt, Scope, Scopes, Shared};
use reqscope_testkit::{Probe, Verb, poll_once};
use tokio::task::JoinSet;

use crate::support::{Event, Server, get_now, settle};

#[tokio::test(start_paused = true)]
async fn events_carry_label_and_tenant() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).error().slow(3);
    let scope = server.scopes.open();
    scope.set_label("GET /orders/{id}");
    scope.set_tenant("acme");
    let lazy = scope.lazy(&server.probe);
    lazy.get().await.unwrap_err();
    // In a task of its own.
    drop(lazy.get().await.unwrap());
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
    for event in [Event::AcquireFailed, Event::Acquired, Event::Released(Exit::Completed)] {
        let of = server.events.subject(event);
        assert_eq!((of.label(), of.tenant().unwrap().as_str()), (Some("GET /orders/{id}"), "acme"), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn late_lent_and_abandoned_handles_carry_the_label() {
    let server = Server::new();
    server.probe.on(Verb::Release).never();
    let scope = server.scopes.open();
    scope.set_label("GET /");
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    lazy.get().await.unwrap_err();
    drop(scope);
    drop(guard);
    server.finish().await;
    let cut = Event::Abandoned(Exit::Cancelled, reqscope::observer::Abandoned::Deadline);
    for event in [Event::LentTooLong, Event::StillLent, cut] {
        assert_eq!(server.events.subject(event).label(), Some("GET /"), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn scope_without_details_has_none() {
    let server = Server::new();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let of = server.events.subject(Event::Acquired);
    assert_eq!((of.label(), of.tenant()), (None, None));
    let handle = scope.handle();
    assert_eq!((handle.label(), handle.tenant(), handle.deadline()), (None, None, None));
}

/// The memory of a scope is used again for the next one on the same thread.
#[test]
fn next_scope_does_not_inherit_the_details() {
    let server = Server::new();
    for _ in 0..3 {
        let scope = server.scopes.open();
        assert_eq!((scope.handle().label(), scope.handle().tenant()), (None, None));
        scope.set_label("GET /");
        scope.set_tenant("acme");
        assert_eq!(scope.handle().label(), Some(Label::new("GET /")));
        assert!(poll_once(pin!(scope.close(Exit::Completed))).is_ready());
    }
}

/// The name of a GraphQL operation is known only after authentication has used the database.
#[tokio::test(start_paused = true)]
async fn label_applies_to_later_acquisitions() {
    let server = Server::new();
    let scope = server.scopes.open();
    scope.set_label("POST /graphql");
    drop(get_now(&scope.lazy(&server.probe)));
    scope.handle().set_label("mutation placeOrder");
    let second = Arc::new(server.probe.sibling());
    second.on(Verb::Acquire).error();
    scope.lazy(&second).get().await.unwrap_err();
    assert_eq!(server.events.subject(Event::Acquired).label(), Some("POST /graphql"));
    assert_eq!(server.events.subject(Event::AcquireFailed).label(), Some("mutation placeOrder"));
}

/// What a resource sees of its context: label, tenant, deadline.
type Seen = Option<(Option<String>, Option<String>, Option<Instant>)>;

fn seen() -> Seen {
    AcquireContext::current().map(|context| {
        let tenant = context.tenant().map(|tenant| tenant.as_str().to_owned());
        (context.label().map(str::to_owned), tenant, context.deadline())
    })
}

/// A resource whose handle is what it sees when it is acquired.
#[derive(Clone, Copy)]
struct Witness;

impl Resource for Witness {
    type Handle = Seen;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Seen, Error<Infallible>> {
        let at_first = seen();
        settle().await;
        assert_eq!(seen(), at_first, "it is the same in the task");
        Ok(at_first)
    }
}

/// A resource around a lease, like a transaction.
struct Around<R>(Arc<R>);

impl<R: Resource<Handle = Seen, Cause = Infallible>> Resource for Around<R> {
    type Handle = Seen;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Seen, Error<Infallible>> {
        settle().await;
        let lease = Lease::acquire(&self.0).await?;
        Ok(lease.clone())
    }
}

/// A wrapper of a user, which acquires in a task of its own and tries twice.
struct Elsewhere<R>(Arc<R>);

impl<R: Resource> Resource for Elsewhere<R> {
    type Handle = R::Handle;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<R::Handle, Error<R::Cause>> {
        let inner = Arc::clone(&self.0);
        let context = AcquireContext::current().unwrap();
        let mut task = JoinSet::new();
        task.spawn(context.instrument(async move {
            match inner.acquire().await {
                Err(error) if !error.is_permanent() => {
                    AcquireContext::current().unwrap().report_failed_attempt::<R>(&error);
                    inner.acquire().await
                }
                outcome => outcome,
            }
        }));
        task.join_next().await.unwrap().unwrap()
    }

    async fn validate(&self, handle: &mut R::Handle) -> Result<(), Error<R::Cause>> {
        self.0.validate(handle).await
    }

    async fn release(&self, handle: R::Handle, exit: Exit) -> Result<(), Error<R::Cause>> {
        self.0.release(handle, exit).await
    }

    fn try_acquire(&self) -> Option<R::Handle> {
        self.0.try_acquire()
    }

    fn probe(&self, handle: &R::Handle) -> Health {
        self.0.probe(handle)
    }

    fn reclaim(&self, handle: R::Handle, exit: Exit) -> Result<(), R::Handle> {
        self.0.reclaim(handle, exit)
    }

    fn settles(&self, exit: Exit) -> bool {
        self.0.settles(exit)
    }
}

fn described(scopes: &Scopes) -> (Scope, Seen) {
    let scope = scopes.open();
    let deadline = tokio::time::Instant::now().into_std() + Duration::from_secs(100);
    scope.set_label("GET /");
    scope.set_tenant("acme");
    scope.set_deadline(deadline);
    (scope, Some((Some("GET /".to_owned()), Some("acme".to_owned()), Some(deadline))))
}

async fn seen_through<R: Resource<Handle = Seen, Cause = Infallible>>(resource: R) {
    let (scope, expected) = described(&Scopes::new());
    assert_eq!(*scope.lazy(&Arc::new(resource)).get().await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn context_passes_through_all_wrappers_and_the_task() {
    let second = Duration::from_secs(1);
    seen_through(Witness).await;
    seen_through(Witness.timeout(second)).await;
    seen_through(Witness.retry(RetryPolicy::new())).await;
    seen_through(Witness.boxed()).await;
    seen_through(Arc::new(Witness)).await;
    seen_through(Around(Arc::new(Witness))).await;
    let nested: BoxResource<_, _> = Witness.timeout(second).retry(RetryPolicy::new()).boxed();
    seen_through(Around(Arc::new(Around(Arc::new(nested)))).timeout(second).boxed()).await;
}

#[tokio::test(start_paused = true)]
async fn context_passes_through_a_users_wrapper_that_spawns() {
    seen_through(Elsewhere(Arc::new(Witness))).await;
    seen_through(Elsewhere(Arc::new(Around(Arc::new(Elsewhere(Arc::new(Witness))))))).await;
}

/// Without the context, an inner lease of the wrapper's task would belong to the global reaper, and no drain of these
/// scopes would wait for it.
#[tokio::test(start_paused = true)]
async fn lease_in_a_users_wrapper_belongs_to_the_scopes() {
    let scopes = Scopes::new();
    let (scope, _) = described(&scopes);
    let wrapped = Arc::new(Elsewhere(Arc::new(Around(Arc::new(Witness)))));
    drop(scope.lazy(&wrapped).get().await.unwrap());
    // The handle of the scope, and the lease in it.
    assert_eq!(scopes.stats().acquired, 2);
}

#[tokio::test(start_paused = true)]
async fn users_wrapper_reports_a_failed_attempt() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).error();
    let scope = server.scopes.open();
    scope.set_label("GET /");
    let wrapped = Arc::new(Elsewhere(Arc::clone(&server.probe)));
    let (get, line) = (scope.lazy(&wrapped).get(), line!());
    drop(get.await.unwrap());
    assert_eq!(server.stats().acquire_failed, 1);
    let of = server.events.subject(Event::AcquireFailed);
    assert_eq!((of.resource, of.taken_at.line()), (std::any::type_name::<Probe>(), line));
    assert_eq!(of.label(), Some("GET /"));
}

#[tokio::test(start_paused = true)]
async fn context_ends_with_the_acquisition() {
    let (scope, _) = described(&Scopes::new());
    assert_eq!(seen(), None);
    drop(scope.lazy(&Arc::new(Witness)).get().await.unwrap());
    assert_eq!(seen(), None);
}

#[tokio::test(start_paused = true)]
async fn handles_that_outlive_the_request_have_no_label() {
    struct Sharing(Shared<Witness>);

    impl Resource for Sharing {
        type Handle = Seen;
        type Cause = Infallible;

        async fn acquire(&self) -> Result<Seen, Error<Infallible>> {
            Ok((*self.0.get().await?).clone())
        }
    }

    let (scope, _) = described(&Scopes::new());
    let nothing = Some((None, None, None));
    assert_eq!(*scope.lazy(&Arc::new(Sharing(Shared::new(Witness)))).get().await.unwrap(), nothing);
    let pool = Arc::new(Witness.pooled(reqscope::Pool::builder()));
    assert_eq!(**scope.lazy(&pool).get().await.unwrap(), nothing);
}

/// A panic that goes through `enter` must not leave its context behind on the thread.
#[tokio::test(start_paused = true)]
async fn enter_restores_the_context_after_a_panic() {
    struct Panicking;

    impl Resource for Panicking {
        type Handle = bool;
        type Cause = Infallible;

        async fn acquire(&self) -> Result<bool, Error<Infallible>> {
            let context = AcquireContext::current().unwrap();
            let expected = seen();
            let entering = || context.enter(|| std::panic::resume_unwind(Box::new("scripted")));
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(entering));
            let payload = panicked.unwrap_err();
            Ok(seen() == expected && payload.is::<&str>())
        }
    }

    let (scope, _) = described(&Scopes::new());
    assert!(*scope.lazy(&Arc::new(Panicking)).get().await.unwrap());
    assert_eq!(seen(), None);
}
