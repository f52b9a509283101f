use tokio::sync::watch;

/// The phases of a server, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// No new connection is accepted; requests in flight may finish.
    Stopping,
    /// The grace for requests is over; what is left is cut.
    Cut,
}

/// Waits until the server has reached `phase`, or was dropped.
pub(crate) async fn reached(mut at: watch::Receiver<Phase>, phase: Phase) {
    // An error means that the server was dropped, which ends every phase.
    drop(at.wait_for(|now| *now >= phase).await);
}
