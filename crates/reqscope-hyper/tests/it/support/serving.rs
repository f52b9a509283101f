use std::future::Future;
use std::pin::Pin;

use reqscope_hyper::ServeReport;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::BOUND;

pub(crate) type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;
type Served = Pin<Box<dyn Future<Output = ServeReport> + Send>>;

/// A running server that the test has configured itself.
pub(crate) struct Serving {
    stop: oneshot::Sender<()>,
    served: JoinHandle<ServeReport>,
}

impl Serving {
    pub(crate) fn start(server: impl FnOnce(Signal) -> Served) -> Self {
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server(Box::pin(async { stopped.await.unwrap_or(()) })));
        Serving { stop, served }
    }

    /// Shuts down gracefully.
    pub(crate) async fn stop(self) -> ServeReport {
        self.begin_to_stop().await.unwrap()
    }

    /// Signals the shutdown, without waiting for its end.
    pub(crate) fn begin_to_stop(self) -> JoinHandle<ServeReport> {
        self.stop.send(()).unwrap();
        tokio::spawn(async { timeout(2 * BOUND, self.served).await.expect("the shutdown ends").unwrap() })
    }

    /// Drops the server's future.
    pub(crate) async fn abort(self) {
        self.served.abort();
        assert!(self.served.await.unwrap_err().is_cancelled());
    }
}
