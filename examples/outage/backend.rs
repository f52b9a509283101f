//! The backend: an echo.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// Starts it. Aborting the task closes the port and all connections; while it `hangs` it accepts and reads, and does
/// not answer.
pub(crate) fn start(listener: TcpListener, hangs: &Arc<AtomicBool>) -> JoinHandle<io::Result<()>> {
    let hangs = Arc::clone(hangs);
    tokio::spawn(async move {
        let mut lines = JoinSet::new();
        loop {
            let (mut line, _) = listener.accept().await?;
            let hangs = Arc::clone(&hangs);
            lines.spawn(async move {
                let mut said = [0; 64];
                while let Ok(length @ 1..) = line.read(&mut said).await {
                    while hangs.load(Ordering::Relaxed) {
                        sleep(Duration::from_millis(10)).await;
                    }
                    if line.write_all(&said[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}
