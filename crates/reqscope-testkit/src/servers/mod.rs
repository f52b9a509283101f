//! Private servers: real ones, of this machine's binaries, that belong to one test process and end with it.
//!
//! A file per server, over what all of them share:
//!
//! 1. A server's folder is made and removed by a guard, a shell that waits for the end of its standard input. Only this
//!    process has the other end, so the guard wakes up however this process ends, and it is in a process group of its
//!    own, so what ends this process does not end the guard.
//! 2. A server names itself to the guard before it is a server: a shell says its own id to the guard, then becomes the
//!    server. There is no moment at which one runs that the guard does not know.
//! 3. A server is our own child. Its id is not given to another process before we have waited for it, and we tell the
//!    guard when we have. So we never signal a stranger, and the guard signals only in the moment in which we have died.

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

/// Does work that blocks where it holds up nobody.
///
/// Dropped while it waits, the work goes on to its end.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        // It can only be cancelled by the end of a runtime that nobody waits on any more.
        Err(panicked) => resume_unwind(panicked.into_panic()),
    }
}
