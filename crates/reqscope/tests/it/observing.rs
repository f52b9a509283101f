//! The details that are reported to an observer with each event.

use std::any::type_name;
use std::error::Error as StdError;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::{Abandoned, Subject};
use reqscope::{Error, Exit, Observer, Scopes};
use reqscope_testkit::{Outcome, Probe, Scripted, Verb, poll_once};

use crate::support::{Event, Server, get_now, runtime};

/// An observer that records each event as a line of text.
#[derive(Clone, Default)]
struct TextLog(Arc<Mutex<Vec<String>>>);

impl TextLog {
    fn record(&self, line: String) {
        self.0.lock().push(line);
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Observer for TextLog {
    fn acquired(&self, of: Subject, waited: Duration) {
        self.record(format!("line {}: acquired after {} s", of.taken_at.line(), waited.as_secs()));
    }

    fn acquire_failed(&self, of: Subject, error: &(dyn StdError + 'static)) {
        assert!(error.is::<Error<Scripted>>(), "it can be looked into");
        self.record(format!("line {}: {error}", of.taken_at.line()));
    }

    fn lent_too_long(&self, of: Subject, held_since: &'static Location<'static>) {
        self.record(format!("line {}: held since line {}", of.taken_at.line(), held_since.line()));
    }

    fn release_failed(&self, of: Subject, exit: Exit, error: &(dyn StdError + 'static)) {
        assert!(error.is::<Error<Scripted>>(), "it can be looked into");
        self.record(format!("line {}: {exit}, {error}", of.taken_at.line()));
    }

    fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
        self.record(format!("line {}: {exit}, {why}", of.taken_at.line()));
    }

    fn still_lent(&self, of: Subject) {
        self.record(format!("line {}: still lent", of.taken_at.line()));
    }

    fn second_resource(&self, resource: &'static str) {
        assert_eq!(resource, type_name::<Probe>());
        self.record("a second resource".to_owned());
    }
}

fn observed() -> (TextLog, Scopes, Arc<Probe>) {
    let log = TextLog::default();
    (log.clone(), Scopes::builder().observer(log).build(), Arc::new(Probe::new()))
}

#[tokio::test(start_paused = true)]
async fn acquired_and_acquire_failed_carry_wait_and_error() {
    let (log, scopes, probe) = observed();
    let scope = scopes.open();
    let lazy = scope.lazy(&probe);
    probe.on(Verb::Acquire).error().next(Outcome::ok().after(Duration::from_secs(3)));
    let (failed, first) = (lazy.get().await, line!());
    failed.unwrap_err();
    let (guard, second) = (lazy.get().await.unwrap(), line!());
    drop(guard);
    assert_eq!(
        log.lines(),
        [format!("line {first}: the resource failed while acquiring"), format!("line {second}: acquired after 3 s")]
    );
    probe.make_ready(1);
    let (_guard, line) = (scopes.open().lazy(&probe).try_get(), line!());
    assert_eq!(log.lines()[0], format!("line {line}: acquired after 0 s"));
}

#[tokio::test(start_paused = true)]
async fn lent_too_long_and_still_lent_name_the_lines() {
    let (log, scopes, probe) = observed();
    let scope = scopes.open();
    let lazy = scope.lazy(&probe);
    drop(get_now(&lazy));
    log.lines();
    let (_guard, holder) = (lazy.try_get().unwrap(), line!());
    let (waited, line) = (lazy.get().await, line!());
    waited.unwrap_err();
    drop(scope);
    assert_eq!(log.lines(), [format!("line {line}: held since line {holder}"), format!("line {holder}: still lent")]);
}

#[tokio::test(start_paused = true)]
async fn release_failed_and_abandoned_carry_exit_and_reason() {
    let (log, scopes, probe) = observed();
    probe.on(Verb::Release).error().never();
    let mut lines = Vec::new();
    for exit in [Exit::Completed, Exit::Failed] {
        let scope = scopes.open();
        let (guard, line) = (get_now(&scope.lazy(&probe)), line!());
        lines.push(line);
        drop(guard);
        scope.close(exit).await.unwrap();
        scopes.drain(Duration::from_secs(30)).await;
    }
    let reported: Vec<_> = log.lines().into_iter().filter(|line| !line.contains("acquired")).collect();
    assert_eq!(
        reported,
        [
            format!("line {}: completed, the resource failed while releasing", lines[0]),
            format!("line {}: failed, its release missed the deadline", lines[1])
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn second_resource_names_the_type() {
    let (log, scopes, probe) = observed();
    let scope = scopes.open();
    drop((scope.lazy(&probe), scope.lazy(&Arc::new(Probe::new()))));
    assert_eq!(log.lines(), ["a second resource"]);
}

/// No caller waits for it any more.
#[test]
fn acquisition_lost_with_its_runtime_is_reported() {
    let (runtime, server) = (runtime(), Server::new());
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    runtime.block_on(async { assert!(poll_once(pin!(scope.lazy(&server.probe).get())).is_pending()) });
    drop(runtime);
    assert_eq!((server.stats().acquire_failed, server.events.count(Event::AcquireFailed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn acquisition_cancelled_by_the_close_is_no_failure() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    assert!(poll_once(pin!(scope.lazy(&server.probe).get())).is_pending());
    drop(scope);
    server.finish().await;
    assert_eq!((server.stats().acquire_failed, server.probe.counts().acquires_cut), (0, 1));
}
