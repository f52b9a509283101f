//! What goes beside a call to [`Resource::acquire`](crate::Resource::acquire) instead of through its signature: on
//! whose books a wrapper's inner lease belongs, and where in the program, and in which scope, the outermost one was
//! asked for.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::reaper::Reaper;
use crate::reaper::account::Account;
use crate::rt::catch::{self, Panic};
use crate::rt::sync::thread_local;

#[derive(Clone)]
pub(crate) struct AcquireContext {
    pub(crate) reaper: Reaper,
    pub(crate) origin: Origin,
}

/// Where an acquisition comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The line of the program that asked.
    pub(crate) taken_at: &'static Location<'static>,
    /// `None` where no scope asks: for a lease outside of any, and for what everybody shares.
    pub(crate) scope: Option<ScopeId>,
}

/// One scope of this process. A number and no address: what was detached from a scope outlives it, and must not be
/// taken for a handle of the next one that stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScopeId(NonZeroU64);

impl ScopeId {
    /// Another one than all before: they are the odd numbers.
    pub(crate) fn next() -> Self {
        // Not through the door to the atomics: a model checker need not see it, for nothing depends on the number that
        // a scope has. Relaxed: no two get the same, and no more is asked.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        ScopeId(NonZeroU64::MIN | NEXT.fetch_add(2, Ordering::Relaxed))
    }
}

// Apart, as one is counted and has to be moved, and the other is plain and can be read where it lies.
thread_local! {
    static REAPER: Cell<Option<Reaper>> = const { Cell::new(None) };
}
thread_local! {
    static ORIGIN: Cell<Option<Origin>> = const { Cell::new(None) };
}

/// Puts another one in the place of the current one. A thread that is being torn down has none any more, and keeps
/// none.
fn replace(new: &mut Option<Reaper>) -> Option<Reaper> {
    REAPER.try_with(|current| current.replace(new.take())).ok().flatten()
}

impl Origin {
    /// That of the acquisition that this thread is polling right now. It costs next to nothing.
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
    /// Those of the acquisition that this thread is polling right now.
    pub(crate) fn current() -> Option<AcquireContext> {
        let origin = Origin::current()?;
        let mut current = replace(&mut None);
        let reaper = current.clone();
        drop(replace(&mut current));
        Some(AcquireContext { reaper: reaper?, origin })
    }

    /// Opens the account of a handle that has just arrived in them.
    #[inline]
    pub(crate) fn open<R>(self, waited: Duration) -> Account<R> {
        Account::open(self.reaper.into_accounting(), self.origin.taken_at, waited)
    }

    /// Calls the code of a user inside of them, and hands back its panic. They are lent to the thread meanwhile,
    /// not counted up: this stands on the path of every first use.
    pub(crate) fn enter<T>(self, code: impl FnOnce() -> T) -> (Result<T, Panic>, Self) {
        let AcquireContext { reaper, origin } = self;
        let outer_origin = Origin::enter(Some(origin));
        let mut own = Some(reaper);
        let mut outer = replace(&mut own);
        let answer = catch::call(code);
        let own = own.or_else(|| replace(&mut outer));
        Origin::enter(outer_origin);
        let reaper = own.expect("a nested `enter` restores the outer reaper before it returns");
        (answer, AcquireContext { reaper, origin })
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

    /// Its handle is what it sees when it is asked for one.
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
            assert_eq!(Origin::current(), before, "it goes along into the task");
            Ok(before)
        }

        fn try_acquire(&self) -> Option<Seen> {
            self.ready.then(Origin::current)
        }
    }

    /// A resource around a lease, as a transaction is.
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
    async fn all_that_one_scope_asks_for_is_asked_for_by_that_scope() {
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
    async fn two_scopes_are_never_the_same_though_one_is_over() {
        let (scopes, others) = (Scopes::new(), Scopes::new());
        let witness = Arc::new(AT_ONCE);
        let mut detached = Vec::new();
        for scopes in [&scopes, &scopes, &others] {
            // Each in the place of the one before.
            let scope = scopes.open();
            detached.push(Guard::detach(scope.lazy(&witness).get().await.unwrap()));
        }
        let ids: Vec<ScopeId> = detached.iter().map(|lease| lease.unwrap().scope.unwrap()).collect();
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[2] != ids[0], "{ids:?}");
    }

    #[tokio::test]
    async fn the_site_is_that_of_the_outermost_call() {
        let scope = Scopes::new().open();
        let lazy = scope.lazy(&Arc::new(Around(Arc::new(LATER))));
        let (get, line) = (lazy.get(), line!());
        let guard = get.await.unwrap();
        let site = guard.unwrap().taken_at;
        assert_eq!((site.file(), site.line()), (file!(), line));
    }

    #[tokio::test]
    async fn no_scope_asks_for_a_lease_outside_of_any_nor_for_what_everybody_shares() {
        let lease = Lease::acquire(&Arc::new(LATER)).await.unwrap();
        assert!(matches!(*lease, Some(Origin { scope: None, .. })));
        let scopes = Scopes::new();
        let lease = Lease::acquire_in(scopes.reaper(), &Arc::new(AT_ONCE)).await.unwrap();
        assert!(matches!(*lease, Some(Origin { scope: None, .. })));
        let shared = Shared::new(AT_ONCE).get().await.unwrap();
        assert!(matches!(*shared, Some(Origin { scope: None, .. })));
    }

    #[tokio::test]
    async fn a_look_leaves_them_where_they_are_and_elsewhere_there_are_none() {
        assert_eq!(Origin::current(), None);
        let origin = Origin { taken_at: Location::caller(), scope: Some(ScopeId::next()) };
        let context = AcquireContext { reaper: Reaper::new(), origin };
        let (seen, own) = context.enter(|| [Origin::current(), Origin::current()]);
        assert_eq!(seen.ok(), Some([Some(origin); 2]));
        assert_eq!(own.origin, origin);
        assert_eq!(Origin::current(), None);
    }

    #[test]
    fn whoever_is_entered_inside_of_others_leaves_those_as_they_were() {
        let [outer, inner] = [(); 2].map(|()| Origin { taken_at: Location::caller(), scope: Some(ScopeId::next()) });
        let context = |origin| AcquireContext { reaper: Reaper::new(), origin };
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
