use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use reqscope::{Error, Exit, Lease, Reaper};
use reqscope_http::{ByGrpcStatus, LeaseBody, LeaseBodyError};
use reqscope_testkit::{Outcome, Probe, Scripted, Verb, expect_panic, poll_once, quiet_panic};

pub(crate) type Scene = (Arc<Probe>, Reaper, Lease<Probe>);

pub(crate) async fn scene(probe: Probe) -> Scene {
    let (probe, reaper) = (Arc::new(probe), Reaper::new());
    let lease = Lease::acquire_in(&reaper, &probe).await.unwrap();
    (probe, reaper, lease)
}

/// Drains the reaper and returns the exit of the only release.
pub(crate) async fn exit(probe: &Probe, reaper: &Reaper) -> Exit {
    assert!(reaper.drain(Duration::from_secs(60)).await.is_clean());
    let releases = probe.releases();
    assert_eq!(releases.len(), 1);
    releases[0].exit
}

/// A body of unknown length that returns these frames without waiting.
pub(crate) struct Frames(pub(crate) Vec<Result<Frame<Bytes>, &'static str>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready((!self.0.is_empty()).then(|| self.0.remove(0)))
    }
}

pub(crate) fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers(grpc_status: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), grpc_status.parse().unwrap())])))
}

async fn text<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    body.frame().await.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
}

#[tokio::test]
async fn last_bytes_of_known_length_complete_the_lease() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "all");
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
}

#[tokio::test]
async fn end_of_unknown_length_completes_the_lease() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::new(Frames(vec![data("a"), data("b")]), lease);
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(probe.counts().live(), 1);
    assert!(body.frame().await.is_none());
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn last_bytes_of_length_set_by_hand_complete_the_lease() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::new(Frames(vec![data("ab"), data("c")]), lease).with_length(3);
    assert_eq!(body.size_hint().exact(), Some(3));
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.size_hint().exact(), Some(1));
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
}

#[tokio::test]
async fn settling_release_is_awaited_before_the_last_frame() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    probe.on(Verb::Release).close();
    let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    {
        let mut frame = pin!(body.frame());
        assert!(poll_once(frame.as_mut()).is_pending());
    }
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(3), "the held frame is included");
    probe.on(Verb::Release).ok();
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "all");
    assert!(body.is_end_stream());
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
}

#[tokio::test]
async fn failed_settle_replaces_the_last_frame() {
    for frames in [vec![data("all")], vec![data("most"), data("last")]] {
        let (probe, _reaper, lease) = scene(Probe::new().settling()).await;
        probe.on(Verb::Release).error();
        let length = if frames.len() == 1 { 3 } else { 8 };
        let mut body = LeaseBody::new(Frames(frames), lease).with_length(length);
        let mut got = Vec::new();
        let error = loop {
            match text(&mut body).await.unwrap() {
                Ok(bytes) => got.extend_from_slice(&bytes),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, LeaseBodyError::Release(_)));
        assert!(got.len() < 8 && got.len() != 3, "{got:?}");
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn failed_settle_replaces_the_end_of_unknown_length() {
    let (probe, _reaper, lease) = scene(Probe::new().settling()).await;
    probe.on(Verb::Release).error();
    let mut body = LeaseBody::new(Frames(vec![data("all")]), lease);
    body.frame().await.unwrap().unwrap();
    assert!(matches!(body.frame().await, Some(Err(LeaseBodyError::Release(_)))));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn body_dropped_while_settling_still_settles() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    probe.on(Verb::Release).close();
    let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    assert!(poll_once(pin!(body.frame())).is_pending());
    drop(body);
    probe.on(Verb::Release).ok();
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
}

#[tokio::test]
async fn body_error_fails_the_lease() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    let mut body = LeaseBody::new(Frames(vec![data("a"), Err("torn")]), lease);
    body.frame().await.unwrap().unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, LeaseBodyError::Body(_)));
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "torn");
    assert_eq!(exit(&probe, &reaper).await, Exit::Failed);
}

