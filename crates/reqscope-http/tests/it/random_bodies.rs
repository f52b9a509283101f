//! Random bodies, and servers that poll, wait, wake and drop them at random. Whatever they do, the lease ends once, in the
//! way in which the server saw the body end, and the work of `on_completed` runs if and only if its COMMIT succeeded.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use reqscope::Exit;
use reqscope_http::{ByGrpcStatus, LeaseBody, LeaseBodyError};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once, quiet_panic};
use tokio::time::sleep;

use crate::lease_body::scene;

const SECOND: Duration = Duration::from_secs(1);

/// Xorshift, so that a failure can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Frame,
    /// Pending until the test wakes the body.
    Waits,
    Fails,
    Panics,
    Trailers(&'static str),
}

/// Does these steps, and ends.
struct Source {
    steps: VecDeque<Step>,
    waker: Arc<Mutex<Option<Waker>>>,
    is_length_known: bool,
}

impl Body for Source {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Frame) => Some(Ok(Frame::data(Bytes::from_static(&[0; 1000])))),
            Some(Step::Fails) => Some(Err("torn")),
            Some(Step::Panics) => quiet_panic("in the source"),
            Some(Step::Trailers(status)) => {
                let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())];
                Some(Ok(Frame::trailers(HeaderMap::from_iter(trailers))))
            }
            Some(Step::Waits) => {
                *self.waker.lock().unwrap() = Some(cx.waker().clone());
                return Poll::Pending;
            }
        })
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_length_known {
            true => {
                SizeHint::with_exact(1000 * self.steps.iter().filter(|step| **step == Step::Frame).count() as u64)
            }
            false => SizeHint::default(),
        }
    }
}

fn steps(random: &mut Random, is_length_known: bool) -> VecDeque<Step> {
    let mut steps: VecDeque<_> =
        (0..random.below(5)).map(|_| if random.below(3) == 0 { Step::Waits } else { Step::Frame }).collect();
    match random.below(6) {
        _ if is_length_known => {}
        0 => steps.push_back(Step::Fails),
        1 => steps.push_back(Step::Panics),
        2 => steps.push_back(Step::Trailers("0")),
        3 => steps.push_back(Step::Trailers("13")),
        _ => {}
    }
    steps
}

/// How the server saw the body end.
#[derive(Debug)]
enum Seen {
    End,
    Failed,
    ReleaseFailed,
    Stalled(Exit),
    Panicked,
    /// It did not: the server dropped the body, after so many polls.
    Dropped(usize),
}

async fn play(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let is_settling = random.below(2) == 0;
    let (probe, reaper, lease) = scene(if is_settling { Probe::new().settling() } else { Probe::new() }).await;
    let is_release_ok = random.below(4) != 0;
    let release = if is_release_ok { Outcome::ok() } else { Outcome::error() };
    probe.on(Verb::Release).next(release.after(random.below(2) as u32 * 3 * SECOND));
    let (ran, waker) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    let is_length_known = random.below(3) == 0;
    let steps = steps(&mut random, is_length_known);
    let story = format!("seed {seed}: {steps:?}, known {is_length_known}, settles {is_settling}, ok {is_release_ok}");
    let counts = Arc::clone(&ran);
    let source = Source { steps, waker: Arc::clone(&waker), is_length_known };
    let mut body =
        LeaseBody::new(source, lease).on_completed(async move { assert_eq!(counts.fetch_add(1, Relaxed), 0) });
    let is_classified = random.below(2) == 0;
    if is_classified {
        body = body.classify_trailers(ByGrpcStatus);
    }

    let mut polls = 0;
    let seen = loop {
        match random.below(10) {
            0 => sleep(random.below(40) as u32 * SECOND).await,
            1 | 2 => {
                let waker = waker.lock().unwrap().take();
                waker.into_iter().for_each(Waker::wake);
            }
            3 if random.below(4) == 0 => break Seen::Dropped(polls),
            _ => {
                polls += 1;
                // The tasks of the reaper need a turn now and then.
                tokio::task::yield_now().await;
                match catch_unwind(AssertUnwindSafe(|| poll_once(pin!(body.frame())))) {
                    Err(_panic) => break Seen::Panicked,
                    Ok(Poll::Ready(None)) => break Seen::End,
                    Ok(Poll::Ready(Some(Err(LeaseBodyError::Body(_))))) => break Seen::Failed,
                    Ok(Poll::Ready(Some(Err(LeaseBodyError::Release(_))))) => break Seen::ReleaseFailed,
                    Ok(Poll::Ready(Some(Err(LeaseBodyError::Stalled { exit, .. })))) => break Seen::Stalled(exit),
                    Ok(_) => {}
                }
            }
        }
    };
    drop(body);
    assert!(reaper.drain(60 * SECOND).await.is_clean(), "{story}: {seen:?}");
    let counts = probe.counts();
    assert_eq!((counts.live(), counts.double_released, counts.abandoned), (0, 0, 0), "{story}: {seen:?}");
    let releases = probe.releases();
    assert_eq!(releases.len(), 1, "{story}: {seen:?}");
    let exit = releases[0].exit;
    let story = format!("{story}: {seen:?}, {exit:?}");
    assert_eq!(ran.load(Relaxed), usize::from(exit == Exit::Completed && is_release_ok), "{story}");
    match seen {
        Seen::End => {
            assert!(exit == Exit::Completed || is_classified && exit == Exit::Failed, "{story}");
            assert!(is_release_ok || !is_settling || exit == Exit::Failed, "{story}");
        }
        Seen::Failed => assert_eq!(exit, Exit::Failed, "{story}"),
        Seen::ReleaseFailed => assert!(is_settling && !is_release_ok, "{story}"),
        Seen::Stalled(said) => assert_eq!(exit, said, "{story}"),
        Seen::Panicked => assert_eq!(exit, Exit::Panicked, "{story}"),
        Seen::Dropped(0) => assert_eq!(exit, Exit::Cancelled, "{story}"),
        Seen::Dropped(_) => assert_ne!(exit, Exit::Panicked, "{story}"),
    }
}

#[tokio::test(start_paused = true)]
async fn lease_ends_once_and_as_the_server_saw_it() {
    for seed in 0..2000 {
        play(seed).await;
    }
}
