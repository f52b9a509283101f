//! The class of an error, found without knowing the type of its cause.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use reqscope::Error;
use reqscope::error::{Class, Stage};
use reqscope::scope::TryGetError;
use reqscope_testkit::quiet_panic;

type Io = Error<io::Error>;

/// An error whose `source` does what the test wants.
#[derive(Debug)]
struct Level(fn(&Level) -> Option<&(dyn StdError + 'static)>);

impl StdError for Level {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        (self.0)(self)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a level")
    }
}

/// Forwards to another error, as `#[error(transparent)]` of thiserror does: its own level is skipped.
#[derive(Debug)]
struct Transparent<E>(E);

impl<E: StdError> StdError for Transparent<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl<E: fmt::Display> fmt::Display for Transparent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[track_caller]
fn class(error: impl StdError + 'static) -> Class {
    Class::find(&error).unwrap()
}

#[test]
fn class_is_found_whatever_wraps_the_error() {
    assert!(class(Io::exhausted()).is_exhausted());
    assert!(class(io::Error::other(Io::exhausted())).is_exhausted());
    assert!(class(Transparent(Io::exhausted())).is_exhausted());
    assert!(class(Transparent(Transparent(Io::exhausted()))).is_exhausted());
    assert!(class(Arc::new(Error::<Infallible>::exhausted())).is_exhausted());
    assert!(class(Error::failed(Error::failed(Io::exhausted()))).is_exhausted());
}

#[test]
fn class_of_other_errors_is_none() {
    assert!(Class::find(&io::Error::other(Transparent(fmt::Error))).is_none());
}

#[test]
fn first_level_that_is_more_than_failed_wins() {
    let late = Io::timeout(Stage::Acquiring, Duration::ZERO);
    assert!(class(Error::permanent(late.clone())).is_timeout());
    assert!(class(Error::unavailable().with_cause(late.clone())).is_unavailable());
    assert!(class(Error::unknown_outcome(late)).is_unknown_outcome(), "must not look like a mere timeout");

    let failed = Error::permanent(Io::failed(io::Error::other("no")).at(Stage::Using));
    assert!(class(failed).is_permanent(), "no level says more: the first one counts");
}

#[test]
fn class_noted_by_a_cause_is_found() {
    let busy = Level(|_| {
        Class::UNAVAILABLE.note();
        None
    });
    assert!(class(Error::failed(busy)).is_unavailable());
}

/// As `get` does, for which a server answers 503.
#[test]
fn reasons_of_try_get_have_a_class() {
    let lent = TryGetError::Lent { holder: Location::caller() };
    for error in [lent, TryGetError::Acquiring, TryGetError::Ending, TryGetError::WouldWait] {
        assert!(Class::find(&error as &TryGetError<io::Error>).is_some_and(|class| class.is_exhausted()), "{error}");
    }
    assert!(Class::find(&TryGetError::<io::Error>::Closed).is_some_and(|class| class.is_closed()));
}

#[test]
fn several_notes_of_one_level_keep_the_first_that_says_more() {
    let noisy = Level(|_| {
        Io::failed(io::Error::other("no")).class().note();
        Class::TIMEOUT.note();
        Class::EXHAUSTED.note();
        None
    });
    assert!(class(noisy).is_timeout());
}

#[test]
fn notes_outside_of_a_search_are_forgotten() {
    Class::EXHAUSTED.note();
    let _source = Io::exhausted().source();
    assert!(Class::find(&fmt::Error).is_none());
}

#[test]
fn search_within_a_search_disturbs_neither() {
    let nested = Level(|_| {
        Class::TIMEOUT.note();
        assert!(class(Io::exhausted()).is_exhausted());
        None
    });
    assert!(class(nested).is_timeout());
}

/// The panic is passed on, and a later search on the thread is not disturbed by what was noted before it.
#[test]
fn search_survives_a_source_that_panics() {
    let broken = Level(|_| {
        Class::TIMEOUT.note();
        quiet_panic("no source")
    });
    assert!(std::panic::catch_unwind(|| Class::find(&broken).is_some()).is_err());
    assert!(Class::find(&fmt::Error).is_none());
}

#[test]
fn chain_that_leads_back_to_itself_ends() {
    assert!(Class::find(&Level(|level| Some(level))).is_none());
}