#[tokio::test]
async fn drop_before_the_end_cancels_the_lease() {
    for polls in [0, 1] {
        let (probe, reaper, lease) = scene(Probe::new().settling()).await;
        let mut body = LeaseBody::new(Frames(vec![data("a"), data("b")]), lease).with_length(2);
        for _ in 0..polls {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    }
}

/// The response to HEAD: it has a body, which the server never polls.
#[tokio::test]
async fn full_body_never_polled_is_cancelled() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    drop(LeaseBody::new(Full::<Bytes>::from("all"), lease));
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
}

/// The response was never sent: a middleware has answered in its place, or the client left before the head. The drop
/// was once taken for a body that a server does not poll because it knows that nothing follows.
#[tokio::test]
async fn empty_body_never_polled_is_cancelled() {
    for probe in [Probe::new(), Probe::new().settling()] {
        let (probe, reaper, lease) = scene(probe).await;
        drop(LeaseBody::new(Empty::<Bytes>::new(), lease));
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    }
}

#[tokio::test]
async fn length_of_zero_set_by_hand_completes_nothing_unpolled() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let body = LeaseBody::new(Frames(vec![]), lease).with_length(0);
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, None));
    drop(body);
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
}

/// A server does not poll a body that reports its end, or a length of 0.
#[tokio::test]
async fn empty_body_reports_neither_end_nor_length() {
    for probe in [Probe::new(), Probe::new().settling()] {
        let (probe, reaper, lease) = scene(probe).await;
        let mut body = LeaseBody::new(Empty::<Bytes>::new(), lease);
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, None));
        assert!(body.frame().await.is_none());
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
        assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
    }
}

#[tokio::test]
async fn failed_settle_of_an_empty_body_fails_it() {
    let (probe, _reaper, lease) = scene(Probe::new().settling()).await;
    probe.on(Verb::Release).error();
    let mut body = LeaseBody::new(Empty::<Bytes>::new(), lease);
    assert!(matches!(body.frame().await, Some(Err(LeaseBodyError::Release(_)))));
    assert!(body.is_end_stream());
}

/// A body whose end is reached by itself, without a poll that has returned it.
#[tokio::test]
async fn end_reached_between_two_polls_completes_nothing() {
    struct Flips(bool);
    impl Body for Flips {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.0 = true;
            Poll::Pending
        }

        fn is_end_stream(&self) -> bool {
            self.0
        }
    }
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    let mut body = LeaseBody::new(Flips(false), lease);
    assert!(poll_once(pin!(body.frame())).is_pending());
    assert!(!body.is_end_stream());
    drop(body);
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
}

#[tokio::test]
async fn size_and_end_are_those_of_the_body() {
    let (_probe, _reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
    assert_eq!(body.size_hint().exact(), Some(3));
    assert!(!body.is_end_stream());
    body.frame().await.unwrap().unwrap();
    assert!(body.is_end_stream());

    let (_probe, _reaper, lease) = scene(Probe::new()).await;
    let hint = LeaseBody::new(Frames(vec![]), lease).size_hint();
    assert_eq!((hint.lower(), hint.upper()), (SizeHint::default().lower(), None));
}

#[tokio::test]
async fn trailers_are_returned_after_the_settle() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    let mut body = LeaseBody::new(Frames(vec![data("a"), trailers("0")]), lease);
    body.frame().await.unwrap().unwrap();
    probe.on(Verb::Release).close();
    assert!(poll_once(pin!(body.frame())).is_pending());
    probe.on(Verb::Release).ok();
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
}

#[tokio::test]
async fn classified_trailers_decide_the_exit() {
    for (status, expected) in [("0", Exit::Completed), ("13", Exit::Failed)] {
        let (probe, reaper, lease) = scene(Probe::new().settling()).await;
        let frames = Frames(vec![data("a"), trailers(status)]);
        let mut body = LeaseBody::new(frames, lease).classify_trailers(ByGrpcStatus);
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        assert_eq!(exit(&probe, &reaper).await, expected);
    }
}

