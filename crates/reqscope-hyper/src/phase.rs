use tokio::sync::watch;

/// Where a server stands between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Nobody new is let in; what was begun is finished.
    Stopping,
    /// The time for that is over.
    Cut,
}

/// Waits until the server has come to `phase`, or is gone altogether.
pub(crate) async fn reached(mut at: watch::Receiver<Phase>, phase: Phase) {
    // An error says that the server was dropped, and that ends every phase.
    drop(at.wait_for(|now| *now >= phase).await);
}
