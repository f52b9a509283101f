//! What an observer is told with each event, beside the event itself.

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

/// Writes each event down as a line.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, line: String) {
        self.0.lock().push(line);
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Observer for Diary {
    fn acquired(&self, of: Subject, waited: Duration) {
        self.write(format!("line {}: acquired after {} s", of.taken_at.line(), waited.as_secs()));
    }

    fn acquire_failed(&self, of: Subject, error: &(dyn StdError + 'static)) {
        assert!(error.is::<Error<Scripted>>(), "it can be looked into");
        self.write(format!("line {}: {error}", of.taken_at.line()));
    }

    fn lent_too_long(&self, of: Subject, held_since: &'static Location<'static>) {
        self.write(format!("line {}: held since line {}", of.taken_at.line(), held_since.line()));
    }

    fn release_failed(&self, of: Subject, exit: Exit, error: &(dyn StdError + 'static)) {
        assert!(error.is::<Error<Scripted>>(), "it can be looked into");
        self.write(format!("line {}: {exit}, {error}", of.taken_at.line()));
    }

    fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
        self.write(format!("line {}: {exit}, {why}", of.taken_at.line()));
    }

    fn still_lent(&self, of: Subject) {
        self.write(format!("line {}: still lent", of.taken_at.line()));
    }

    fn second_resource(&self, resource: &'static str) {
        assert_eq!(resource, type_name::<Probe>());
        self.write("a second resource".to_owned());
    }
}

fn observed() -> (Diary, Scopes, Arc<Probe>) {
    let diary = Diary::default();
    (diary.clone(), Scopes::builder().observer(diary).build(), Arc::new(Probe::new()))
}

#[tokio::test(start_paused = true)]
async fn acquired_and_acquire_failed_carry_wait_and_error() {
    let (diary, scopes, probe) = observed();
    let scope = scopes.open();
    let lazy = scope.lazy(&probe);
    probe.on(Verb::Acquire).error().next(Outcome::ok().after(Duration::from_secs(3)));
    let (failed, first) = (lazy.get().await, line!());
    failed.unwrap_err();
    let (guard, second) = (lazy.get().await.unwrap(), line!());
    drop(guard);
    assert_eq!(
        diary.lines(),
        [format!("line {first}: the resource failed while acquiring"), format!("line {second}: acquired after 3 s")]
    );
    probe.make_ready(1);
    let (_guard, line) = (scopes.open().lazy(&probe).try_get(), line!());
    assert_eq!(diary.lines()[0], format!("line {line}: acquired after 0 s"));
}

#[tokio::test(start_paused = true)]
async fn lent_too_long_and_still_lent_name_the_lines() {
    let (diary, scopes, probe) = observed();
    let scope = scopes.open();
    let lazy = scope.lazy(&probe);
    drop(get_now(&lazy));
    diary.lines();
    let (_guard, holder) = (lazy.try_get().unwrap(), line!());
    let (waited, line) = (lazy.get().await, line!());
    waited.unwrap_err();
    drop(scope);
    assert_eq!(
        diary.lines(),
        [format!("line {line}: held since line {holder}"), format!("line {holder}: still lent")]
    );
}

#[tokio::test(start_paused = true)]
async fn release_failed_and_abandoned_carry_exit_and_reason() {
    let (diary, scopes, probe) = observed();
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
    let heard: Vec<_> = diary.lines().into_iter().filter(|line| !line.contains("acquired")).collect();
    assert_eq!(
        heard,
        [
            format!("line {}: completed, the resource failed while releasing", lines[0]),
            format!("line {}: failed, its release missed the deadline", lines[1])
        ]
    );
}

#[tokio::test]
async fn second_resource_names_the_type() {
    let (diary, scopes, probe) = observed();
    let scope = scopes.open();
    drop((scope.lazy(&probe), scope.lazy(&Arc::new(Probe::new()))));
    assert_eq!(diary.lines(), ["a second resource"]);
}

#[test]
fn acquisition_lost_with_its_runtime_is_reported() {
    let (runtime, server) = (runtime(), Server::new());
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    runtime.block_on(async { assert!(poll_once(pin!(scope.lazy(&server.probe).get())).is_pending()) });
    drop(runtime);
    assert_eq!((server.stats().acquire_failed, server.heard.count(Event::AcquireFailed)), (1, 1));
}

#[tokio::test]
async fn acquisition_cancelled_by_the_close_is_no_failure() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    assert!(poll_once(pin!(scope.lazy(&server.probe).get())).is_pending());
    drop(scope);
    server.at_the_end().await;
    assert_eq!((server.stats().acquire_failed, server.probe.counts().acquires_cut), (0, 1));
}