/// The last bytes of a known length were once taken for the end, so the trailers could not say that the call had
/// failed.
#[tokio::test]
async fn trailers_after_a_known_length_decide_the_exit() {
    for (status, expected) in [("0", Exit::Completed), ("13", Exit::Failed)] {
        let (probe, reaper, lease) = scene(Probe::new().settling()).await;
        let trailers = trailers(status).unwrap().into_trailers().unwrap();
        let call = Full::<Bytes>::from("reply").with_trailers(std::future::ready(Some(Ok(trailers))));
        let mut body = LeaseBody::new(call, lease).classify_trailers(ByGrpcStatus);
        assert_eq!(body.size_hint().exact(), None, "a server that knows the length asks for no trailers");
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        assert_eq!(exit(&probe, &reaper).await, expected);
    }
}

#[tokio::test]
async fn panic_elsewhere_ends_the_lease_as_panicked() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let body = LeaseBody::new(Empty::<Bytes>::new(), lease);
    expect_panic(move || {
        let _body = body;
        panic!("elsewhere in the connection");
    });
    assert_eq!(exit(&probe, &reaper).await, Exit::Panicked);
}

#[tokio::test]
async fn panicking_trailer_classifier_completes_nothing() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    let frames = Frames(vec![data("rows"), trailers("0")]);
    let mut body = LeaseBody::new(frames, lease)
        .classify_trailers(|_: StatusCode, _: &HeaderMap| quiet_panic("in the classifier"));
    assert!(text(&mut body).await.is_some());
    expect_panic(|| poll_once(pin!(body.frame())));
    drop(body);
    assert_eq!(exit(&probe, &reaper).await, Exit::Panicked);
}

/// The last frame panics when the body is already at its end. The caller catches that and drops the body later, when
/// nothing unwinds any more; the drop once took this for a body that had ended well.
#[tokio::test]
async fn caught_panic_of_the_body_completes_nothing() {
    let (probe, reaper, lease) = scene(Probe::new().settling()).await;
    let last = Full::new(Bytes::from("rows")).map_frame(|_| -> Frame<Bytes> { quiet_panic("in the body") });
    let mut body = LeaseBody::new(last, lease);
    expect_panic(|| poll_once(pin!(body.frame())));
    drop(body);
    assert_eq!(exit(&probe, &reaper).await, Exit::Panicked);
}

/// A panic after the frame was returned, in a method that is asked about it.
#[tokio::test]
async fn panic_of_a_size_hint_ends_the_lease_as_panicked() {
    struct Hint(bool);
    impl Body for Hint {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.0 = true;
            Poll::Ready(Some(data("a")))
        }

        fn size_hint(&self) -> SizeHint {
            if self.0 { quiet_panic("in a size hint") } else { SizeHint::default() }
        }
    }
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::new(Hint(false), lease);
    expect_panic(|| poll_once(pin!(body.frame())));
    assert_eq!(exit(&probe, &reaper).await, Exit::Panicked);
    drop(body);
}

