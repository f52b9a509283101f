//! The error type: its `is_*` methods, its messages, and its clones, which share the cause.

use std::error::Error as _;
use std::io;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use reqscope::error::Stage;
use reqscope::{Error, Pool, Scopes, resource_fn};
use reqscope_testkit::{Probe, Verb, poll_once};

type Io = Error<io::Error>;

#[test]
fn each_kind_answers_its_own_question_and_no_other() {
    let second = Duration::from_secs(1);
    let no = || io::Error::other("no");
    let all: [(Io, &[&str], &str); 11] = [
        (Error::failed(no()), &["failed"], "the resource failed"),
        (Error::permanent(no()), &["failed", "permanent"], "the resource failed permanently"),
        (Error::timeout(Stage::Validating, second), &["timeout"], "timed out after 1.0 s while validating"),
        (
            Error::timeout(Stage::Releasing, second),
            &["timeout", "unknown outcome"],
            "timed out after 1.0 s while releasing",
        ),
        (Error::closed(), &["closed", "permanent"], "the scope or pool is closed"),
        (Error::unavailable(), &["unavailable"], "the backend is unavailable"),
        (Error::exhausted(), &["exhausted"], "the resource is exhausted"),
        (Error::panicked(Stage::Using, &"oh no"), &["panicked"], "the resource panicked while using: oh no"),
        (
            Error::panicked(Stage::Releasing, &"oh no"),
            &["panicked", "unknown outcome"],
            "the resource panicked while releasing: oh no",
        ),
        (Error::unknown_outcome(no()), &["unknown outcome"], "the outcome is unknown"),
        (without_runtime(), &["runtime"], WITHOUT_RUNTIME),
    ];
    for (error, expected, message) in all {
        let answers = [
            ("failed", error.is_failed(), error.class().is_failed()),
            ("timeout", error.is_timeout(), error.class().is_timeout()),
            ("closed", error.is_closed(), error.class().is_closed()),
            ("unavailable", error.is_unavailable(), error.class().is_unavailable()),
            ("exhausted", error.is_exhausted(), error.class().is_exhausted()),
            ("panicked", error.is_panicked(), error.class().is_panicked()),
            ("runtime", error.is_runtime(), error.class().is_runtime()),
            ("unknown outcome", error.is_unknown_outcome(), error.class().is_unknown_outcome()),
            ("permanent", error.is_permanent(), error.class().is_permanent()),
        ];
        assert!(answers.iter().all(|(_, of_error, of_class)| of_error == of_class), "{error}");
        let yes: Vec<_> = answers.iter().filter(|(_, yes, _)| *yes).map(|(question, ..)| *question).collect();
        assert_eq!(yes, expected, "{error}");
        assert_eq!(error.to_string(), message);
        assert_eq!(error.stage(), error.class().stage());
    }
}

const WITHOUT_RUNTIME: &str = "the async runtime is unusable while acquiring: not polled inside a tokio runtime";

/// Returns the error of an acquisition that has to wait, polled without a runtime.
fn without_runtime() -> Io {
    let frozen = Arc::new(resource_fn(std::future::pending::<Result<(), Io>>));
    let scope = Scopes::new().open();
    let Poll::Ready(Err(error)) = poll_once(pin!(scope.lazy(&frozen).get())) else { panic!("it waits") };
    error
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

/// All said "the scope or pool is closed".
#[tokio::test(start_paused = true)]
async fn closed_error_says_what_is_closed_and_what_to_do() {
    let probe = Arc::new(Probe::new());
    probe.on(Verb::Acquire).never();
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&probe);
    let mut waiting = pin!(lazy.get());
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(scope);
    let error = waiting.await.unwrap_err().to_string();
    assert!(error.starts_with("the request ended and its scope was closed while this call waited: "), "{error}");
    assert!(error.ends_with("or use `ScopeHandle::on_completed`"), "{error}");

    let advice = "close a pool after the last request has ended (`Scopes::drain`)";
    let named = Pool::builder().name("orders").build(Probe::new());
    named.close(Duration::ZERO).await;
    assert_eq!(named.get().await.unwrap_err().to_string(), format!("pool orders is closed: {advice}"));

    let unnamed = Pool::builder().max_size(1).build(Probe::new());
    let held = unnamed.get().await.unwrap();
    let mut waiting = pin!(unnamed.get());
    assert!(poll_once(waiting.as_mut()).is_pending());
    let mut close = pin!(unnamed.close(Duration::from_secs(1)));
    assert!(poll_once(close.as_mut()).is_pending());
    assert_eq!(waiting.await.unwrap_err().to_string(), format!("Pool<Probe> is closed: {advice}"));
    drop(held);
}
