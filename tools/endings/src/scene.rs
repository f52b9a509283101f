use std::sync::Arc;

use http::Request;
use http_body_util::combinators::UnsyncBoxBody;
use reqscope::{Lazy, Pool, ScopeHandle, Scopes};
use reqscope_testkit::{Gate, Probe};

use crate::event::{Event, Log};
use crate::stepwise::Stepwise;
use crate::{BoxError, Setup};

/// What the handler, the client and the judge of one ending have in common.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) setup: Setup,
    pub(crate) probe: Arc<Probe>,
    /// Of one place, with books of its own: what it keeps is not the request's.
    pub(crate) pool: Arc<Pool<Probe>>,
    /// A commit of three steps, over a sibling of the probe.
    pub(crate) stepwise: Arc<Stepwise>,
    /// Where handlers and bodies wait for the client.
    pub(crate) gate: Gate,
    pub(crate) scopes: Scopes,
    pub(crate) log: Log,
}

/// A request, and what its handler has to work with. The same on each stack.
pub(crate) struct Call {
    pub(crate) request: Request<UnsyncBoxBody<bytes::Bytes, BoxError>>,
    pub(crate) scope: ScopeHandle,
    pub(crate) lazy: Lazy<Probe>,
    pub(crate) scene: Scene,
}

impl Scene {
    /// Waits at the gate, and says so.
    pub(crate) async fn wait(&self) -> Result<(), BoxError> {
        self.log.add(Event::Waits);
        Ok(self.gate.pass().await?)
    }
}
