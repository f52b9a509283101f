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

/// Runs a resource under the laws, and panics with all that it broke.
///
/// `make` makes the resource, anew for each case. If it builds over the [`Probe`] that it is given, as a wrapper or
/// a pool can, the suite counts inside as well as outside; if it ignores the probe, as an adapter does, outside
/// only. Every future is cancelled at each of its awaits in turn: at poll 0, 1, 2, … until it finishes by itself.
///
/// [`laws!`](crate::laws!) makes a test of it. [`judge`] answers with a [`Report`] instead of a panic.
///
/// # Panics
///
/// If a law is broken. The message names the law, what was done, and what was seen. Also outside of a tokio runtime
/// with a clock; the clock may be paused if the resource does all its waiting on it.
///
/// # Cancel safety
///
/// Dropping it ends the suite in the middle; the resources that it made are dropped with it.
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

/// Runs a resource under the laws, and tells which it broke.
///
/// The same as [`laws`], with an answer.
///
/// # Panics
///
/// Counting of a tokio runtime with a clock.
///
/// # Cancel safety
///
/// As [`laws`].
///
/// # Examples
///
/// A resource that is wrong on purpose, and what it breaks:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, Resource};
/// use reqscope_testkit::{Law, Probe, ProbeHandle, Scripted, judge};
///
/// /// Releases whatever it is told as a success.
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
        L2 verbs::making_it_acquires_nothing,
        L1 verbs::every_exit_ends_a_handle,
        L1 verbs::the_shortcuts_count_too,
        L1 verbs::a_failed_release_ends_the_handle,
        L1 verbs::a_half_made_handle_goes_back,
        L7 verbs::the_next_acquire_tries_again,
        L9 verbs::the_exit_is_passed_on,
        L11 verbs::settling_is_consistent,
        L3 cancel::an_acquire_that_is_cut,
        L6 cancel::a_late_arrival,
        L3 cancel::a_lease_that_is_cut,
        L12 cancel::a_release_that_is_cut,
        L1 cancel::a_validate_that_is_cut,
        L14 reuse::a_doubtful_handle_is_proved,
        L14 reuse::a_handle_that_fails_its_proof_is_not_reused,
        L14 reuse::a_dead_handle_is_not_reused,
        L2 scope::an_unused_scope_acquires_nothing,
        L4 scope::first_users_share_one_acquisition,
        L5 scope::a_sleeping_first_user_stalls_nobody,
        L6 scope::closing_cancels_the_acquisition,
        L6 scope::a_handle_for_a_closed_scope,
        L6 scope::a_handle_that_meets_the_close,
        L7 scope::an_error_is_shared_and_forgotten,
        L1 scope::a_request_by_the_shortcuts,
        L1 scope::a_request_that_is_cut,
        L8 exits::a_lent_handle_outlives_its_scope,
        L9 exits::the_scope_tells_the_exit,
        L9 exits::a_panic_is_not_forgotten,
        L9 exits::the_lease_tells_the_exit,
        L10 close::handles_are_released_in_order,
        L10 close::a_hung_release_holds_up_no_other,
        L11 close::a_settling_close_cannot_be_undone,
        L11 close::a_failed_settle_fails_the_close,
        L12 close::a_hung_acquire_ends,
        L12 close::a_hung_release_ends,
        L16 close::a_drain_waits_for_all,
        L15 quiet_drop::a_handle_drops_quietly,
        L15 quiet_drop::a_verb_drops_quietly,
        L15 quiet_drop::its_owners_drop_quietly,
        L15 quiet_drop::a_shutdown_is_quiet,
    }
    report
}

/// Makes a test that runs a resource under the [laws](fn@crate::laws), on a current-thread runtime and the real clock.
///
/// For another runtime, or a paused clock, write the test by hand: `laws(make).await`.
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

/// The body of the test that [`laws!`](crate::laws!) makes.
#[doc(hidden)]
pub fn run_laws<R: Resource>(make: impl Fn(Probe) -> R) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(laws(make));
}
