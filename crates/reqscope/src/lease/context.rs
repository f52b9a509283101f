//! The context of a call to [`Resource::acquire`](crate::Resource::acquire) that is not in its signature: the reaper to
//! which a wrapper's inner lease belongs, the line of code and the scope of the outermost call, and what the request has
//! said about itself.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::details::{Details, Tenant};
use crate::error::{Error, Holding, Stage};
use crate::observer::Subject;
use crate::reaper::Reaper;
use crate::reaper::account::{Account, Accounting};
use crate::resource::Resource;
use crate::rt::catch::{self, Panic};
use crate::rt::sync::thread_local;
use crate::rt::time::Deadline;

/// What goes beside a call of [`Resource::acquire`]: what the request has said about itself, the line of code that
/// began the acquisition, and the reaper that counts its handles.
///
/// It is set while an acquisition is polled, and inside of [`try_acquire`](Resource::try_acquire).
/// [`current`](AcquireContext::current) returns a copy. A wrapper that awaits the inner `acquire` in its own need not
/// know about it. One that spawns a task, or polls the inner future elsewhere, takes it along with
/// [`instrument`](AcquireContext::instrument) or [`enter`](AcquireContext::enter); without that, the inner resource finds
/// no context, and a [`Lease`](crate::Lease) in it belongs to [`Reaper::global`].
///
/// A clone costs two reference counts. What the request sets after the acquisition has begun does not appear in it.
///
/// # Examples
///
/// A resource that connects to the database of the request's tenant:
///
/// ```
/// use reqscope::context::AcquireContext;
/// use reqscope::{Error, Resource};
/// use std::{fs::File, io};
///
/// struct Journals;
///
/// impl Resource for Journals {
///     type Handle = File;
///     type Cause = io::Error;
///
///     async fn acquire(&self) -> Result<File, Error<io::Error>> {
///         let context = AcquireContext::current();
///         let tenant = context.as_ref().and_then(AcquireContext::tenant);
///         let tenant = tenant.ok_or_else(|| Error::permanent(io::Error::other("the request has no tenant")))?;
///         let path = match tenant.as_str() {
///             "acme" => "acme.log",
///             _ => "others.log", // a key from a client is not a file name
///         };
///         Ok(File::options().append(true).open(path)?)
///     }
/// }
/// ```
///
/// A wrapper that retries once, on a task of its own:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::context::AcquireContext;
/// use reqscope::{Error, Exit, Health, Identity, Reset, Resource};
/// use std::sync::Arc;
/// use tokio::task::JoinSet;
///
/// struct TwiceInATask<R>(Arc<R>);
///
/// impl<R: Resource> Resource for TwiceInATask<R> {
///     type Handle = R::Handle;
///     type Cause = R::Cause;
///
///     async fn acquire(&self) -> Result<R::Handle, Error<R::Cause>> {
///         let inner = self.0.clone();
///         let context = AcquireContext::current();
///         let attempts = async move {
///             match inner.acquire().await {
///                 Err(error) if !error.is_permanent() => {
///                     // The caller gets the error of the last attempt; the observer gets this one.
///                     if let Some(context) = AcquireContext::current() {
///                         context.report_failed_attempt::<R>(&error);
///                     }
///                     inner.acquire().await
///                 }
///                 outcome => outcome,
///             }
///         };
///         let mut task = JoinSet::new(); // aborts the task if this future is dropped (law L3)
///         match context {
///             Some(context) => task.spawn(context.instrument(attempts)),
///             None => task.spawn(attempts),
///         };
///         task.join_next().await.expect("there is one task").expect("`acquire` does not panic")
///     }
///
///     // All other methods are forwarded.
/// #   async fn validate(&self, handle: &mut R::Handle) -> Result<(), Error<R::Cause>> {
/// #       self.0.validate(handle).await
/// #   }
/// #   async fn release(&self, handle: R::Handle, exit: Exit) -> Result<(), Error<R::Cause>> {
/// #       self.0.release(handle, exit).await
/// #   }
/// #   fn try_acquire(&self) -> Option<R::Handle> {
/// #       self.0.try_acquire()
/// #   }
/// #   fn probe(&self, handle: &R::Handle) -> Health {
/// #       self.0.probe(handle)
/// #   }
/// #   fn reclaim(&self, handle: R::Handle, exit: Exit) -> Result<(), R::Handle> {
/// #       self.0.reclaim(handle, exit)
/// #   }
/// #   fn settles(&self, exit: Exit) -> bool {
/// #       self.0.settles(exit)
/// #   }
/// #   fn ends_with_request(&self) -> bool {
/// #       self.0.ends_with_request()
/// #   }
/// #   fn reset(&self) -> Reset {
/// #       self.0.reset()
/// #   }
/// #   fn fault(&self, handle: &R::Handle) -> Option<Error<R::Cause>> {
/// #       self.0.fault(handle)
/// #   }
/// #   fn identity(&self) -> Option<Identity> {
/// #       self.0.identity()
/// #   }
/// }
/// # use reqscope::{Scopes, resource_fn};
/// # use std::io;
/// # let scopes = Scopes::new();
/// # let broken = resource_fn(|| async { Err::<(), _>(Error::failed(io::Error::other("broken"))) });
/// # let broken = Arc::new(TwiceInATask(Arc::new(broken)));
/// # assert!(scopes.open().lazy(&broken).get().await.is_err());
/// # assert_eq!(scopes.stats().acquire_failed, 2);
/// # });
/// ```
#[derive(Clone)]
pub struct AcquireContext {
    pub(crate) shard: Arc<Accounting>,
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

/// The holder of a handle that was taken from a pool.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) origin: Origin,
    /// What its request has said about itself.
    pub(crate) details: Details,
}

