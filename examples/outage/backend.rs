//! The backend: an echo server.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// Starts the backend. Aborting its task closes the port and all connections. While it `hangs` it accepts and reads,
/// but does not answer.
pub(crate) fn start(listener: TcpListener, hangs: &Arc<AtomicBool>) -> JoinHandle<io::Result<()>> {
    let hangs = Arc::clone(hangs);
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await?;
            let hangs = Arc::clone(&hangs);
            connections.spawn(async move {
                let mut bytes = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    while hangs.load(Ordering::Relaxed) {
                        sleep(Duration::from_millis(10)).await;
                    }
                    if stream.write_all(&bytes[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}