/// A panicking drop of one part must neither leave the drop of the body nor decide how the lease ends. Two of them in
/// one list or struct would abort the process.
mod panicking_drops {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("in a drop")
        }
    }

    /// Returns a frame once. Its drop panics, and so does that of the frame.
    struct Source(Bomb, Option<Explosive>);

    struct Explosive(Bomb);

    impl bytes::Buf for Explosive {
        fn remaining(&self) -> usize {
            1
        }

        fn chunk(&self) -> &[u8] {
            b"a"
        }

        fn advance(&mut self, _: usize) {}
    }

    impl Body for Source {
        type Data = Explosive;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Explosive>, &'static str>>> {
            Poll::Ready(self.1.take().map(|data| Ok(Frame::data(data))))
        }
    }

    fn all_parts(lease: Lease<Probe>) -> LeaseBody<Source, Probe> {
        let bomb = Bomb;
        let work = Bomb;
        LeaseBody::new(Source(Bomb, None), lease)
            .classify_trailers(move |_: StatusCode, _: &HeaderMap| {
                let _owned = &bomb;
                Exit::Completed
            })
            .on_completed(async move { drop(work) })
    }

    #[tokio::test]
    async fn unpolled_body_is_dropped_quietly() {
        let (probe, reaper, lease) = scene(Probe::new()).await;
        drop(all_parts(lease));
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    }

    #[tokio::test]
    async fn body_with_a_held_frame_is_dropped_quietly() {
        let (probe, reaper, lease) = scene(Probe::new().settling()).await;
        probe.on(Verb::Release).close();
        let mut body = LeaseBody::new(Source(Bomb, Some(Explosive(Bomb))), lease).with_length(1);
        assert!(poll_once(pin!(body.frame())).is_pending());
        drop(body);
        probe.on(Verb::Release).ok();
        assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_body_is_dropped_quietly() {
        let (probe, reaper, lease) = scene(Probe::new()).await;
        let body = all_parts(lease);
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
        drop(body);
    }

    /// The drop runs while a panic elsewhere unwinds: a second panic that leaves it would abort the process.
    #[tokio::test]
    async fn body_is_dropped_quietly_while_unwinding() {
        let (probe, reaper, lease) = scene(Probe::new()).await;
        let body = all_parts(lease);
        expect_panic(move || {
            let _body = body;
            panic!("elsewhere in the connection");
        });
        assert_eq!(exit(&probe, &reaper).await, Exit::Panicked);
    }

    /// The future of a chunk, whose drop panics before it gets to the lease.
    struct Holds(Bomb, Lease<Probe>);

    impl Future for Holds {
        type Output = Chunk;

        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Chunk> {
            let _owned = &self.1;
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn future_of_a_chunk_is_dropped_quietly() {
        let (probe, reaper, lease) = scene(Probe::new()).await;
        let mut body = LeaseBody::from_fn(lease, |lease| Holds(Bomb, lease));
        assert!(poll_once(pin!(body.frame())).is_pending());
        drop(body);
        assert_eq!(exit(&probe, &reaper).await, Exit::Panicked, "the lease is dropped while its future unwinds");
    }

    #[tokio::test]
    async fn state_of_the_chunks_is_dropped_quietly() {
        let (probe, reaper, lease) = scene(Probe::new()).await;
        drop(LeaseBody::unfold(lease, Bomb, |lease, bomb| async move {
            Ok::<_, Error<Scripted>>((lease, bomb, Some(Bytes::new())))
        }));
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    }
}

pub(crate) type Chunk = Result<(Lease<Probe>, Option<Bytes>), Error<Scripted>>;

#[tokio::test]
async fn chunks_use_the_handle_and_complete_the_lease() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut left = 3;
    let body = LeaseBody::from_fn(lease, move |mut lease| {
        left -= 1;
        async move {
            lease.operate().await?;
            Ok((lease, (left > 0).then(|| Bytes::from_static(b"x")))) as Chunk
        }
    });
    assert_eq!(body.collect().await.unwrap().to_bytes(), "xx");
    assert_eq!(probe.on(Verb::Operate).calls(), 3);
    assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
}

#[tokio::test]
async fn failed_chunk_cancels_the_lease() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    probe.on(Verb::Operate).error();
    let mut body = Box::pin(LeaseBody::from_fn(lease, |mut lease: Lease<Probe>| async move {
        lease.operate().await?;
        Ok((lease, Some(Bytes::new()))) as Chunk
    }));
    assert!(matches!(body.frame().await, Some(Err(LeaseBodyError::Body(_)))));
    assert!(body.frame().await.is_none());
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
}

#[tokio::test]
async fn body_dropped_while_making_a_chunk_is_cancelled() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    probe.on(Verb::Operate).never();
    let mut body = Box::pin(LeaseBody::from_fn(lease, |mut lease: Lease<Probe>| async move {
        lease.operate().await?;
        Ok((lease, Some(Bytes::new()))) as Chunk
    }));
    assert!(poll_once(pin!(poll_fn(|cx| body.as_mut().poll_frame(cx)))).is_pending());
    drop(body);
    assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
}

