//! The shortage in an error of a pool without an idle handle: its message, and its fields.

use std::fmt;
use std::io;
use std::panic::Location;
use std::time::Duration;

use reqscope::Error;
use reqscope::error::{ConnectFailure, Holding, Shortage, Stage};

type Io = Error<io::Error>;

fn timeout(shortage: Shortage) -> Io {
    Io::timeout(Stage::Waiting, Duration::from_secs(5)).with_shortage(shortage)
}

fn busy() -> Shortage {
    let mut shortage = Shortage::default();
    (shortage.max_size, shortage.in_use, shortage.creating, shortage.waiting) = (10, 10, 3, 41);
    shortage
}

fn held(held: Duration) -> Shortage {
    let mut shortage = busy();
    shortage.oldest = Some(Holding::new(Location::caller(), held));
    shortage
}

fn failed<C: std::error::Error + Send + Sync + 'static>(error: &Error<C>) -> Shortage {
    let mut shortage = busy();
    shortage.last_failure = Some(ConnectFailure::new(error, Duration::from_millis(1_100)));
    shortage
}

#[test]
fn display_is_one_line_with_all_figures() {
    let taken_at = Location::caller();
    let mut shortage = failed(&Io::failed(io::Error::other("connection refused")));
    shortage.oldest = Some(Holding::new(taken_at, Duration::from_secs(28)));
    let place = format!("{}:{}", taken_at.file(), taken_at.line());
    assert_eq!(
        timeout(shortage).to_string(),
        format!(
            "timed out after 5.0 s waiting for a handle: 10 of 10 in use, 3 creating, 41 waiting; \
             oldest holder 28 s, taken at {place}; last connect failure 1.1 s ago: connection refused"
        )
    );
}

#[test]
fn every_figure_of_the_message_is_a_field() {
    let taken_at = Location::caller();
    let mut shortage = failed(&Io::failed(io::Error::other("connection refused")));
    shortage.oldest = Some(Holding::new(taken_at, Duration::from_secs(28)));
    shortage.own = Some(taken_at);
    let error = timeout(shortage);
    let found = error.shortage().unwrap();
    assert_eq!((found.max_size, found.in_use, found.idle, found.creating, found.waiting), (10, 10, 0, 3, 41));
    assert_eq!(found.oldest, Some(Holding::new(taken_at, Duration::from_secs(28))));
    assert_eq!(found.own, Some(taken_at));
    let failure = found.last_failure.as_ref().unwrap();
    assert_eq!((failure.error.to_string().as_str(), failure.ago.as_millis()), ("connection refused", 1_100));
}

#[test]
fn message_names_the_line_where_the_request_holds_one() {
    let own = Location::caller();
    let mut shortage = busy();
    shortage.own = Some(own);
    let end = format!(
        "; this request already holds a handle, taken at {}:{}: pass that one on instead of acquiring a second one",
        own.file(),
        own.line()
    );
    let said = timeout(shortage).to_string();
    assert!(said.ends_with(&end), "{said}");
}

#[test]
fn zero_and_unknown_figures_are_left_out() {
    let mut shortage = Shortage::default();
    shortage.max_size = 10;
    assert_eq!(shortage.to_string(), "0 of 10 in use");
    shortage.idle = 2;
    assert_eq!(shortage.to_string(), "0 of 10 in use, 2 idle");
    assert_eq!(Shortage::default().to_string(), "0 of 0 in use");
}

#[test]
fn tenths_are_shown_below_ten_seconds_only() {
    let said = |age| held(age).to_string();
    assert!(said(Duration::from_millis(40)).contains("; oldest holder 0.0 s, "));
    assert!(said(Duration::from_millis(9_940)).contains("; oldest holder 9.9 s, "));
    assert!(said(Duration::from_millis(10_400)).contains("; oldest holder 10 s, "));
    assert!(said(Duration::from_secs(7_200)).contains("; oldest holder 7200 s, "));
}

#[test]
fn every_kind_of_error_can_carry_a_shortage() {
    assert_eq!(
        Io::exhausted().with_shortage(busy()).to_string(),
        "the resource is exhausted: 10 of 10 in use, 3 creating, 41 waiting"
    );
    assert_eq!(
        Io::unavailable().at(Stage::Acquiring).with_context("the replica").with_shortage(busy()).to_string(),
        "the backend is unavailable while acquiring: the replica; 10 of 10 in use, 3 creating, 41 waiting"
    );
    assert!(Io::closed().shortage().is_none());
}

#[test]
fn connect_failure_without_a_cause_shows_its_error() {
    let late = Io::timeout(Stage::Acquiring, Duration::from_secs(2));
    let said = timeout(failed(&late)).to_string();
    assert!(said.ends_with("; last connect failure 1.1 s ago: timed out after 2.0 s while acquiring"), "{said}");
}

#[test]
fn clones_share_the_cause_of_a_connect_failure() {
    let refused = Io::failed(io::Error::other("connection refused"));
    let failure = failed(&refused).last_failure.unwrap();
    let cause = failure.error.downcast_ref::<io::Error>().unwrap();
    assert!(std::ptr::eq(cause, refused.cause().unwrap()));
}

/// A driver's error whose `Debug` shows a secret of its configuration.
struct Refused {
    password: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection refused")
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.password)
    }
}

impl std::error::Error for Refused {}

#[test]
fn only_the_display_of_a_connect_failure_is_shown() {
    let shortage = failed(&Error::failed(Refused { password: "hunter2" }));
    let error = timeout(shortage.clone());
    for said in [format!("{shortage}"), format!("{shortage:?}"), format!("{error}"), format!("{error:?}")] {
        assert!(said.contains("connection refused") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn shortage_added_to_a_clone_does_not_change_the_original() {
    let error = Io::exhausted();
    let clone = error.clone().with_shortage(busy());
    assert!(error.shortage().is_none() && clone.shortage().is_some());
    let staged = clone.clone().at(Stage::Waiting);
    assert_eq!(staged.shortage().unwrap().waiting, 41);
}
