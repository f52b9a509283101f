mod close;
mod cancel;
mod reuse;
mod exits;
mod counting;
mod quiet_drop;
mod report;
mod scope;
mod fixture;
mod limits;
mod unwind;
mod verbs;
mod uses;
mod census;
mod operation;

use std::cell::Cell;
use std::fmt::{self, Display};
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use reqscope::Resource;

use crate::panics::message;
use crate::probe::Probe;
use census::Census;
use fixture::{Setup, surplus_breach};
use operation::{Operate, Operation};
use report::{Eyes, Known, Needs};
use unwind::catch_panic;

pub use report::{Breach, Law, Report};

/// Creates the suite that runs a resource under the laws. Awaiting it runs it, and panics with a report of the laws
/// that the resource breaks.
///
/// `make` creates the resource, anew for each case. If it builds on the [`Probe`] that it is passed, as a wrapper or a
/// pool can, the suite counts inside and outside of it. If it ignores the probe, as an adapter does, the suite counts
/// outside only, until it is given [a use of a handle](Laws::with_use) and [a census](Laws::with_census) of the server.
/// Every future is cancelled at each of its awaits in turn: at poll 0, 1, 2, … until it finishes. In one case the probe
/// [settles](Resource::settles), and so must a resource that passes a `Completed` on to it; a resource that keeps
/// handles, such as a pool, must refuse this probe by a panic in `make`.
///
/// The macro [`laws!`](crate::laws!) creates a test that awaits this. [`Laws::judge`] returns a [`Report`] instead of
/// panicking.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// reqscope_testkit::laws(|probe| probe).await;
/// # });
/// ```
///
/// An adapter, whose handles the suite uses, and whose server it asks what is open:
///
/// ```
/// # use reqscope::{Error, Exit, Resource};
/// # use std::convert::Infallible;
/// # use std::sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}};
/// # #[derive(Clone, Default)]
/// # struct Server(Arc<AtomicUsize>);
/// # impl Server {
/// #     async fn open_connections(&self) -> usize { self.0.load(Relaxed) }
/// # }
/// # struct Adapter(Server);
/// # impl Adapter {
/// #     fn new(server: &Server) -> Self { Adapter(server.clone()) }
/// # }
/// # struct Connection(Server);
/// # impl Connection {
/// #     async fn echo(&mut self, number: u32) -> Result<u32, Infallible> {
/// #         tokio::task::yield_now().await;
/// #         Ok(number)
/// #     }
/// # }
/// # impl Drop for Connection {
/// #     fn drop(&mut self) { self.0.0.fetch_sub(1, Relaxed); }
/// # }
/// # impl Resource for Adapter {
/// #     type Handle = Connection;
/// #     type Cause = Infallible;
/// #     async fn acquire(&self) -> Result<Connection, Error<Infallible>> {
/// #         self.0.0.fetch_add(1, Relaxed);
/// #         Ok(Connection(self.0.clone()))
/// #     }
/// #     async fn release(&self, connection: Connection, _exit: Exit) -> Result<(), Error<Infallible>> {
/// #         drop(connection);
/// #         Ok(())
/// #     }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// # let server = Server::default();
/// reqscope_testkit::laws(|_probe| Adapter::new(&server))
///     .with_use(async |connection, user| connection.echo(user).await)
///     .with_census(async || server.open_connections().await)
///     .await;
/// # });
/// ```
pub fn laws<'a, R: Resource>(make: impl Fn(Probe) -> R + 'a) -> Laws<'a, R> {
    Laws { make: Box::new(make), operation: None, census: None, known: Vec::new(), users: Cell::new(0) }
}

/// The suite that runs a resource under the laws, created by [`laws`].
///
/// Await it, or call [`judge`](Laws::judge). It runs on any tokio runtime with a clock. The clock may be paused if the
/// resource, the use and the census do all their waiting on it.
///
/// # Bounds
///
/// Every call has to end within 5 s of tokio's clock. One that does not, or that blocks its thread for 30 s in a drop,
/// ends the run with a report of what hangs, because it would hang in the other cases too. What the suite cannot end
/// is a call that blocks its thread in a poll.
///
/// # Panics
///
/// If a law is broken, awaiting this panics; the message names the law, what was done, and what was seen. It also
/// panics outside of a tokio runtime with a clock.
///
/// # Cancel safety
///
/// Dropping the future stops the suite, and drops the resources that it has created.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use reqscope_testkit::{Laws, Probe, laws};
///
/// let suite: Laws<'_, Probe> = laws(|probe| probe);
/// let report = suite.judge().await;
/// assert!(report.is_clean(), "{report}");
/// # });
/// ```
#[must_use = "the suite runs when it is awaited"]
pub struct Laws<'a, R: Resource> {
    make: Box<dyn Fn(Probe) -> R + 'a>,
    operation: Option<Box<dyn Operate<R::Handle> + 'a>>,
    census: Option<Census<'a>>,
    known: Vec<Known>,
    /// The number of the last user.
    users: Cell<u32>,
}

