use std::pin::pin;

use reqscope::{Exit, Health, Resource};
use reqscope_testkit::{HandleState, Outcome, Probe, ProbeHandle, Verb, cancel_at, poll_once};

async fn made(probe: &Probe) -> ProbeHandle {
    probe.acquire().await.expect("the gate is open")
}

#[tokio::test]
async fn record_follows_a_handle_from_acquire_to_release() {
    let probe = Probe::new();
    let mut handle = made(&probe).await;
    handle.use_once();
    probe.validate(&mut handle).await.unwrap();
    let id = handle.id();
    assert_eq!(probe.record(id).state, HandleState::Live);
    assert_eq!(probe.counts().live(), 1);
    probe.release(handle, Exit::Failed).await.unwrap();
    let record = probe.record(id);
    assert_eq!((record.state, record.uses, record.validated), (HandleState::Released, 1, 1));
    assert_eq!(record.exits, [Exit::Failed]);
    assert_eq!(probe.counts().live(), 0);
}

#[tokio::test]
async fn dropped_handle_counts_as_abandoned() {
    let probe = Probe::new();
    drop(made(&probe).await);
    assert_eq!(probe.counts().abandoned, 1);
    assert_eq!(probe.record(0).state, HandleState::Abandoned);
}

#[tokio::test]
async fn release_cancelled_at_any_poll_abandons_the_handle() {
    for polls in 0..4 {
        let probe = Probe::new();
        let handle = made(&probe).await;
        probe.on(Verb::Release).slow(3);
        assert!(cancel_at(polls, probe.release(handle, Exit::Completed)).await.is_none());
        let counts = probe.counts();
        assert_eq!((counts.released, counts.abandoned, counts.live()), (0, 1, 0), "cancelled at poll {polls}");
    }
}

#[tokio::test]
async fn failed_or_panicked_release_ends_the_handle() {
    let probe = Probe::new();
    probe.on(Verb::Release).error().panic();
    assert!(probe.release(made(&probe).await, Exit::Completed).await.is_err());
    let handle = made(&probe).await;
    let panicking = tokio::spawn({
        let probe = probe.clone();
        async move { probe.release(handle, Exit::Completed).await }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    let counts = probe.counts();
    assert_eq!((counts.released, counts.abandoned), (2, 0));
}

#[tokio::test]
async fn second_release_is_counted() {
    let probe = Probe::new();
    let handle = made(&probe).await;
    let forged = handle.duplicate();
    probe.release(handle, Exit::Completed).await.unwrap();
    assert_eq!(probe.counts().double_released, 0);
    probe.release(forged, Exit::Cancelled).await.unwrap();
    let counts = probe.counts();
    assert_eq!((counts.double_released, counts.released, counts.live()), (1, 1, 0));
    assert_eq!(probe.record(0).exits, [Exit::Completed, Exit::Cancelled]);
}

#[tokio::test]
async fn use_after_release_is_counted() {
    let probe = Probe::new();
    let handle = made(&probe).await;
    let mut kept = handle.duplicate();
    kept.use_once();
    probe.release(handle, Exit::Completed).await.unwrap();
    assert_eq!(probe.counts().used_after_release, 0);
    kept.use_once();
    assert_eq!(probe.counts().used_after_release, 1);
}

#[tokio::test]
async fn cancelled_operation_leaves_the_handle_in_doubt() {
    let probe = Probe::new();
    let mut handle = made(&probe).await;
    handle.taken_by(1);
    probe.on(Verb::Operate).slow(1);
    assert!(cancel_at(1, handle.operate()).await.is_none());
    assert_eq!(probe.probe(&handle), Health::Dead);
    handle.taken_by(2);
    handle.use_once();
    assert_eq!(probe.counts().used_in_doubt, 1);
    probe.validate(&mut handle).await.unwrap();
    handle.use_once();
    assert_eq!(probe.counts().used_in_doubt, 1);
    assert_eq!(probe.probe(&handle), Health::Ready);
    probe.release(handle, Exit::Completed).await.unwrap();
}

#[tokio::test]
async fn failed_operation_leaves_no_doubt() {
    let probe = Probe::new();
    let mut handle = made(&probe).await;
    probe.on(Verb::Operate).error();
    assert!(handle.operate().await.is_err());
    // As in a driver, the error has ended the operation.
    assert_eq!(probe.probe(&handle), Health::Ready);
    probe.release(handle, Exit::Failed).await.unwrap();
}

#[tokio::test]
async fn cancelled_acquire_makes_nothing() {
    let probe = Probe::new();
    probe.on(Verb::Acquire).always(Outcome::ok().after_polls(2));
    {
        let mut acquire = pin!(probe.acquire());
        assert!(poll_once(acquire.as_mut()).is_pending());
        assert_eq!(probe.counts().acquiring, 1);
    }
    let counts = probe.counts();
    assert_eq!((counts.acquires, counts.acquiring, counts.acquires_cut, counts.acquired), (1, 0, 1, 0));
}

#[tokio::test]
async fn shortcuts_are_configurable() {
    let probe = Probe::new().reclaiming().settling();
    assert!(probe.try_acquire().is_none());
    probe.make_ready(1);
    let mut handle = probe.try_acquire().unwrap();
    assert!(probe.try_acquire().is_none());
    assert_eq!(probe.probe(&handle), Health::Ready);
    for health in [Health::Clean, Health::Ready, Health::Unknown, Health::Dirty, Health::Dead] {
        probe.set_health(health);
        assert_eq!(probe.probe(&handle), health);
    }
    probe.set_health(Health::Clean);
    handle.kill();
    assert_eq!(probe.probe(&handle), Health::Dead);
    assert!(probe.settles(Exit::Completed) && !probe.settles(Exit::Failed));
    probe.reclaim(handle, Exit::Cancelled).unwrap();
    assert_eq!((probe.counts().reclaimed, probe.counts().live()), (1, 0));
}

#[tokio::test]
async fn siblings_share_records_and_nothing_else() {
    let one = Probe::new();
    let other = one.sibling().settling();
    other.on(Verb::Acquire).error();
    let (first, second) = (made(&one).await, one.acquire().await.unwrap());
    assert!(other.acquire().await.is_err());
    let third = made(&other).await;
    assert!(!one.settles(Exit::Completed));
    other.release(third, Exit::Completed).await.unwrap();
    one.release(second, Exit::Completed).await.unwrap();
    one.release(first, Exit::Completed).await.unwrap();
    let order: Vec<u64> = one.releases().iter().map(|release| release.handle).collect();
    assert_eq!(order, [2, 1, 0]);
}
