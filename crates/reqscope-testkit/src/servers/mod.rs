//! Private servers: real ones, started from this machine's binaries, that belong to one test process and end with it.
//!
//! One module per server product, and what they share:
//!
//! 1. A server's folder is created and removed by a guard, a shell that waits for the end of its standard input. Only
//!    this process has the other end, so the guard wakes up however this process ends. The guard is in a process group
//!    of its own, so a signal to the group of this process does not end it.
//! 2. A server registers with the guard before it starts: a shell writes its own id to the guard, then becomes the
//!    server by `exec`. The guard knows every server that runs.
//! 3. A server is a child of this process. Its id is not reused before this process has waited for it; this process
//!    then unregisters the id with the guard. So this process signals no other process, and the guard signals only when
//!    this process has ended.

mod error;
mod user;
mod binary;
mod folder;
mod log;
mod port;
mod process;
mod server;
mod template;
mod mariadb;

pub use error::ServerError;
pub use mariadb::{MariaDb, MariaDbBuilder};

use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// Runs blocking work on a blocking thread.
///
/// Dropped while it waits, the work continues to its end.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        // Work is cancelled only by the shutdown of the runtime, and then this future is not polled any more.
        Err(panicked) => resume_unwind(panicked.into_panic()),
    }
}
