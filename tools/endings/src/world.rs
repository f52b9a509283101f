use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use reqscope::{Pool, Scopes};
use reqscope_hyper::ServeReport;
use reqscope_testkit::{Gate, Ledger, Probe};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Ask, Client, Socket};
use crate::event::{Event, let_through, until_within};
use crate::scene::Scene;
use crate::stepwise::Stepwise;
use crate::{BOUND, Ending, Protocol, Seen, Stack, stack};

/// What the client of an ending has to do with: a server in this process, and what its handlers have.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) protocol: Protocol,
    address: SocketAddr,
    server: parking_lot::Mutex<Server>,
}

struct Server {
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<ServeReport>,
}

impl World {
    /// Starts the server.
    pub(crate) async fn start(
        ending: &Ending,
        stack: Stack,
        protocol: Protocol,
        settling: bool,
        ledger: &Ledger,
    ) -> anyhow::Result<Self> {
        let setup = ending.setup;
        let kind = |probe: Probe| if settling { probe.settling() } else { probe };
        let probe = kind(Probe::new());
        let scopes = Scopes::builder().close_timeout(setup.close_timeout).observer(ledger.observer()).build();
        let scene = Scene {
            setup,
            pool: Arc::new(Pool::builder().max_size(1).build(Probe::new())),
            stepwise: Arc::new(Stepwise::new(kind(probe.sibling()))),
            probe: Arc::new(probe),
            gate: Gate::closed(),
            scopes,
            log: Default::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let served = stack::start(stack, listener, scene.clone(), ending.handler, stopped);
        let server = Server { stop: Some(stop), served };
        Ok(World { scene, protocol, address, server: server.into() })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(self.protocol, self.address).await
    }

    /// A connection on which nothing has been said.
    pub(crate) fn socket(&self) -> anyhow::Result<Socket> {
        Socket::connect(self.address)
    }

    /// Connects and sends a request.
    pub(crate) async fn send(&self, ask: Ask) -> anyhow::Result<Client> {
        let mut client = self.connect().await?;
        client.send(ask).await?;
        Ok(client)
    }

    /// Sends a GET whose handler then waits.
    pub(crate) async fn waiting(&self) -> anyhow::Result<Client> {
        let client = self.send(Ask::GET).await?;
        self.hears(Event::Waits).await?;
        Ok(client)
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn asks(&self, ask: Ask) -> anyhow::Result<Seen> {
        self.send(ask).await?.answer().await
    }

    /// Sends a request and closes after the event.
    pub(crate) async fn fin_after(&self, ask: Ask, event: Event) -> anyhow::Result<Seen> {
        let client = self.send(ask).await?;
        self.hears(event).await?;
        client.fin()?;
        Ok(Seen::Left)
    }

    /// Sends a GET and reads the head; the body then waits for the gate.
    pub(crate) async fn in_the_body(&self) -> anyhow::Result<Client> {
        let mut client = self.send(Ask::GET).await?;
        client.head().await?;
        self.hears(Event::Waits).await?;
        Ok(client)
    }

    /// Sends a GET, lets the body pass the gate once, and reads the answer.
    pub(crate) async fn asks_for_rows(&self) -> anyhow::Result<Seen> {
        let mut client = self.in_the_body().await?;
        let_through(&self.scene.gate)?;
        client.answer().await
    }

    /// Lets the server look at its sockets once: what had come before this, all its tasks have heard of after it. For that
    /// it says what is no HTTP, which no handler sees, and waits until it is thrown out.
    pub(crate) async fn round_trip(&self) -> anyhow::Result<()> {
        let socket = self.socket()?;
        socket.inject(b"no HTTP\r\n\r\n")?;
        let mut stream = socket.stream()?;
        let mut answer = Vec::new();
        let thrown_out = stream.read_to_end(&mut answer);
        // By an answer or by a reset, it is all the same.
        timeout(BOUND, thrown_out).await.context("who speaks no HTTP is thrown out")?.ok();
        Ok(())
    }

    pub(crate) async fn hears(&self, event: Event) -> anyhow::Result<()> {
        self.scene.log.hears(event, 1).await
    }

    /// Waits until nothing is open, held or on its way back any more.
    pub(crate) async fn is_at_rest(&self) -> anyhow::Result<()> {
        let Scene { setup, scopes, probe, .. } = &self.scene;
        let at_rest = until_within(setup.rest, "everything has come back", || {
            let stats = scopes.stats();
            stats.open_scopes == 0 && stats.live == 0 && stats.pending_releases == 0 && stats.acquiring == 0
        });
        at_rest.await.with_context(|| format!("{:?}, {:?}", scopes.stats(), probe.counts()))
    }

    /// Tells the server to shut down.
    pub(crate) fn stop(&self) {
        let stop = self.server.lock().stop.take();
        if let Some(stop) = stop {
            // It may have been dropped.
            stop.send(()).ok();
        }
    }

    /// The report of a server that was told to stop.
    pub(crate) async fn report(self) -> anyhow::Result<ServeReport> {
        self.stop();
        let served = self.server.into_inner().served;
        Ok(timeout(2 * BOUND, served).await.context("the shutdown ends")??)
    }
}
