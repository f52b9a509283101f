//! Feature `tracing`: failures that no client can see are events.

use std::fmt::{Debug, Write};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use reqscope::{Exit, Resource, Scopes};
use reqscope_http::{LeaseBody, Policy, RequestExt, ResponseFuture};
use reqscope_testkit::{Probe, Verb, poll_once};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

use crate::lease_body::{Chunk, Frames, data, exit, scene};
use crate::response::Strict;

type Answer = Result<Response<Full<Bytes>>, &'static str>;

/// A subscriber that keeps the events of this thread as lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn new() -> (Self, DefaultGuard) {
        let log = Log::default();
        let guard = set_default(log.clone());
        (log, guard)
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("reqscope::")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Fields(String);

        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                write!(self.0, " {field}={value:?}").unwrap();
            }
        }

        let mut fields = Fields(format!("{} {}", event.metadata().level(), event.metadata().target()));
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn current_span(&self) -> Current {
        Current::none()
    }
}

/// Sends a request whose handler uses `resource` and returns `answer`.
fn request<R: Resource>(
    scopes: &Scopes,
    resource: R,
    answer: Answer,
) -> ResponseFuture<impl Future<Output = Answer>, Full<Bytes>, &'static str> {
    let mut request = Request::new(());
    let opened = Arc::new(Policy::new()).open(scopes, &mut request);
    request.scope().set_label("PUT /orders/{id}");
    let resource = Arc::new(resource);
    opened.answer(async move {
        drop(request.scope().lazy(&resource).get().await.expect("it can be acquired"));
        answer
    })
}

fn ok() -> Answer {
    Ok(Response::new(Full::from("done")))
}

#[tokio::test]
async fn failed_commit_is_an_error_with_label_and_causes() {
    let (log, _guard) = Log::new();
    let probe = Probe::new().settling();
    probe.on(Verb::Release).error();
    assert_eq!(request(&Scopes::new(), probe, ok()).await.unwrap().status(), 500);
    let [line] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
    assert!(line.starts_with("ERROR reqscope::scope "), "{line}");
    assert!(line.contains("label=PUT /orders/{id} ") && line.contains("replaced"), "{line}");
    assert!(line.contains("failed while releasing: scripted failure"), "{line}");
}

#[tokio::test]
async fn success_and_ordinary_failure_are_no_events() {
    let (log, _guard) = Log::new();
    let scopes = Scopes::new();
    drop(request(&scopes, Probe::new().settling(), ok()).await.unwrap());
    assert!(request(&scopes, Probe::new().settling(), Err("broken")).await.is_err());
    drop(Box::pin(request(&scopes, Probe::new().settling(), ok())));
    assert!(scopes.drain(Duration::from_secs(60)).await.is_clean());
    assert!(log.lines().is_empty(), "{:?}", log.lines());
}

/// The future of the response is dropped, and the result of the close with it.
#[tokio::test]
async fn failed_commit_after_the_client_disconnected_is_an_event() {
    let (log, _guard) = Log::new();
    let (scopes, probe) = (Scopes::new(), Probe::new().settling());
    probe.on(Verb::Release).close();
    let mut response = Box::pin(request(&scopes, probe.clone(), ok()));
    assert!(poll_once(response.as_mut()).is_pending());
    drop(response);
    probe.on(Verb::Release).error();
    assert!(scopes.drain(Duration::from_secs(60)).await.is_clean());
    tokio::task::yield_now().await;
    let [line] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
    assert!(line.contains("the client has disconnected") && line.contains("scripted failure"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn handler_over_its_timeout_is_a_warning_with_label_and_time() {
    let (log, _guard) = Log::new();
    let mut request = Request::new(());
    let opened = Arc::new(Policy::new().timeout(Duration::from_secs(3))).open(&Scopes::new(), &mut request);
    request.scope().set_label("PUT /orders/{id}");
    assert_eq!(opened.answer(std::future::pending::<Answer>()).await.unwrap().status(), 503);
    let [line] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
    assert!(line.starts_with("WARN reqscope::scope ") && line.contains("label=PUT /orders/{id} "), "{line}");
    assert!(line.contains("elapsed=3") && line.contains("timeout=3s"), "{line}");
}

#[tokio::test]
async fn failed_close_under_a_failure_is_an_event() {
    let (log, _guard) = Log::new();
    let not_found = Response::builder().status(404).body(Full::default()).unwrap();
    drop(request(&Scopes::new(), Strict, Ok(not_found)).await.unwrap());
    assert_eq!(request(&Scopes::new(), Strict, Err("broken")).await.unwrap_err(), "broken");
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("requested=failed") && lines[1].contains("error of the service"), "{lines:?}");
}

#[tokio::test]
async fn failed_release_of_a_body_is_an_event() {
    let (log, _guard) = Log::new();
    let (probe, _reaper, lease) = scene(Probe::new().settling()).await;
    probe.on(Verb::Release).error();
    assert!(LeaseBody::new(Full::<Bytes>::from("all"), lease).collect().await.is_err());

    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    probe.on(Verb::Release).close();
    let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    assert!(poll_once(pin!(body.frame())).is_pending());
    drop(body); // the client has disconnected
    probe.on(Verb::Release).error();
    assert!(reaper.drain(Duration::from_secs(60)).await.is_clean());
    tokio::task::yield_now().await;
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("ERROR reqscope::body ") && line.contains("scripted failure")));
    assert!(lines[1].contains("client_is_gone=true"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn stalled_body_is_a_warning() {
    let (log, _guard) = Log::new();
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    let [line] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
    assert!(line.starts_with("WARN reqscope::body ") && line.contains("asked for in 30.0 s"), "{line}");
    drop(body);
}

/// The client sees a truncated body, and nothing says why.
#[tokio::test]
async fn failed_body_is_an_error() {
    let (log, _guard) = Log::new();
    let (_probe, _reaper, lease) = scene(Probe::new()).await;
    assert!(LeaseBody::new(Frames(vec![data("a"), Err("torn")]), lease).collect().await.is_err());
    let (probe, _reaper, lease) = scene(Probe::new()).await;
    probe.on(Verb::Operate).error();
    let chunks = LeaseBody::from_fn(lease, |mut lease| async move {
        lease.operate().await?;
        Ok((lease, Some(Bytes::new()))) as Chunk
    });
    assert!(chunks.collect().await.is_err());
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines.iter().all(|line| line.starts_with("ERROR reqscope::body ") && line.contains("Probe")),
        "{lines:?}"
    );
    assert!(lines[0].contains("error=torn") && lines[1].contains("scripted failure"), "{lines:?}");
}

#[tokio::test]
async fn empty_body_never_polled_is_a_warning() {
    let (log, _guard) = Log::new();
    let (_probe, _reaper, lease) = scene(Probe::new()).await;
    drop(LeaseBody::new(Empty::<Bytes>::new(), lease));
    let (_probe, _reaper, lease) = scene(Probe::new()).await;
    drop(LeaseBody::new(Full::<Bytes>::from("all"), lease));
    let (_probe, _reaper, lease) = scene(Probe::new()).await;
    assert_eq!(LeaseBody::new(Empty::<Bytes>::new(), lease).collect().await.unwrap().to_bytes(), "");
    let [line] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
    assert!(line.starts_with("WARN reqscope::body ") && line.contains("without having been polled"), "{line}");
}
