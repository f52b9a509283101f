use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use reqscope::{Exit, Scopes};
use reqscope_testkit::{Ledger, Probe};
use reqscope_tower::ScopeLayer;

pub(crate) type Answer = Result<Response<Full<Bytes>>, &'static str>;

/// One resource, the scopes of one server, and a ledger that checks both.
pub(crate) struct Scene {
    pub(crate) probe: Arc<Probe>,
    pub(crate) scopes: Scopes,
    ledger: Ledger,
}

impl Scene {
    pub(crate) fn new(probe: Probe) -> Self {
        let ledger = Ledger::new();
        let scopes = Scopes::builder().observer(ledger.observer()).build();
        Scene { probe: Arc::new(probe), scopes, ledger }
    }

    pub(crate) fn layer(&self) -> ScopeLayer {
        ScopeLayer::new(&self.scopes)
    }

    /// Drains the scopes and returns the exits of all releases, in order.
    pub(crate) async fn exits(&self) -> Vec<Exit> {
        self.ledger.drained(&self.scopes).await;
        let counts = self.probe.counts();
        assert_eq!((counts.double_released, counts.used_after_release, counts.abandoned), (0, 0, 0));
        self.probe.releases().iter().map(|release| release.exit).collect()
    }

    /// Drains the scopes and returns the exit of the only release.
    pub(crate) async fn exit(&self) -> Exit {
        let exits = self.exits().await;
        assert_eq!(exits.len(), 1, "{exits:?}");
        exits[0]
    }
}

pub(crate) fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

pub(crate) fn status(code: u16) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::from("the handler's")).unwrap()
}

pub(crate) async fn text<B: Body<Data = Bytes>>(response: Response<B>) -> String {
    let Ok(body) = response.into_body().collect().await else { panic!("the body failed") };
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// Fails instead of hanging if the future does not end. For tests with a paused clock, where it takes no time.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("the future ends within a minute")
}