impl<'a, R: Resource> Laws<'a, R> {
    /// Adds the cases that use handles. Without an operation, the suite moves handles and never uses them, because it
    /// does not know how.
    ///
    /// The operation is passed a handle and the number of its user. It asks the backend for that number, and returns the
    /// answer. It is cut at each of its awaits in turn, and the handle returns as `Cancelled`, as `Completed`, dropped
    /// without a release, and with its whole request. Then the answers of the next users must be their own. A resource
    /// that is not a pool is also treated as a pool treats it: a handle whose [`probe`](Resource::probe) is `Clean` or
    /// `Ready`, or that `validate` has proved, serves the next user.
    ///
    /// ```
    /// # use reqscope::{Error, Exit, Resource};
    /// # use reqscope_testkit::{Probe, laws};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// laws(|probe| probe)
    ///     .with_use(async |handle, user| {
    ///         handle.taken_by(user.into());
    ///         handle.operate().await.map(|()| user) // with a database: "SELECT {user}"
    ///     })
    ///     .await;
    /// # });
    /// ```
    ///
    /// A user may find more of the one before than an answer. For state that has to be reset, such as a session
    /// variable, look at it first: if it holds a number, return that one. Otherwise set it to the user's number, and
    /// return what the backend answers.
    pub fn with_use<E: Display + 'a>(
        mut self,
        operation: impl AsyncFn(&mut R::Handle, u32) -> Result<u32, E> + 'a,
    ) -> Self {
        self.operation = Some(Box::new(Operation::new(operation)));
        self
    }

    /// Adds a census: a count of the handles that are open at the server, such as connections or descriptors.
    ///
    /// It is taken before the suite. After every case, when the resource has been dropped, it must return to that
    /// number within 5 s; and while a resource lives, acquires that were cut must not each leave one more. Count what
    /// belongs to this test only, for example by the name of a database user, because other tests run at the same
    /// time. Leave out the connection that counts.
    pub fn with_census(mut self, open: impl AsyncFn() -> usize + 'a) -> Self {
        self.census = Some(Census::new(open));
        self
    }

    /// Lists a breach that is known and will be mended, and why it is there. May be called several times.
    ///
    /// A breach of `law` whose text contains `seen` does not fail the test. When it does not occur any more the test
    /// fails, so that the list stays true.
    ///
    /// ```should_panic
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// use reqscope_testkit::{Law, laws};
    ///
    /// // The probe keeps all laws, so this panics.
    /// laws(|probe| probe).known(Law::L3, "an acquire cancelled", "the driver closes too late").await;
    /// # });
    /// ```
    pub fn known(mut self, law: Law, seen: impl Into<String>, why: impl Into<String>) -> Self {
        self.known.push(Known { law, seen: seen.into(), why: why.into() });
        self
    }

    /// Runs the suite, and returns a report of the laws that the resource breaks.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with a clock.
    ///
    /// # Cancel safety
    ///
    /// As [`Laws`].
    ///
    /// # Examples
    ///
    /// A resource that is wrong on purpose, and the law that it breaks:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// use reqscope::{Error, Exit, Resource};
    /// use reqscope_testkit::{Law, Probe, ProbeHandle, Scripted, laws};
    ///
    /// /// Passes every exit on as a success.
    /// struct Optimist(Probe);
    ///
    /// impl Resource for Optimist {
    ///     type Handle = ProbeHandle;
    ///     type Cause = Scripted;
    ///
    ///     async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
    ///         self.0.acquire().await
    ///     }
    ///
    ///     async fn release(&self, handle: ProbeHandle, _exit: Exit) -> Result<(), Error<Scripted>> {
    ///         self.0.release(handle, Exit::Completed).await
    ///     }
    /// }
    ///
    /// let report = laws(Optimist).judge().await;
    /// assert!(report.breaches().iter().any(|breach| breach.law == Law::L9));
    /// # });
    /// ```
    pub async fn judge(mut self) -> Report {
        let known = std::mem::take(&mut self.known);
        let mut report = self.run().await;
        report.tolerate(known);
        report
    }

    async fn run(&self) -> Report {
        let mut report = Report::default();
        let mut eyes = Eyes { probe: false, census: self.census.is_some(), operation: self.operation.is_some() };
        if let Some(census) = &self.census {
            if let Err(surplus) = census.start_from_now().await {
                report.add(Err(surplus_breach(Law::L12, "before the first case", &surplus)), true);
            }
        }
        macro_rules! cases {
            ($($law:ident $module:ident::$case:ident $needs:ident,)*) => {$(
                if report.has_ended() {
                    report.skip_case();
                } else {
                    let case = Box::pin($module::$case(Setup { laws: self, law: Law::$law }));
                    let verdict = self.case(Law::$law, stringify!($case), case).await;
                    report.add(verdict, eyes.see(Needs::$needs));
                }
            )*};
        }
        cases! {
            L4 verbs::second_acquire_is_served_or_waits Sight,
        }
        // Known after a handle could be acquired.
        if !report.has_ended() {
            eyes.probe = Setup { laws: self, law: Law::L2 }.uses_the_probe().await;
        }
        cases! {
            L14 uses::operation_answers_its_user Use,
            L2 verbs::new_resource_acquires_nothing Sight,
            L1 verbs::handle_is_released_with_every_exit Sight,
            L1 verbs::shortcuts_count_too Sight,
            L1 verbs::failed_release_ends_the_handle Probe,
            L1 verbs::half_made_handle_is_released Probe,
            L7 verbs::failed_acquire_is_tried_again Probe,
            L9 verbs::exit_is_passed_on Probe,
            L11 verbs::settling_is_consistent Sight,
            L11 verbs::inner_settle_is_not_hidden Probe,
            L3 cancel::cancelled_acquire_leaves_nothing Sight,
            L3 cancel::cancelled_acquires_leave_nothing_open Census,
            L6 cancel::late_handle_is_released Probe,
            L3 cancel::cancelled_lease_leaves_nothing Sight,
            L12 cancel::cancelled_release_frees_the_slot Sight,
            L1 cancel::cancelled_validate_keeps_the_handle Sight,
            L14 uses::cut_use_then_cancelled_spoils_no_answer Use,
            L14 uses::cut_use_then_completed_spoils_no_answer Use,
            L14 uses::cut_use_then_dropped_spoils_no_answer Use,
            L14 uses::proved_handle_spoils_no_answer Use,
            L14 uses::completed_use_leaves_nothing Use,
            L14 uses::cut_request_spoils_no_answer Use,
            L14 reuse::handle_in_doubt_is_validated Probe,
            L14 reuse::dropped_handle_is_validated_unless_clean Probe,
            L14 reuse::handle_that_fails_validation_is_not_reused Probe,
            L14 reuse::dead_handle_is_not_reused Probe,
            L2 scope::unused_scope_acquires_nothing Sight,
            L4 scope::first_users_share_one_acquisition Sight,
            L5 scope::sleeping_first_user_stalls_no_other Sight,
            L6 scope::close_cancels_the_acquisition Sight,
            L6 scope::handle_for_a_closed_scope_is_released Probe,
            L6 scope::handle_that_meets_the_close_is_released Sight,
            L7 scope::error_is_shared_and_not_cached Sight,
            L1 scope::request_by_shortcuts Sight,
            L1 scope::cancelled_request_leaves_nothing Sight,
            L8 exits::lent_handle_outlives_its_scope Sight,
            L9 exits::scope_passes_on_the_exit Sight,
            L9 exits::panic_under_a_guard_is_sticky Sight,
            L9 exits::lease_passes_on_the_exit Sight,
            L10 close::handles_are_released_in_order Sight,
            L10 close::hung_release_holds_up_no_other Sight,
            L11 close::cancelled_close_settles_all_the_same Sight,
            L11 close::failed_settle_fails_the_close Sight,
            L12 close::hung_acquire_ends Sight,
            L12 close::hung_release_ends Sight,
            L16 close::drain_waits_for_all Sight,
            L15 quiet_drop::handle_drops_quietly Sight,
            L15 quiet_drop::verb_futures_drop_quietly Sight,
            L15 quiet_drop::owners_drop_quietly Sight,
            L15 quiet_drop::shutdown_is_quiet Sight,
        }
        report
    }

    /// Runs one case. What it leaves open at the server is a breach, too.
    async fn case(&self, law: Law, name: &str, case: impl Future<Output = report::Verdict>) -> report::Verdict {
        let name = name.replace('_', " ");
        let verdict = catch_panic(case)
            .await
            .unwrap_or_else(|panic| Err(Breach::new(law, &*name, format!("a panic: {}", message(&*panic)))));
        let Some(census) = &self.census else { return verdict };
        let counted = census.at_start().await;
        if counted.is_err() {
            // What this case has left behind is not held against the next one.
            census.start_from_now().await.map_err(|surplus| surplus_breach(law, &name, &surplus))?;
        }
        verdict.and(counted.map_err(|surplus| surplus_breach(law, &name, &surplus)))
    }
}

impl<'a, R: Resource> IntoFuture for Laws<'a, R> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let report = self.judge().await;
            assert!(report.is_clean(), "{report}");
            println!("{report}"); // shown by `cargo test -- --nocapture`
        })
    }
}

impl<R: Resource> fmt::Debug for Laws<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Laws").field("known", &self.known).finish_non_exhaustive()
    }
}

/// Creates a test that runs a resource under the [laws](fn@crate::laws), on a current-thread runtime and the real
/// clock.
///
/// For another runtime, a paused clock, a use or a census, write the test by hand: `laws(make).await`.
///
/// ```
/// use reqscope_testkit::laws;
///
/// laws!(the_probe_keeps_the_laws, |probe| probe);
/// ```
#[macro_export]
macro_rules! laws {
    ($name:ident, $make:expr $(,)?) => {
        #[test]
        fn $name() {
            $crate::run_laws($make);
        }
    };
}

/// Runs the test that [`laws!`](crate::laws!) creates.
#[doc(hidden)]
pub fn run_laws<R: Resource>(make: impl Fn(Probe) -> R) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has a descriptor left").block_on(laws(make).into_future());
}
