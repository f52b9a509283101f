//! A storm in one process, with the server and the clients on threads of their own.
use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::client::attack;
use crate::options::{LoadOptions, ServerOptions};
use crate::report::Report;
use crate::server;

/// Starts a server on a free loopback port, attacks it, and shuts it down.
pub(crate) fn run(settings: ServerOptions, load: &LoadOptions) -> Result<Report> {
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let listener = runtime.block_on(server::bind(0))?;
    let target = listener.local_addr()?;
    // Dropping the sender stops the server, too: it does not outlive an attack that fails.
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = runtime.spawn(server::run(settings, listener, async { drop(stopped.await) }));

    let attacked = attack::run(target, load);
    drop(stop);
    let shutdown = runtime.block_on(serving).context("the server panicked")??;
    Ok(attacked?.after_shutdown(&shutdown))
}
