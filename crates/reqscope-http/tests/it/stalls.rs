//! Clients that do not read a body, or too slowly, must not keep its handle (L12).

use std::convert::Infallible;
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use reqscope::{Exit, Lease};
use reqscope_http::{LeaseBody, LeaseBodyError};
use reqscope_testkit::{Probe, Scripted, Verb, poll_once};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance, sleep};

use crate::lease_body::{Chunk, Frames, data, exit, scene};

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(30);

/// Checks that the next frame is the error of a stall, and that nothing follows.
async fn assert_stalled<B: Body<Data = Bytes, Error = LeaseBodyError<Scripted>> + Unpin>(body: &mut B) {
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, LeaseBodyError::Stalled { .. }), "{error:?}");
    assert!(body.frame().await.is_none());
}

/// Returns frames of this size without end.
fn endless(lease: Lease<Probe>, bytes: usize) -> impl Body<Data = Bytes, Error = LeaseBodyError<Scripted>> + Unpin {
    let chunk = Bytes::from(vec![0; bytes]);
    LeaseBody::from_fn(lease, move |lease| {
        let chunk = chunk.clone();
        async move { Ok((lease, Some(chunk))) as Chunk }
    })
}

#[tokio::test(start_paused = true)]
async fn body_never_polled_gives_its_handle_back() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    sleep(LIMIT - SECOND).await;
    assert_eq!(probe.counts().live(), 1);
    sleep(2 * SECOND).await;
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    let error = body.frame().await.unwrap().unwrap_err().to_string();
    assert!(error.contains("asked for in 30.0 s") && error.contains("stall timeout"), "{error}");
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn empty_body_that_stalls_is_cancelled() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    let mut body = LeaseBody::new(Empty::<Bytes>::new(), lease);
    sleep(LIMIT + SECOND).await;
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    assert_stalled(&mut body).await;
}

#[tokio::test(start_paused = true)]
async fn frame_not_followed_by_a_poll_stalls() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::new(Frames(vec![data("a"), data("b")]), lease);
    body.frame().await.unwrap().unwrap();
    sleep(LIMIT + SECOND).await;
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    assert_stalled(&mut body).await;
}

/// The future of the next chunk owns the lease, so it must be dropped too.
#[tokio::test(start_paused = true)]
async fn woken_body_not_polled_drops_its_future() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let (send, receive) = oneshot::channel::<()>();
    let mut receive = Some(receive);
    let mut body = LeaseBody::from_fn(lease, move |lease| {
        let receive = receive.take().unwrap();
        async move {
            receive.await.unwrap();
            Ok((lease, Some(Bytes::new()))) as Chunk
        }
    });
    assert!(poll_once(pin!(body.frame())).is_pending());
    sleep(600 * SECOND).await;
    assert_eq!(probe.counts().live(), 1, "the body waits for its source, not for the client");
    send.send(()).unwrap();
    sleep(LIMIT - SECOND).await;
    assert_eq!(probe.counts().live(), 1);
    sleep(2 * SECOND).await;
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    assert_stalled(&mut body).await;
}

/// A driver's thread that wakes the body knows neither the runtime nor its clock.
#[tokio::test(start_paused = true)]
async fn wake_from_another_thread_uses_the_clock_of_the_runtime() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let (send, receive) = oneshot::channel::<()>();
    let mut receive = Some(receive);
    let mut body = LeaseBody::from_fn(lease, move |lease| {
        let receive = receive.take().unwrap();
        async move {
            receive.await.unwrap();
            Ok((lease, None)) as Chunk
        }
    });
    assert!(poll_once(pin!(body.frame())).is_pending());
    advance(600 * SECOND).await;
    thread::spawn(|| send.send(()).unwrap()).join().unwrap();
    sleep(LIMIT - SECOND).await;
    assert_eq!(probe.counts().live(), 1);
    sleep(2 * SECOND).await;
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn quiet_event_stream_is_kept() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let began = Instant::now();
    let body = LeaseBody::unfold(lease, 6, |lease, left| async move {
        sleep(600 * SECOND).await;
        let event = (left > 0).then(|| Bytes::from_static(b"data: tick\n\n"));
        Ok::<_, Infallible>((lease, left - 1, event))
    });
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 6 * 12);
    assert_eq!(began.elapsed().as_secs(), 7 * 600);
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
}

