//! The context of a call to [`Resource::acquire`](crate::Resource::acquire) that is not in its signature: the reaper to
//! which a wrapper's inner lease belongs, the line of code and the scope of the outermost call, and what the request has
//! said about itself.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::details::Details;
use crate::error::{Error, Stage};
use crate::observer::Subject;
use crate::reaper::Reaper;
use crate::reaper::account::Account;
use crate::rt::catch::{self, Panic};
use crate::rt::sync::thread_local;
use crate::rt::time::Deadline;

/// The reaper, the origin and the details of an acquisition.
#[derive(Clone)]
pub(crate) struct AcquireContext {
    pub(crate) reaper: Reaper,
    pub(crate) details: Details,
    pub(crate) origin: Origin,
}

/// The origin of an acquisition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The line of code of the outermost call.
    pub(crate) taken_at: &'static Location<'static>,
    /// `None` for a lease outside of any scope, and for a [`Shared`](crate::Shared) handle.
    pub(crate) scope: Option<ScopeId>,
}

/// The identity of a scope in this process. A number and not an address: a detached handle outlives its scope, and must
/// not be mistaken for a handle of the next scope at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScopeId(NonZeroU64);

impl ScopeId {
    /// Returns an id that is different from all earlier ones: an odd number.
    pub(crate) fn next() -> Self {
        // Not the atomic of `rt::sync`: the model checker need not see it, because nothing depends on the value.
        // Relaxed: only uniqueness is needed.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        ScopeId(NonZeroU64::MIN | NEXT.fetch_add(2, Ordering::Relaxed))
    }
}

/// The part of a context that is reference-counted.
type Counted = (Reaper, Details);

// Two variables, because this part has to be moved out, and the origin is `Copy` and can be read in place.
thread_local! {
    static COUNTED: Cell<Option<Counted>> = const { Cell::new(None) };
}
thread_local! {
    static ORIGIN: Cell<Option<Origin>> = const { Cell::new(None) };
}

/// Replaces the counted part of this thread's context. A thread that is being torn down has none.
fn replace(new: &mut Option<Counted>) -> Option<Counted> {
    COUNTED.try_with(|current| current.replace(new.take())).ok().flatten()
}

impl Origin {
    /// Returns the origin of the acquisition that this thread is polling right now. This is very cheap.
    #[inline]
    pub(crate) fn current() -> Option<Origin> {
        ORIGIN.try_with(Cell::get).ok().flatten()
    }

    #[inline]
    fn enter(origin: Option<Origin>) -> Option<Origin> {
        ORIGIN.try_with(|current| current.replace(origin)).ok().flatten()
    }
}

impl AcquireContext {
    /// Returns the context of the acquisition that this thread is polling right now.
    pub(crate) fn current() -> Option<AcquireContext> {
        let origin = Origin::current()?;
        let mut current = replace(&mut None);
        let counted = current.clone();
        drop(replace(&mut current));
        let (reaper, details) = counted?;
        Some(AcquireContext { reaper, details, origin })
    }

    /// Opens the account of a handle that was acquired in this context.
    #[inline]
    pub(crate) fn open<R>(self, waited: Duration) -> Account<R> {
        Account::open(self.reaper.into_accounting(), self.origin.taken_at, self.details, waited)
    }

    /// Returns the time limit of an acquisition that begins now.
    pub(crate) fn limit(&self) -> Deadline {
        Deadline::after(self.reaper.accounting().limits.acquire).or_of_request(self.details.deadline())
    }

    /// Returns an error if the deadline of the request has passed.
    #[inline]
    pub(crate) fn refuse_late<C>(&self) -> Option<Error<C>> {
        self.details.deadline().and_then(|request| Deadline::refuse_late(request, Stage::Acquiring))
    }

