use std::net::SocketAddr;

use anyhow::Context;
use reqscope_hyper::ServeReport;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Client, RequestSpec, Socket};
use crate::event::{Event, let_through, until_within};
use crate::fixture::Fixture;
use crate::handler::Handler;
use crate::{BOUND, Protocol, Seen, Stack};

/// A server in this process, and the clients that connect to it.
pub(crate) struct TestServer {
    pub(crate) fixture: Fixture,
    pub(crate) protocol: Protocol,
    address: SocketAddr,
    running: parking_lot::Mutex<Running>,
}

struct Running {
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<ServeReport>,
}

impl TestServer {
    /// Starts a server that calls the handler.
    pub(crate) async fn start(
        fixture: Fixture,
        stack: Stack,
        protocol: Protocol,
        handler: Handler,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let served = stack.start(listener, fixture.clone(), handler, stopped);
        let running = Running { stop: Some(stop), served };
        Ok(TestServer { fixture, protocol, address, running: running.into() })
    }

    /// Connects a client.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(self.protocol, self.address).await
    }

    /// Opens a connection without sending anything.
    pub(crate) fn socket(&self) -> anyhow::Result<Socket> {
        Socket::connect(self.address)
    }

    /// Connects and sends a request.
    pub(crate) async fn send(&self, request: RequestSpec) -> anyhow::Result<Client> {
        let mut client = self.connect().await?;
        client.send(request).await?;
        Ok(client)
    }

    /// Sends a GET, and waits until its handler waits at the gate.
    pub(crate) async fn hold(&self) -> anyhow::Result<Client> {
        let client = self.send(RequestSpec::GET).await?;
        self.wait_for(Event::Waiting).await?;
        Ok(client)
    }

    /// Sends a request and reads the response.
    pub(crate) async fn fetch(&self, request: RequestSpec) -> anyhow::Result<Seen> {
        self.send(request).await?.seen().await
    }

    /// Sends a request, and closes the connection after the event.
    pub(crate) async fn fin_after(&self, request: RequestSpec, event: Event) -> anyhow::Result<Seen> {
        let client = self.send(request).await?;
        self.wait_for(event).await?;
        client.fin()?;
        Ok(Seen::Left)
    }

    /// Sends a GET, reads the head, and waits until the body waits at the gate.
    pub(crate) async fn mid_body(&self) -> anyhow::Result<Client> {
        let mut client = self.send(RequestSpec::GET).await?;
        client.head().await?;
        self.wait_for(Event::Waiting).await?;
        Ok(client)
    }

    /// Sends a GET, lets the body through the gate once, and reads the response.
    pub(crate) async fn fetch_rows(&self) -> anyhow::Result<Seen> {
        let mut client = self.mid_body().await?;
        let_through(&self.fixture.gate)?;
        client.seen().await
    }

    /// Waits until the server has looked at its sockets once: after that its tasks have seen everything that arrived
    /// before. For this it sends something that is not HTTP, which reaches no handler, and waits until it is rejected.
    pub(crate) async fn round_trip(&self) -> anyhow::Result<()> {
        let socket = self.socket()?;
        socket.inject(b"no HTTP\r\n\r\n")?;
        let mut stream = socket.stream()?;
        let mut response = Vec::new();
        let rejected = stream.read_to_end(&mut response);
        // A response and a reset are equally good.
        timeout(BOUND, rejected).await.context("the server rejects what is not HTTP")?.ok();
        Ok(())
    }

    /// Waits until an event has happened.
    pub(crate) async fn wait_for(&self, event: Event) -> anyhow::Result<()> {
        self.fixture.log.wait_for(event, 1).await
    }

    /// Waits until no scope is open, and no handle is lent, being acquired or being released.
    pub(crate) async fn wait_until_idle(&self) -> anyhow::Result<()> {
        let Fixture { setup, scopes, probe, .. } = &self.fixture;
        let idle = until_within(setup.idle_bound, "all handles are released", || {
            let stats = scopes.stats();
            stats.open_scopes == 0 && stats.live == 0 && stats.pending_releases == 0 && stats.acquiring == 0
        });
        idle.await.with_context(|| format!("{:?}, {:?}", scopes.stats(), probe.counts()))
    }

    /// Tells the server to shut down.
    pub(crate) fn stop(&self) {
        let stop = self.running.lock().stop.take();
        if let Some(stop) = stop {
            // The server may have ended already.
            stop.send(()).ok();
        }
    }

    /// Shuts the server down and returns its report.
    pub(crate) async fn report(self) -> anyhow::Result<ServeReport> {
        self.stop();
        let served = self.running.into_inner().served;
        Ok(timeout(2 * BOUND, served).await.context("the shutdown ends")??)
    }
}