#[tokio::test]
async fn panic_in_a_chunk_ends_the_lease_as_panicked() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = Box::pin(LeaseBody::from_fn(lease, |lease: Lease<Probe>| async move {
        let _lease = lease;
        quiet_panic("in the body");
        #[allow(unreachable_code)]
        (Err(Error::closed()) as Chunk)
    }));
    expect_panic(|| poll_once(pin!(poll_fn(|cx| body.as_mut().poll_frame(cx)))));
    assert_eq!(exit(&probe, &reaper).await, Exit::Panicked);
}

/// A future that keeps the lease when it panics. The body once kept it for as long as the server kept the body, because
/// the panic had ended the clock too.
#[tokio::test]
async fn panicked_future_that_keeps_the_lease_is_dropped() {
    let (probe, reaper, lease) = scene(Probe::new()).await;
    let mut body = LeaseBody::from_fn(lease, |lease: Lease<Probe>| {
        poll_fn(move |_| {
            let _kept = &lease;
            quiet_panic("in the body");
            #[expect(unreachable_code, reason = "names the output type")]
            Poll::<Chunk>::Pending
        })
    });
    expect_panic(|| poll_once(pin!(body.frame())));
    assert_eq!(exit(&probe, &reaper).await, Exit::Panicked);
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("panicked"), "{error:?}");
    assert!(body.frame().await.is_none());
}

mod on_completed {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::oneshot;

    use super::*;

    /// Returns a counter, and a future that adds one to it.
    fn counted() -> (Arc<AtomicUsize>, impl Future<Output = ()> + Send + 'static) {
        let ran = Arc::new(AtomicUsize::new(0));
        let adds = Arc::clone(&ran);
        (ran, async move { assert_eq!(adds.fetch_add(1, Relaxed), 0) })
    }

    /// The release has a timeout of its own.
    #[tokio::test(start_paused = true)]
    async fn commit_may_take_longer_than_a_task() {
        let probe = Arc::new(Probe::new().settling());
        probe.on(Verb::Release).next(Outcome::ok().after(Duration::from_secs(40)));
        let seconds = Duration::from_secs;
        let reaper = Reaper::builder().release_timeout(seconds(60)).task_timeout(seconds(1)).build();
        let lease = Lease::acquire_in(&reaper, &probe).await.unwrap();
        let (ran, work) = counted();
        let body = LeaseBody::new(Full::<Bytes>::from("all"), lease).on_completed(work);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
        assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
        assert_eq!(ran.load(Relaxed), 1);
    }

