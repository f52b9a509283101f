//! The whole storm in one process: the server on threads of its own, the clients on others.
use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::client::attack;
use crate::options::{Load, Server};
use crate::report::Report;
use crate::server;

/// Starts a server on a free loopback port, attacks it, and shuts it down.
pub(crate) fn run(settings: Server, load: &Load) -> Result<Report> {
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let listener = runtime.block_on(server::bind(0))?;
    let target = listener.local_addr()?;
    // Dropping the sender is a signal, too: an attack that fails does not leave the server behind.
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = runtime.spawn(server::run(settings, listener, async { drop(stopped.await) }));

    let attacked = attack::run(target, load);
    drop(stop);
    let served = runtime.block_on(serving).context("the server panicked")??;
    Ok(attacked?.after_shutdown(&served))
}