impl Holder {
    pub(crate) fn holding(&self, held: Duration) -> Holding {
        Holding { taken_at: self.origin.taken_at, held, label: self.details.to_label() }
    }
}

/// The identity of a scope in this process. A number and not an address: a detached handle outlives its scope, and must
/// not be mistaken for a handle of the next scope at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScopeId(NonZeroU64);

impl ScopeId {
    /// Half of it are ids, the odd ones. A thread takes so many at once, so that threads that open scopes do not meet
    /// at each.
    const BLOCK: u64 = 1 << 12;

    /// Returns an id that is different from all others, of all threads: an odd number.
    #[inline]
    pub(crate) fn next() -> Self {
        let own = |next: &Cell<u64>| {
            let id = if next.get() % Self::BLOCK == 0 { Self::block() } else { next.get() };
            next.set(id + 2);
            id
        };
        // A thread that is being torn down takes a block for each.
        ScopeId(NonZeroU64::MIN | NEXT_ID.try_with(own).unwrap_or_else(|_| Self::block()))
    }

    /// Returns the first number of a block that no thread has taken yet.
    #[cold]
    fn block() -> u64 {
        // Not the atomic of `rt::sync`: the model checker need not see it, because nothing depends on the value.
        // Relaxed: only uniqueness is needed.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(Self::BLOCK, Ordering::Relaxed)
    }
}

// The next number of this thread's block. A multiple of the block's length if none is left.
thread_local! {
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
}

// The context of the acquisition that this thread is polling right now.
thread_local! {
    static CURRENT: RefCell<Option<AcquireContext>> = const { RefCell::new(None) };
}

impl Origin {
    /// Returns the origin of the acquisition that this thread is polling right now. This is very cheap.
    #[inline]
    pub(crate) fn current() -> Option<Origin> {
        AcquireContext::read(|context| context.origin)
    }
}

/// This method is here, and not in `reaper/mod.rs`, because the future runs in a context.
impl Reaper {
    /// Runs a future in a task that a drain waits for: work that follows a request, but must not be lost in a shutdown.
    ///
    /// The future has a [deadline](crate::reaper::ReaperBuilder::task_timeout), 30 s by default, counted from its first
    /// poll. If it panics, misses the deadline, or its runtime ends before it, this is counted
    /// ([`Stats::tasks_failed`](crate::stats::Stats::tasks_failed)) and reported to the observer
    /// ([`Observer::task_failed`](crate::Observer::task_failed)).
    ///
    /// Leases that the future acquires belong to this reaper, so the drain waits for their releases too.
    ///
    /// [`ScopeHandle::on_completed`](crate::ScopeHandle::on_completed) runs a future like this once the request has
    /// succeeded.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::Scopes;
    /// use std::time::Duration;
    ///
    /// let scopes = Scopes::new();
    /// scopes.reaper().spawn(async { tokio::time::sleep(Duration::from_millis(1)).await });
    /// let report = scopes.drain(Duration::from_secs(5)).await; // waits for it
    /// assert!(report.is_clean());
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let spawned_at = Location::caller();
        let context = AcquireContext::of_work(Arc::clone(self.accounting()), Details::NONE, spawned_at);
        self.spawn_in_order(None, [(context.wrap(Box::pin(work)), spawned_at)]);
    }
}