#[tokio::test(start_paused = true)]
async fn query_of_a_minute_is_kept() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    let mut is_first = true;
    let body = LeaseBody::from_fn(lease, move |lease| {
        let chunk = std::mem::take(&mut is_first).then(|| Bytes::from_static(b"rows"));
        async move {
            sleep(60 * SECOND).await;
            Ok((lease, chunk)) as Chunk
        }
    });
    assert_eq!(body.collect().await.unwrap().to_bytes(), "rows");
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
}

#[tokio::test(start_paused = true)]
async fn reader_of_1_kb_per_second_is_served() {
    let (probe, _reaper, lease) = scene(Probe::new()).await;
    let mut body = endless(lease, 16 << 10);
    for _ in 0..100 {
        body.frame().await.unwrap().unwrap();
        sleep(16 * SECOND).await;
    }
    assert_eq!(probe.counts().live(), 1);
}

#[tokio::test(start_paused = true)]
async fn reader_of_100_bytes_per_second_is_dropped() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = endless(lease, 1000);
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(_) => sleep(10 * SECOND).await,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, LeaseBodyError::Stalled { waited, behind, .. } if waited <= 10 * SECOND && behind >= LIMIT)
    );
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn limits_can_be_changed_and_disabled() {
    let (probe, _reaper, lease) = scene(Probe::new()).await;
    let mut slow = LeaseBody::new(Frames((0..100).map(|_| data("a")).collect()), lease).min_rate(0);
    for _ in 0..99 {
        slow.frame().await.unwrap().unwrap();
        sleep(29 * SECOND).await;
    }
    drop(slow);
    let (unlimited, _reaper, lease) = scene(Probe::new()).await;
    let body = LeaseBody::new(Full::<Bytes>::from("all"), lease).stall_timeout(None);
    let (longest, _reaper, lease) = scene(Probe::new()).await;
    let other = LeaseBody::new(Full::<Bytes>::from("all"), lease).stall_timeout(Duration::MAX).min_rate(u64::MAX);
    let (short, _reaper, lease) = scene(Probe::new()).await;
    let early = LeaseBody::new(Full::<Bytes>::from("all"), lease).stall_timeout(5 * SECOND);
    sleep(6 * SECOND).await;
    assert_eq!(short.counts().live(), 0);
    sleep(1000 * LIMIT).await;
    assert_eq!((unlimited.counts().live(), longest.counts().live()), (1, 1));
    drop((body, other, early));
    assert_eq!(probe.releases()[0].exit, Exit::Cancelled);
}

/// A source that stops in the middle of a poll until the test lets it go on.
struct Blocks {
    polled: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Body for Blocks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.polled.send(()).unwrap();
        self.go_on.recv().unwrap();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"late")))))
    }
}

#[tokio::test(start_paused = true)]
async fn timer_during_a_poll_leaves_the_body_to_the_poll() {
    let (probe, _reaper, lease) = scene(Probe::new()).await;
    let ((polled, is_polled), (go, go_on)) = (mpsc::channel(), mpsc::channel());
    let mut body = LeaseBody::new(Blocks { polled, go_on }, lease);
    let server = thread::spawn(move || {
        let frame = poll_once(pin!(body.frame()));
        (frame, body)
    });
    is_polled.recv().unwrap();
    advance(2 * LIMIT).await;
    assert_eq!(probe.counts().live(), 1);
    go.send(()).unwrap();
    let (frame, body) = server.join().unwrap();
    assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
    // From here on the server owes a poll again.
    sleep(LIMIT + SECOND).await;
    assert_eq!(probe.counts().live(), 0);
    drop(body);
}

#[tokio::test(start_paused = true)]
async fn stall_during_the_settle_lets_the_release_end() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    probe.on(Verb::Release).close();
    let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    assert!(poll_once(pin!(body.frame())).is_pending());
    probe.on(Verb::Release).ok();
    sleep(LIMIT + SECOND).await;
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
    // The message once said that the handle, whose COMMIT had succeeded, was released as cancelled.
    let error = body.frame().await.unwrap().unwrap_err().to_string();
    assert!(error.contains("as completed") && !error.contains("cancelled"), "{error}");
    assert!(body.frame().await.is_none());
}

