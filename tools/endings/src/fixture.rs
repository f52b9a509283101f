use std::sync::Arc;

use http::Request;
use http_body_util::combinators::UnsyncBoxBody;
use reqscope::{Lazy, Pool, ScopeHandle, Scopes};
use reqscope_testkit::{Gate, Ledger, Probe};

use crate::event::{Event, Log};
use crate::stepwise::Stepwise;
use crate::{BoxError, Setup};

/// What the handler, the client and the judge of one ending share.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) setup: Setup,
    pub(crate) probe: Arc<Probe>,
    /// A pool of one handle, of a probe of its own: the handles that it keeps do not count for the request.
    pub(crate) pool: Arc<Pool<Probe>>,
    /// A commit of three steps, over a sibling of the probe.
    pub(crate) stepwise: Arc<Stepwise>,
    /// Where handlers and bodies wait for the client.
    pub(crate) gate: Gate,
    pub(crate) scopes: Scopes,
    pub(crate) log: Log,
}

/// A request and its scope, as a handler gets them on both stacks.
pub(crate) struct Call {
    pub(crate) request: Request<UnsyncBoxBody<bytes::Bytes, BoxError>>,
    pub(crate) scope: ScopeHandle,
    pub(crate) lazy: Lazy<Probe>,
    pub(crate) fixture: Fixture,
}

impl Fixture {
    /// Creates the fixture of a run, with a probe that settles or does not, and scopes observed by the ledger.
    pub(crate) fn new(setup: Setup, settling: bool, ledger: &Ledger) -> Self {
        let kind = |probe: Probe| if settling { probe.settling() } else { probe };
        let probe = kind(Probe::new());
        Fixture {
            setup,
            pool: Arc::new(Pool::builder().max_size(1).build(Probe::new())),
            stepwise: Arc::new(Stepwise::new(kind(probe.sibling()))),
            probe: Arc::new(probe),
            gate: Gate::closed(),
            scopes: Scopes::builder().close_timeout(setup.close_timeout).observer(ledger.observer()).build(),
            log: Log::default(),
        }
    }

    /// Waits at the gate, and logs [`Event::Waiting`] before.
    pub(crate) async fn wait(&self) -> Result<(), BoxError> {
        self.log.add(Event::Waiting);
        Ok(self.gate.pass().await?)
    }
}