    /// Counts a failed attempt to acquire a handle of an `R`, and reports it to the observer.
    pub(crate) fn report_failed<R>(&self, error: &(dyn std::error::Error + 'static)) {
        let subject = Subject::of::<R>(self.origin.taken_at, &self.details);
        self.reaper.accounting().acquire_failed(subject, error);
    }

    /// Calls user code in this context, and returns its panic as an error. The context is moved into the thread-locals
    /// meanwhile, not cloned, because every first use takes this path.
    pub(crate) fn enter<T>(self, code: impl FnOnce() -> T) -> (Result<T, Panic>, Self) {
        let AcquireContext { reaper, details, origin } = self;
        let outer_origin = Origin::enter(Some(origin));
        let mut own = Some((reaper, details));
        let mut outer = replace(&mut own);
        let answer = catch::call(code);
        let own = own.or_else(|| replace(&mut outer));
        Origin::enter(outer_origin);
        let (reaper, details) = own.expect("a nested `enter` restores the outer context before it returns");
        (answer, AcquireContext { reaper, details, origin })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use super::*;
    use crate::Guard;
    use crate::Lease;
    use crate::Resource;
    use crate::ResourceExt;
    use crate::Scope;
    use crate::Scopes;
    use crate::Shared;
    use crate::error::Error;

    type Seen = Option<Origin>;

    /// A resource whose handle is the origin that it sees when it is acquired.
    struct Witness {
        ready: bool,
    }

    const AT_ONCE: Witness = Witness { ready: true };
    const LATER: Witness = Witness { ready: false };

    impl Resource for Witness {
        type Handle = Seen;
        type Cause = Infallible;

        async fn acquire(&self) -> Result<Seen, Error<Infallible>> {
            let before = Origin::current();
            tokio::task::yield_now().await;
            assert_eq!(Origin::current(), before, "the origin is the same in the task");
            Ok(before)
        }

        fn try_acquire(&self) -> Option<Seen> {
            self.ready.then(Origin::current)
        }
    }

    /// A resource around a lease, like a transaction.
    struct Around(Arc<Witness>);

    impl Resource for Around {
        type Handle = Lease<Witness>;
        type Cause = Infallible;

        async fn acquire(&self) -> Result<Lease<Witness>, Error<Infallible>> {
            Lease::acquire(&self.0).await
        }
    }

    async fn seen_by<R: Resource<Handle = Seen>>(scope: &Scope, resource: R) -> Result<Seen, Error<R::Cause>> {
        Ok(*scope.lazy(&Arc::new(resource)).get().await?)
    }

    #[tokio::test]
    async fn all_acquisitions_of_a_scope_have_its_id() {
        let scope = Scopes::new().open();
        let own = seen_by(&scope, AT_ONCE).await.unwrap().unwrap().scope;
        assert!(own.is_some());
        assert_eq!(seen_by(&scope, LATER).await.unwrap().unwrap().scope, own);
        let wrapped = LATER.timeout(Duration::from_secs(1));
        assert_eq!(seen_by(&scope, wrapped).await.unwrap().unwrap().scope, own);
        let around = scope.lazy(&Arc::new(Around(Arc::new(LATER))));
        let lease = around.get().await.unwrap();
        assert_eq!(lease.unwrap().scope, own);
    }

    #[tokio::test]
    async fn scope_ids_are_never_used_twice() {
        let (scopes, others) = (Scopes::new(), Scopes::new());
        let witness = Arc::new(AT_ONCE);
        let mut detached = Vec::new();
        for scopes in [&scopes, &scopes, &others] {
            // Each in the memory of the one before.
            let scope = scopes.open();
            detached.push(Guard::detach(scope.lazy(&witness).get().await.unwrap()));
        }
        let ids: Vec<ScopeId> = detached.iter().map(|lease| lease.unwrap().scope.unwrap()).collect();
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[2] != ids[0], "{ids:?}");
    }

    #[tokio::test]
    async fn origin_is_the_line_of_the_outermost_call() {
        let scope = Scopes::new().open();
        let lazy = scope.lazy(&Arc::new(Around(Arc::new(LATER))));
        let (get, line) = (lazy.get(), line!());
        let guard = get.await.unwrap();
        let site = guard.unwrap().taken_at;
        assert_eq!((site.file(), site.line()), (file!(), line));
    }

    #[tokio::test]
    async fn leases_and_shared_handles_have_no_scope() {
        let lease = Lease::acquire(&Arc::new(LATER)).await.unwrap();
        assert!(matches!(*lease, Some(Origin { scope: None, .. })));
        let scopes = Scopes::new();
        let lease = Lease::acquire_in(scopes.reaper(), &Arc::new(AT_ONCE)).await.unwrap();
        assert!(matches!(*lease, Some(Origin { scope: None, .. })));
        let shared = Shared::new(AT_ONCE).get().await.unwrap();
        assert!(matches!(*shared, Some(Origin { scope: None, .. })));
    }

    #[tokio::test]
    async fn origin_can_be_read_twice_and_only_inside() {
        assert_eq!(Origin::current(), None);
        let origin = Origin { taken_at: Location::caller(), scope: Some(ScopeId::next()) };
        let context = AcquireContext { reaper: Reaper::new(), details: Details::NONE, origin };
        let (seen, own) = context.enter(|| [Origin::current(), Origin::current()]);
        assert_eq!(seen.ok(), Some([Some(origin); 2]));
        assert_eq!(own.origin, origin);
        assert_eq!(Origin::current(), None);
    }

    #[test]
    fn nested_enter_restores_the_outer_context() {
        let [outer, inner] = [(); 2].map(|()| Origin { taken_at: Location::caller(), scope: Some(ScopeId::next()) });
        let context = |origin| AcquireContext { reaper: Reaper::new(), details: Details::NONE, origin };
        let (seen, _) = context(outer).enter(|| {
            let (panicked, _) = context(inner).enter(|| {
                assert_eq!(Origin::current(), Some(inner));
                panic!("on its way out");
            });
            (Origin::current(), panicked.is_err_and(|panic: Panic| panic.payload().is::<&str>()))
        });
        assert_eq!(seen.ok(), Some((Some(outer), true)));
        assert_eq!(Origin::current(), None);
    }
}
