mod close;
mod cancel;
mod reuse;
mod exits;
mod counting;
mod quiet_drop;
mod report;
mod scope;
mod fixture;
mod unwind;
mod verbs;

use reqscope::Resource;

use crate::panics::message;
use crate::probe::Probe;
use fixture::Setup;
use unwind::catch_panic;

pub use report::{Breach, Law, Report};

/// Runs a resource under the laws, and panics with a report of those it breaks.
///
/// `make` creates the resource, anew for each case. If it builds on the [`Probe`] that it is passed, as a wrapper or a
/// pool can, the suite counts inside and outside of it. If it ignores the probe, as an adapter does, the suite counts
/// outside only. Every future is cancelled at each of its awaits in turn: at poll 0, 1, 2, … until it finishes.
///
/// The macro [`laws!`](crate::laws!) creates a test that calls this function. [`judge`] returns a [`Report`] instead of
/// panicking.
///
/// # Panics
///
/// Panics if a law is broken; the message names the law, what was done, and what was seen. Also panics outside of a
/// tokio runtime with a clock. The clock may be paused if the resource does all its waiting on it.
///
/// # Cancel safety
///
/// Dropping the future stops the suite, and drops the resources that it has created.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// reqscope_testkit::laws(|probe| probe).await;
/// # });
/// ```
pub async fn laws<R: Resource>(make: impl Fn(Probe) -> R) {
    let report = judge(make).await;
    assert!(report.is_clean(), "{report}");
}

/// Runs a resource under the laws, and returns a report of those it breaks.
///
/// Same as [`laws`], without the panic.
///
/// # Panics
///
/// Panics outside of a tokio runtime with a clock.
///
/// # Cancel safety
///
/// As [`laws`].
///
/// # Examples
///
/// A resource that is wrong on purpose, and the law that it breaks:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, Resource};
/// use reqscope_testkit::{Law, Probe, ProbeHandle, Scripted, judge};
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
/// let report = judge(Optimist).await;
/// assert!(report.breaches().iter().any(|breach| breach.law == Law::L9));
/// # });
/// ```
pub async fn judge<R: Resource>(make: impl Fn(Probe) -> R) -> Report {
    let make: &dyn Fn(Probe) -> R = &make;
    let mut report = Report::default();
    macro_rules! cases {
        ($($law:ident $module:ident::$case:ident,)*) => {$(
            let setup = Setup { make, law: Law::$law };
            let verdict = catch_panic($module::$case(setup)).await.unwrap_or_else(|panic| {
                let case = stringify!($case).replace('_', " ");
                Err(Breach { law: Law::$law, case, seen: format!("a panic: {}", message(&*panic)) })
            });
            report.add(verdict);
        )*};
    }
    cases! {
        L2 verbs::new_resource_acquires_nothing,
        L1 verbs::handle_is_released_with_every_exit,
        L1 verbs::shortcuts_count_too,
        L1 verbs::failed_release_ends_the_handle,
        L1 verbs::half_made_handle_is_released,
        L7 verbs::failed_acquire_is_tried_again,
        L9 verbs::exit_is_passed_on,
        L11 verbs::settling_is_consistent,
        L3 cancel::cancelled_acquire_leaves_nothing,
        L6 cancel::late_handle_is_released,
        L3 cancel::cancelled_lease_leaves_nothing,
        L12 cancel::cancelled_release_frees_the_slot,
        L1 cancel::cancelled_validate_keeps_the_handle,
        L14 reuse::handle_in_doubt_is_validated,
        L14 reuse::handle_that_fails_validation_is_not_reused,
        L14 reuse::dead_handle_is_not_reused,
        L2 scope::unused_scope_acquires_nothing,
        L4 scope::first_users_share_one_acquisition,
        L5 scope::sleeping_first_user_stalls_no_other,
        L6 scope::close_cancels_the_acquisition,
        L6 scope::handle_for_a_closed_scope_is_released,
        L6 scope::handle_that_meets_the_close_is_released,
        L7 scope::error_is_shared_and_not_cached,
        L1 scope::request_by_shortcuts,
        L1 scope::cancelled_request_leaves_nothing,
        L8 exits::lent_handle_outlives_its_scope,
        L9 exits::scope_passes_on_the_exit,
        L9 exits::panic_under_a_guard_is_sticky,
        L9 exits::lease_passes_on_the_exit,
        L10 close::handles_are_released_in_order,
        L10 close::hung_release_holds_up_no_other,
        L11 close::cancelled_close_settles_all_the_same,
        L11 close::failed_settle_fails_the_close,
        L12 close::hung_acquire_ends,
        L12 close::hung_release_ends,
        L16 close::drain_waits_for_all,
        L15 quiet_drop::handle_drops_quietly,
        L15 quiet_drop::verb_futures_drop_quietly,
        L15 quiet_drop::owners_drop_quietly,
        L15 quiet_drop::shutdown_is_quiet,
    }
    report
}

/// Creates a test that runs a resource under the [laws](fn@crate::laws), on a current-thread runtime and the real
/// clock.
///
/// For another runtime or a paused clock, write the test by hand: `laws(make).await`.
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
    runtime.expect("the system has a descriptor left").block_on(laws(make));
}