impl AcquireContext {
    /// Returns the context of the acquisition that this thread is polling right now. Returns `None` outside of any
    /// acquisition, and in a task that one has spawned without [`instrument`](AcquireContext::instrument).
    pub fn current() -> Option<AcquireContext> {
        Self::read(AcquireContext::clone)
    }

    /// Returns the origin and the details of the acquisition that this thread is polling right now, for a pool from which
    /// it takes its handle. If there is an observer, it sees the name of that pool in the events of this handle.
    #[inline]
    pub(crate) fn for_handle_of(pool: &Reaper) -> Option<Holder> {
        let enter = |current: &RefCell<Option<Self>>| {
            let mut current = current.borrow_mut();
            let context = current.as_mut()?;
            if context.shard.has_observer() {
                context.details.set_pool(pool.accounting().pool());
            }
            Some(Holder { origin: context.origin, details: context.details.clone() })
        };
        CURRENT.try_with(enter).ok().flatten()
    }

    /// Reads the context of the acquisition that this thread is polling right now. This is very cheap.
    #[inline]
    fn read<T>(read: impl FnOnce(&AcquireContext) -> T) -> Option<T> {
        // A thread that is being torn down has none.
        CURRENT.try_with(|current| current.borrow().as_ref().map(read)).ok().flatten()
    }

    /// Returns the [label](crate::ScopeHandle::set_label) of the request, cut and escaped. Returns `None` if it has
    /// none, and outside of any request: for a [`Lease`](crate::Lease) of your own, a [`Shared`](crate::Shared) handle,
    /// and a handle that a [`Pool`](crate::Pool) creates, which is for whichever request needs it next.
    pub fn label(&self) -> Option<&str> {
        self.details.label()
    }