    /// The second panic in the drop of a list aborts the process.
    #[tokio::test(start_paused = true)]
    async fn work_whose_drops_all_panic_makes_no_body_panic() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                quiet_panic("in a drop")
            }
        }
        let (probe, reaper, lease) = scene(Probe::new()).await;
        let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease);
        for _ in 0..3 {
            let bomb = Bomb;
            body = body.on_completed(async move { drop(bomb) });
        }
        drop(body);
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
    }

    #[tokio::test]
    async fn work_runs_once_after_the_release() {
        for probe in [Probe::new(), Probe::new().settling()] {
            let (probe, reaper, lease) = scene(probe).await;
            let (ran, work) = counted();
            let (before, released) = (Arc::clone(&probe), Arc::clone(&ran));
            let body = LeaseBody::new(Full::<Bytes>::from("all"), lease)
                .on_completed(async move { assert_eq!(before.counts().released, 1) })
                .on_completed(work)
                .on_completed(async move { assert_eq!(released.load(Relaxed), 1, "in order") });
            assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
            assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
            assert_eq!((ran.load(Relaxed), reaper.stats().tasks_failed), (1, 0));
        }
    }

    #[tokio::test]
    async fn drain_waits_for_the_work() {
        let (_probe, reaper, lease) = scene(Probe::new()).await;
        let (ran, work) = counted();
        let (go, waits) = oneshot::channel();
        let body = LeaseBody::new(Full::<Bytes>::from("all"), lease).on_completed(async {
            waits.await.unwrap();
            work.await;
        });
        drop(body.collect().await.unwrap());
        let mut drain = pin!(reaper.drain(Duration::from_secs(60)));
        assert!(poll_once(drain.as_mut()).is_pending());
        go.send(()).unwrap();
        assert!(drain.await.is_clean());
        assert_eq!(ran.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn work_runs_if_the_client_leaves_during_the_commit() {
        let (probe, reaper, lease) = scene(Probe::new().settling()).await;
        probe.on(Verb::Release).close();
        let (ran, work) = counted();
        let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease).on_completed(work);
        assert!(poll_once(pin!(body.frame())).is_pending());
        drop(body);
        probe.on(Verb::Release).ok();
        assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
        assert_eq!(ran.load(Relaxed), 1);
    }

    /// The mail about a response that was never sent was once sent.
    #[tokio::test]
    async fn work_of_an_empty_body_never_polled_is_dropped() {
        let (probe, reaper, lease) = scene(Probe::new()).await;
        let (ran, work) = counted();
        drop(LeaseBody::new(Empty::<Bytes>::new(), lease).on_completed(work));
        assert_eq!(exit(&probe, &reaper).await, Exit::Cancelled);
        assert_eq!((ran.load(Relaxed), Arc::strong_count(&ran)), (0, 1));
    }

    #[tokio::test]
    async fn work_is_dropped_if_the_release_fails() {
        let (probe, reaper, lease) = scene(Probe::new().settling()).await;
        probe.on(Verb::Release).error();
        let (ran, work) = counted();
        let mut body = LeaseBody::new(Full::<Bytes>::from("all"), lease).on_completed(work);
        assert!(matches!(body.frame().await, Some(Err(LeaseBodyError::Release(_)))));
        drop(body);
        assert!(reaper.drain(Duration::from_secs(60)).await.is_clean());
        assert_eq!((ran.load(Relaxed), Arc::strong_count(&ran)), (0, 1));
    }

    #[tokio::test]
    async fn work_is_dropped_unless_the_lease_is_completed() {
        for frames in [vec![data("a"), Err("torn")], vec![data("a"), trailers("13")], vec![data("a"), data("b")]] {
            let (_probe, reaper, lease) = scene(Probe::new().settling()).await;
            let (ran, work) = counted();
            let mut body = LeaseBody::new(Frames(frames), lease).classify_trailers(ByGrpcStatus).on_completed(work);
            for _ in 0..2 {
                drop(body.frame().await);
            }
            drop(body);
            assert!(reaper.drain(Duration::from_secs(60)).await.is_clean());
            assert_eq!((ran.load(Relaxed), Arc::strong_count(&ran)), (0, 1));
        }
    }

    #[tokio::test]
    async fn panic_in_the_work_is_counted() {
        let (probe, reaper, lease) = scene(Probe::new()).await;
        let (ran, work) = counted();
        let body = LeaseBody::new(Full::<Bytes>::from("all"), lease)
            .on_completed(async { quiet_panic("in the work") })
            .on_completed(work);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
        assert_eq!(exit(&probe, &reaper).await, Exit::Completed);
        assert_eq!((ran.load(Relaxed), reaper.stats().tasks_failed), (1, 1));
    }
}

#[test]
fn lease_body_is_send() {
    fn send<T: Send>(_: impl FnOnce() -> T) {}
    send(|| -> LeaseBody<Full<Bytes>, Probe> { unreachable!() });
    fn chunks(lease: Lease<Probe>) -> impl Body<Data = Bytes> + Send {
        LeaseBody::from_fn(lease, |lease| async move { Ok((lease, None)) as Chunk })
    }
    send(|| chunks);
}