/// What hyper does with the body of a response to HEAD, and what becomes of the timer.
#[tokio::test(start_paused = true)]
async fn dropped_body_leaves_no_timer() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    drop(LeaseBody::new(Full::<Bytes>::from("all"), lease));
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    let (ended, reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    body.frame().await.unwrap().unwrap();
    assert_eq!(exit(&ended, &reaper).await, Exit::Completed);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    // A timer would fire here, and the clock would not jump over it.
    let began = Instant::now();
    sleep(LIMIT + SECOND).await;
    assert_eq!(began.elapsed(), LIMIT + SECOND);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    assert!(body.frame().await.is_none());
    assert_eq!(probe.releases().len(), 1);
}

#[test]
fn body_created_without_a_runtime_starts_at_its_first_poll() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (probe, reaper, lease) = runtime.block_on(scene(Probe::new()));
    let mut body = LeaseBody::new(Frames(vec![data("a"), data("b")]), lease);
    runtime.block_on(async {
        sleep(2 * LIMIT).await;
        body.frame().await.unwrap().unwrap();
        sleep(LIMIT + SECOND).await;
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    });
}

/// The runtime that created the body is alive, but nothing drives it any more, so its timers never fire.
#[test]
fn timer_follows_the_body_to_another_runtime() {
    let paused = || -> Runtime { Builder::new_current_thread().enable_time().start_paused(true).build().unwrap() };
    let (first, second) = (paused(), paused());
    let ((probe, reaper, _), mut body) = first.block_on(async {
        let (probe, reaper, lease) = scene(Probe::new()).await;
        ((probe, reaper, ()), LeaseBody::new(Frames(vec![data("a"), data("b")]), lease))
    });
    second.block_on(async {
        body.frame().await.unwrap().unwrap();
        sleep(LIMIT + SECOND).await;
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    });
}

#[test]
fn runtime_without_timers_sets_no_limit() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (probe, _reaper, lease) = scene(Probe::new()).await;
        let mut body = LeaseBody::new(Frames(vec![data("a"), data("b")]), lease);
        body.frame().await.unwrap().unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(body.frame().await.is_none());
        tokio::task::yield_now().await; // the release runs in the reaper
        assert_eq!(probe.counts().live(), 0);
    });
}

/// A timer fires when its runtime shuts down, too.
#[test]
fn shutdown_of_the_runtime_does_not_stall_the_body() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (probe, mut body) = runtime.block_on(async {
        let (probe, _reaper, lease) = scene(Probe::new()).await;
        (
            probe,
            LeaseBody::from_fn(lease, |lease| async move {
                pending::<()>().await;
                Ok((lease, None)) as Chunk
            }),
        )
    });
    drop(runtime);
    assert_eq!(probe.counts().live(), 1);
    assert!(poll_once(pin!(body.frame())).is_pending());
}

/// Timers of a millisecond race with polls, wakes and drops on four threads. Whichever is first, each handle is
/// released once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_timers_release_each_handle_once() {
    const BODIES: u64 = 400;
    let (probe, reaper, lease) = scene(Probe::new()).await;
    drop(lease);
    let served = (0..BODIES).map(|number| {
        let (probe, reaper) = (probe.clone(), reaper.clone());
        tokio::spawn(async move {
            let lease = Lease::acquire_in(&reaper, &probe).await.unwrap();
            let body = LeaseBody::unfold(lease, number % 5, |lease, left| async move {
                tokio::task::yield_now().await;
                sleep(Duration::from_micros(300 * left)).await;
                Ok::<_, Infallible>((lease, left.saturating_sub(1), (left > 0).then(|| Bytes::from_static(b"x"))))
            });
            let mut body = body.stall_timeout(Duration::from_millis(1)).min_rate(0);
            loop {
                match body.frame().await {
                    Some(Ok(_)) => sleep(Duration::from_micros(400 * (number % 4))).await,
                    Some(Err(error)) => assert!(matches!(error, LeaseBodyError::Stalled { .. }), "{error:?}"),
                    None => break,
                }
            }
        })
    });
    for served in served.collect::<Vec<_>>() {
        served.await.unwrap();
    }
    assert!(reaper.drain(60 * SECOND).await.is_clean());
    assert_eq!(probe.counts().released, BODIES + 1);
}