    /// Returns the [tenant](crate::ScopeHandle::set_tenant) of the request, if it has one. As with the label, there is
    /// none outside of any request.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.details.tenant()
    }

    /// Returns the [deadline](crate::Scope::set_deadline) of the request, if it has one. The acquisition is dropped at
    /// this deadline, or after its own timeout if that is earlier, so only a resource that would begin work which cannot
    /// be finished in time need look at it.
    pub fn deadline(&self) -> Option<Instant> {
        self.details.deadline()
    }

    /// Returns how long the acquisition may take: the [`acquire_timeout`](crate::scope::ScopesBuilder::acquire_timeout),
    /// or the [`create_timeout`](crate::pool::PoolBuilder::create_timeout) of a pool. The
    /// [deadline](AcquireContext::deadline) of the request may come earlier.
    ///
    /// When it has passed, the acquisition is polled once more before it is dropped. A resource that waits for its turn
    /// can look at the clock in that poll, and return an error that says what it has waited for.
    pub fn acquire_timeout(&self) -> Duration {
        self.shard.limits.acquire
    }

    /// Returns whether both acquisitions are of the same scope. If one waits for the other, the request waits for itself,
    /// and an error can say so. Leases outside of any scope are never of the same scope.
    pub fn is_same_scope(&self, other: &AcquireContext) -> bool {
        self.origin.scope.is_some() && self.origin.scope == other.origin.scope
    }

    /// Returns the line of code that began the acquisition: the call of `Lazy::get` or `Lease::acquire`.
    pub fn taken_at(&self) -> &'static Location<'static> {
        self.origin.taken_at
    }

    /// Returns the reaper that counts the handles of this acquisition and runs their releases. Once its
    /// [`Scopes`](crate::Scopes) has been dropped, it may be a part of it, as with [`Lease::reaper`](crate::Lease::reaper).
    pub fn reaper(&self) -> Reaper {
        Reaper::of_shard(&self.shard)
    }

    /// Calls `code` in this context, on this thread. Afterwards, even if it panics, the thread has its former context
    /// again.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Scopes, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// use reqscope::context::AcquireContext;
    ///
    /// let labels = Arc::new(resource_fn(|| async {
    ///     let context = AcquireContext::current().expect("this is an acquisition");
    ///     let work = move || {
    ///         context.enter(|| AcquireContext::current().and_then(|context| context.label().map(str::to_owned)))
    ///     };
    ///     Ok::<_, Error<Infallible>>(tokio::task::spawn_blocking(work).await.expect("it does not panic"))
    /// }));
    /// let scope = Scopes::new().open();
    /// scope.set_label("GET /");
    /// assert_eq!(scope.lazy(&labels).get().await.unwrap().as_deref(), Some("GET /"));
    /// # });
    /// ```
    pub fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        let (answer, _context) = self.clone().call(code);
        answer.unwrap_or_else(|panic| panic.resume())
    }

    /// Runs a future in this context, for a task that an acquisition spawns: each poll [enters](AcquireContext::enter)
    /// it. The future is dropped outside of the context, as that of an acquisition is.
    ///
    /// # Cancel safety
    ///
    /// The same as that of `future`.
    pub async fn instrument<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| self.enter(|| future.as_mut().poll(cx))).await
    }

    /// Reports a failed attempt to acquire a handle of an `R` to the observer, as
    /// [`acquire_failed`](crate::Observer::acquire_failed), and counts it in
    /// [`Stats::acquire_failed`](crate::stats::Stats::acquire_failed).
    ///
    /// For a wrapper that tries again, with its inner resource as `R`. The error that `acquire` returns in the end is
    /// reported by the acquisition itself.
    pub fn report_failed_attempt<R: Resource>(&self, error: &Error<R::Cause>) {
        let subject = Subject::of::<R>(self.origin.taken_at, &self.details);
        self.shard.acquire_failed(subject, error);
    }

    /// Returns the context of an acquisition within this one, which may take its handle from another pool, or from none.
    pub(crate) fn inner(self) -> Self {
        AcquireContext { details: self.details.without_pool(), ..self }
    }

    /// Returns the context of work that follows a request. It has no deadline: that of the request may have passed.
    pub(crate) fn of_work(shard: Arc<Accounting>, details: Details, taken_at: &'static Location<'static>) -> Self {
        AcquireContext { shard, details: details.without_deadline(), origin: Origin { taken_at, scope: None } }
    }

    /// Wraps a future of work, so that it runs in this context.
    pub(crate) fn wrap(
        self,
        work: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.instrument(work))
    }

    /// Opens the account of a handle that was acquired in this context.
    #[inline]
    pub(crate) fn open<R>(self, waited: Duration) -> Account<R> {
        Account::open(self.shard, self.origin.taken_at, self.details, waited)
    }

    /// Returns the time limit of an acquisition that begins now.
    pub(crate) fn limit(&self) -> Deadline {
        Deadline::after(self.shard.limits.acquire).or_of_request(self.details.deadline())
    }

    /// Returns an error if the deadline of the request has passed.
    #[inline]
    pub(crate) fn refuse_late<C>(&self) -> Option<Error<C>> {
        self.details.deadline().and_then(|request| Deadline::refuse_late(request, Stage::Acquiring))
    }

    /// Calls user code in this context, and returns its panic as an error. The context is moved into the thread-local
    /// meanwhile, not cloned, because every first use takes this path.
    #[inline(always)]
    pub(crate) fn call<T>(self, code: impl FnOnce() -> T) -> (Result<T, Panic>, Self) {
        // A thread that is being torn down has no place for it, and keeps it here.
        let exchange = |context: &mut Option<Self>| {
            CURRENT.try_with(|current| mem::swap(&mut *current.borrow_mut(), context)).unwrap_or(());
        };
        let mut context = Some(self);
        exchange(&mut context);
        let answer = catch::call(code);
        exchange(&mut context);
        (answer, context.expect("a nested call restores the outer context before it returns"))
    }
}

impl fmt::Debug for AcquireContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireContext")
            .field("taken_at", &format_args!("{}", self.origin.taken_at))
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

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
        let context = AcquireContext { shard: Reaper::new().own_shard(), details: Details::NONE, origin };
        let (seen, own) = context.call(|| [Origin::current(), Origin::current()]);
        assert_eq!(seen.ok(), Some([Some(origin); 2]));
        assert_eq!(own.origin, origin);
        assert_eq!(Origin::current(), None);
    }

    #[test]
    fn nested_call_restores_the_outer_context() {
        let [outer, inner] = [(); 2].map(|()| Origin { taken_at: Location::caller(), scope: Some(ScopeId::next()) });
        let context = |origin| AcquireContext { shard: Reaper::new().own_shard(), details: Details::NONE, origin };
        let (seen, _) = context(outer).call(|| {
            let (panicked, _) = context(inner).call(|| {
                assert_eq!(Origin::current(), Some(inner));
                panic!("on its way out");
            });
            (Origin::current(), panicked.is_err_and(|panic: Panic| panic.payload().is::<&str>()))
        });
        assert_eq!(seen.ok(), Some((Some(outer), true)));
        assert_eq!(Origin::current(), None);
    }
}
