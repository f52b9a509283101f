//! The error type: its `is_*` methods, its messages, and its clones, which share the cause.

use std::error::Error as _;
use std::io;
use std::panic::Location;
use std::time::Duration;

use reqscope::Error;
use reqscope::error::Stage;

type Io = Error<io::Error>;

#[test]
fn each_kind_answers_its_own_question_and_no_other() {
    let second = Duration::from_secs(1);
    let all: [(Io, [bool; 6], &str); 7] = [
        (Error::failed(io::Error::other("no")), [false; 6], "the resource failed"),
        (
            Error::permanent(io::Error::other("no")),
            [false, false, false, false, false, true],
            "the resource failed permanently",
        ),
        (
            Error::timeout(Stage::Validating, second),
            [true, false, false, false, false, false],
            "timed out after 1.0 s while validating",
        ),
        (Error::closed(), [false, true, false, false, false, true], "the scope or pool is closed"),
        (Error::unavailable(), [false, false, true, false, false, false], "the backend is unavailable"),
        (Error::exhausted(), [false, false, false, true, false, false], "the resource is exhausted"),
        (
            Error::panicked(Stage::Using, &"oh no"),
            [false, false, false, false, true, false],
            "the resource panicked while using: oh no",
        ),
    ];
    for (error, expected, message) in all {
        let answers = [
            error.is_timeout(),
            error.is_closed(),
            error.is_unavailable(),
            error.is_exhausted(),
            error.is_panicked(),
            error.is_permanent(),
        ];
        assert_eq!(answers, expected, "{error}");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn display_shows_this_level_and_source_the_next() {
    let error = Io::from(io::Error::other("disk full")).at(Stage::Releasing).with_context("the audit log");
    assert_eq!(error.to_string(), "the resource failed while releasing: the audit log");
    assert_eq!(error.source().unwrap().to_string(), "disk full");
    assert!(format!("{error:?}").contains("disk full"), "Debug shows the cause");
    assert!(Io::closed().source().is_none());
}

#[test]
fn clones_share_the_cause_but_not_later_additions() {
    let error = Io::from(io::Error::other("no"));
    let clone = error.clone().at(Stage::Acquiring).with_holder(Location::caller());
    assert!(std::ptr::eq(error.cause().unwrap(), clone.cause().unwrap()));
    assert_eq!((error.stage(), clone.stage()), (None, Some(Stage::Acquiring)));
    assert!(error.holder().is_none() && clone.holder().is_some());
    assert!(clone.to_string().contains("; the handle was taken at "), "{clone}");
}

#[test]
fn panic_message_is_quoted_if_there_is_one() {
    let message = |payload: Box<dyn std::any::Any + Send>| Io::panicked(Stage::Acquiring, &*payload).to_string();
    assert!(message(Box::new("a word")).ends_with(": a word"));
    assert!(message(Box::new(String::from("two words"))).ends_with(": two words"));
    assert!(message(Box::new(7)).ends_with("while acquiring"));
}

#[test]
fn question_mark_turns_a_cause_into_an_error() {
    fn read() -> Result<(), Io> {
        Err(io::Error::other("no"))?
    }
    assert!(read().unwrap_err().cause().is_some());
}
